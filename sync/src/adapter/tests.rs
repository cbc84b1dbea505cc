mod proportion;

use std::time::Duration;

use futures::StreamExt;
use outpost_model::planning::Event;
use outpost_model::{DatasetName, Entry, Priority, Queue, Revision, StepKind, TimestampMs, Visibility};
use outpost_storage::authority::Completion;
use outpost_storage::{Authority, EmbeddedStore};

use super::*;
use crate::call::{ByteStream, Call, CallError, Upstream};
use crate::testing::{Origin, StillClock};
use crate::wire::Message;
use crate::{Follower, Freshness, NodeId, Server, StatusBoard};

struct Primary(Arc<Server>);

#[async_trait]
impl Upstream for Primary {
    fn name(&self) -> &str {
        "primary"
    }

    async fn call(&self, call: Call, request: Message) -> Result<ByteStream, CallError> {
        Ok(self.0.answer(call, request).await?.map(Ok).boxed())
    }
}

/// Computes the first step of a new dataset.
async fn compute(store: &EmbeddedStore, number: usize, body: &str) {
    let revision = Revision::new("r1").unwrap();
    let event = Event::Revision {
        revision: revision.clone(),
        visibility: Visibility::Public,
        priority: Priority::Normal,
        force: false,
    };
    let dataset = DatasetName::new(&format!("u/d{number}")).unwrap();
    store.submit(&dataset, &event, TimestampMs(1_000)).await.unwrap();
    let claim = store.claim(&Queue::ALL, TimestampMs(1_001)).await.unwrap().unwrap();
    let entry = Entry {
        key: claim.job.key.clone(),
        http_status: 200,
        error_code: None,
        revision,
        body: body.to_owned().into(),
        details: None,
        names: Vec::new(),
        progress: Some(1.0),
        job_runner_version: 1,
        failed_runs: 0,
        updated_at: TimestampMs(1_002),
        duration_ms: 1,
    };
    store.finish(&claim.lease, Completion::Store(Box::new(entry)), TimestampMs(1_002)).await.unwrap();
}

/// A disk with room enough, for as long as `room` says so.
fn roomy(room: &watch::Sender<bool>) -> Disk {
    Disk { directory: std::env::temp_dir(), has_room: room.subscribe() }
}

fn follow(mirror: &MirrorStore, primary: &Arc<Server>) -> tokio::task::JoinHandle<()> {
    let freshness = Arc::new(Freshness::new(Arc::new(StillClock)));
    let board = Arc::new(StatusBoard::new(NodeId(2), Arc::clone(&freshness)));
    let room = Box::leak(Box::new(watch::Sender::new(true)));
    let target = Arc::new(MirrorTarget::new(mirror.clone(), roomy(room)));
    let upstream: Arc<dyn Upstream> = Arc::new(Primary(Arc::clone(primary)));
    tokio::spawn(Follower::new(target, vec![upstream], board, freshness, 7).run())
}

async fn until_equal(mirror: &MirrorStore, store: &EmbeddedStore) {
    let is_equal = async {
        while Mirror::position(mirror) != Mirror::position(store) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_equal).await.unwrap();
    assert_eq!(FeedSource::head(mirror).set_hash, FeedSource::head(store).set_hash);
}

#[tokio::test]
async fn a_mirror_becomes_and_stays_what_an_embedded_authority_holds() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(there.path()).unwrap();
    let mirror = MirrorStore::open(here.path()).unwrap();
    let primary = Server::new(Arc::new(FeedStore::new(Arc::new(store.clone()))), Arc::new(Origin(NodeId(1))));
    let long = "x".repeat(100_000);
    compute(&store, 0, &long).await;
    let following = follow(&mirror, &primary);
    until_equal(&mirror, &store).await;
    compute(&store, 1, "{}").await;
    let gone = DatasetName::new("u/d0").unwrap();
    store.submit(&gone, &Event::Removed, TimestampMs(2_000)).await.unwrap();
    until_equal(&mirror, &store).await;
    assert_eq!(mirror.dataset(&gone).unwrap(), None);
    // Away for a while, and back.
    following.abort();
    compute(&store, 2, &long).await;
    let following = follow(&mirror, &primary);
    until_equal(&mirror, &store).await;
    following.abort();
    let kept = DatasetName::new("u/d2").unwrap();
    let key = outpost_model::ArtifactKey::dataset_level(StepKind::DatasetConfigNames, kept).unwrap();
    assert_eq!(mirror.get(&key).unwrap().unwrap().body.len(), long.len());
}

#[test]
fn an_entry_that_is_not_the_version_that_it_claims_to_be_is_refused() {
    let dataset = DatasetName::new("u/d").unwrap();
    let entry = EntryRecord {
        key: outpost_model::ArtifactKey::dataset_level(StepKind::DatasetConfigNames, dataset).unwrap(),
        http_status: 200,
        error_code: None,
        revision: Revision::new("r1").unwrap(),
        updated_at: TimestampMs(1),
        version: [0; 32],
        raw_bytes: 2,
        is_compressed: false,
        stored: Bytes::from_static(b"{}"),
    };
    assert!(entry_put(entry.clone()).is_err());
    let bomb = EntryRecord { raw_bytes: u32::MAX, is_compressed: true, ..entry };
    assert!(entry_put(bomb).is_err());
}
