//! Readers beside a writer: what they are told covers what they see, and what was promised is seen.

use std::sync::atomic::{AtomicBool, Ordering};

use outpost_model::{ConfigName, DatasetRecord, Entry, Epoch, Revision, SplitName, StepKind, TimestampMs};
use outpost_storage::mirror_store::{EntryPut, MirrorBatch, MirrorChange, MirrorWrite};
use outpost_storage::{Changed, MirrorStore};

use tokio::sync::watch;

use super::*;
use crate::vantage::OriginVantage;

struct NoMisses;

#[async_trait]
impl Misses for NoMisses {
    async fn on_miss(&self, _: &Missed<'_>) -> Result<Elsewhere, ApiError> {
        Err(ApiError::unexpected())
    }
}

fn key() -> ArtifactKey {
    let (config, split) = (ConfigName::new("c").unwrap(), SplitName::new("s").unwrap());
    ArtifactKey::new(StepKind::SplitFirstRows, dataset(), Some(config), Some(split)).unwrap()
}

fn dataset() -> DatasetName {
    DatasetName::new("u/d").unwrap()
}

/// A batch whose entry says its seq.
fn written(seq: u64) -> MirrorBatch {
    let entry = Entry {
        key: key(),
        http_status: 200,
        error_code: None,
        revision: Revision::new("r").unwrap(),
        body: seq.to_string().into(),
        details: None,
        names: Vec::new(),
        progress: None,
        job_runner_version: 1,
        failed_runs: 0,
        updated_at: TimestampMs(seq),
        duration_ms: 0,
    };
    let record = DatasetRecord {
        dataset: dataset(),
        revision: Revision::new("r").unwrap(),
        visibility: Visibility::Public,
        checked_at: TimestampMs(1),
    };
    let put = MirrorWrite::PutEntry(Box::new(EntryPut::new(&entry, None).unwrap()));
    let changes = [put, MirrorWrite::PutDataset(record)].map(|write| MirrorChange { seq, write });
    let (epoch, reached) = (Epoch(1), Some(seq));
    MirrorBatch { epoch, changes: changes.into(), reached, cursor: None, left: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_never_older_than_promised_nor_newer_than_told() {
    const WRITES: u64 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let mirror = MirrorStore::open(directory.path()).unwrap();
    mirror.apply(written(1)).unwrap();
    let ages = MaxAges::new(1, 1);
    let shared: Arc<dyn Mirror> = Arc::new(mirror.clone());
    let vantage = Arc::new(OriginVantage::new(Arc::clone(&shared), None));
    let state = ReadState::new(shared, Arc::new(NoMisses), vantage, String::new(), ages, 1 << 20);
    let state = Arc::new(state);
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (state, mirror, done) = (Arc::clone(&state), mirror.clone(), Arc::clone(&done));
        let (encoding, caller, demand) = (Encoding::Identity, Caller::Anonymous, Demand::default());
        let reader = Reader { encoding, caller, demand };
        tokio::spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                let promised = mirror.visible().seq;
                let target = Target::Artifact(key());
                let read = state.read(target, View::Whole, &reader).await;
                let ready = read.unwrap_or_else(|_| panic!("an answer is stored")).ready;
                let told = state.seen().seq;
                let shown: u64 = std::str::from_utf8(ready.body()).unwrap().parse().unwrap();
                assert!(promised <= shown && shown <= told, "{promised} <= {shown} <= {told}");
                reads += 1;
            }
            reads
        })
    };
    let writer = mirror.clone();
    let writes =
        move || (2..=WRITES).for_each(|seq| assert_eq!(writer.apply(written(seq)).unwrap().changed, 1));
    tokio::task::spawn_blocking(writes).await.unwrap();
    done.store(true, Ordering::SeqCst);
    assert!(reader.await.unwrap() > 0);
    assert_eq!(state.seen().seq, WRITES);
}

/// A mirror that the engine can no longer read, as after a write for which there was no room.
struct Unreadable {
    mirror: MirrorStore,
    is_record_there: bool,
}

impl Mirror for Unreadable {
    fn position(&self) -> Position {
        self.mirror.position()
    }

    fn get(&self, _: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError> {
        Err(StorageError::DiskFull("for the test".to_owned()))
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        match self.is_record_there {
            true => self.mirror.dataset(name),
            false => Err(StorageError::Engine("for the test".to_owned())),
        }
    }

    fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError> {
        self.mirror.changes_after(seq, limit)
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.mirror.watch()
    }
}

/// Another node, which has the answer.
struct Other(MirrorEntry);

#[async_trait]
impl Misses for Other {
    async fn on_miss(&self, missed: &Missed<'_>) -> Result<Elsewhere, ApiError> {
        assert_eq!((missed.dataset, missed.key), (&dataset(), Some(&key())));
        let position = Position { epoch: Epoch(1), seq: 9 };
        Ok(Elsewhere { entry: self.0.clone(), mark: Mark { position, age: None } })
    }
}

#[tokio::test]
async fn what_a_failed_store_can_no_longer_read_is_asked_for_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let mirror = MirrorStore::open(directory.path()).unwrap();
    mirror.apply(written(1)).unwrap();
    let other = Arc::new(Other(mirror.get(&key()).unwrap().unwrap()));
    for is_record_there in [true, false] {
        let shared: Arc<dyn Mirror> = Arc::new(Unreadable { mirror: mirror.clone(), is_record_there });
        let vantage = Arc::new(OriginVantage::new(Arc::clone(&shared), None));
        let ages = MaxAges::new(1, 1);
        let state = ReadState::new(shared, other.clone(), vantage, String::new(), ages, 1 << 20);
        let reader =
            Reader { encoding: Encoding::Identity, caller: Caller::Anonymous, demand: Demand::default() };
        for _ in 0..2 {
            let answered = state.read(Target::Artifact(key()), View::Whole, &reader).await;
            let answered = answered.unwrap_or_else(|error| panic!("{}", error.message));
            assert_eq!(answered.ready.body(), &b"1"[..]);
            assert_eq!(answered.mark.unwrap().position.seq, 9);
        }
    }
}
