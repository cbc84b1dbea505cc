//! A reconciliation costs what differs, not what there is.

use std::sync::atomic::{AtomicU64, Ordering};

use outpost_model::{ArtifactKey, ConfigName, SplitName};
use outpost_storage::mirror_store::EntryPut;

use super::*;
use crate::frame;

const ENTRIES: u64 = 20_000;
const CHANGED: u64 = 50;

/// Counts the calls that following makes, and the bytes of both directions.
struct Counted {
    server: Arc<Server>,
    calls: AtomicU64,
    bytes: Arc<AtomicU64>,
}

#[async_trait]
impl Upstream for Counted {
    fn name(&self) -> &str {
        "counted"
    }

    async fn call(&self, call: Call, request: Message) -> Result<ByteStream, CallError> {
        if call != Call::Head {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.bytes.fetch_add(frame::encode(&request).len() as u64, Ordering::SeqCst);
        }
        let bytes = Arc::clone(&self.bytes);
        let counts = call != Call::Head;
        let frames = self.server.answer(call, request).await?.inspect(move |frame| {
            if counts {
                bytes.fetch_add(frame.len() as u64, Ordering::SeqCst);
            }
        });
        Ok(frames.map(Ok).boxed())
    }
}

fn entry(number: u64, version: u64) -> EntryPut {
    let dataset = DatasetName::new(&format!("u/d{number}")).unwrap();
    let names = (ConfigName::new("default").unwrap(), SplitName::new("train").unwrap());
    let entry = Entry {
        key: ArtifactKey::new(StepKind::SplitFirstRows, dataset, Some(names.0), Some(names.1)).unwrap(),
        http_status: 200,
        error_code: None,
        revision: Revision::new("r1").unwrap(),
        body: format!("{{\"number\":{number},\"version\":{version}}}").into(),
        details: None,
        names: Vec::new(),
        progress: Some(1.0),
        job_runner_version: 1,
        failed_runs: 0,
        // Spread over time, so that what changed is not all in one place.
        updated_at: TimestampMs(1_000 + (number * 7_919) % ENTRIES),
        duration_ms: 1,
    };
    EntryPut::new(&entry, None).unwrap()
}

fn fill(store: &MirrorStore, epoch: Epoch, version_of: impl Fn(u64) -> u64) {
    let put = |number| MirrorChange {
        seq: number + 1,
        write: MirrorWrite::PutEntry(Box::new(entry(number, version_of(number)))),
    };
    let changes = (0..ENTRIES).map(put).collect();
    let batch = MirrorBatch { epoch, changes, reached: Some(ENTRIES), cursor: None, left: Vec::new() };
    store.apply(batch).unwrap();
}

#[tokio::test]
async fn a_new_history_of_mostly_the_same_costs_the_difference_in_four_round_trips() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let upstream = MirrorStore::open(directories[0].path()).unwrap();
    let mirror = MirrorStore::open(directories[1].path()).unwrap();
    fill(&mirror, Epoch(1), |_| 0);
    let step = ENTRIES / CHANGED;
    fill(&upstream, Epoch(2), |number| u64::from(number % step == 0));
    mirror.flushed().await.unwrap();
    upstream.flushed().await.unwrap();
    let full_copy = upstream.summary().stored_bytes + ENTRIES * 100;

    let server =
        Server::new(Arc::new(FeedStore::new(Arc::new(upstream.clone()))), Arc::new(Origin(NodeId(1))));
    let counted = Arc::new(Counted { server, calls: AtomicU64::new(0), bytes: Arc::default() });
    let freshness = Arc::new(Freshness::new(Arc::new(StillClock)));
    let board = Arc::new(StatusBoard::new(NodeId(2), Arc::clone(&freshness)));
    let room = watch::Sender::new(true);
    let target = Arc::new(MirrorTarget::new(mirror.clone(), roomy(&room)));
    let upstreams: Vec<Arc<dyn Upstream>> = vec![counted.clone()];
    let following = tokio::spawn(Follower::new(target, upstreams, Arc::clone(&board), freshness, 7).run());
    let is_there = async {
        while Mirror::position(&mirror) != Mirror::position(&upstream) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_there).await.unwrap();
    following.abort();
    assert_eq!(FeedSource::head(&mirror).set_hash, FeedSource::head(&upstream).set_hash);
    let status = board.status();
    assert_eq!(status.received_records, CHANGED, "no record that was the same is sent");
    let calls = counted.calls.load(Ordering::SeqCst);
    assert!(calls <= 4, "{calls} round trips");
    let bytes = counted.bytes.load(Ordering::SeqCst);
    // Fingerprints of all first ranges, then parts and items of those that differ.
    let bound = 256 * 64 + CHANGED * (64 * 64 + 128 * 40 + 1_000);
    assert!(bytes <= bound && bytes < full_copy, "{bytes} bytes, at most {bound}, a copy is {full_copy}");
}
