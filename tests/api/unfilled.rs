//! A replica whose mirror was never filled: it shows nothing that is newer than the position it states.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Epoch, Position, Revision, StepKind, TimestampMs, Visibility,
};
use outpost_node::http::error::{ApiError, Caller, Mark};
use outpost_node::http::promises::Demand;
use outpost_node::http::read::{Elsewhere, Missed, Misses, ReadState, Why};
use outpost_node::http::response::MaxAges;
use outpost_node::vantage::{Bounds, ReplicaVantage, SystemWallClock};
use outpost_storage::mirror_store::{EntryPut, MirrorBatch, MirrorChange, MirrorWrite, PackedBody};
use outpost_storage::{Mirror, MirrorEntry, MirrorStore};
use outpost_sync::Freshness;

const EPOCH: Epoch = Epoch(7);

/// An upstream that stands at seq 12 and knows how things are there.
struct Upstream;

#[async_trait]
impl Misses for Upstream {
    async fn on_miss(&self, _: &Missed<'_>) -> Result<Elsewhere, ApiError> {
        let entry = MirrorEntry {
            http_status: 200,
            error_code: None,
            revision: Revision::new("r1").unwrap(),
            version: [1; 32],
            body: "upstream".into(),
        };
        Ok(Elsewhere { entry, mark: Mark { position: Position { epoch: EPOCH, seq: 12 }, age: None } })
    }
}

fn key() -> ArtifactKey {
    let dataset = DatasetName::new("u/d").unwrap();
    ArtifactKey::dataset_level(StepKind::DatasetConfigNames, dataset).unwrap()
}

/// What a fill brings: records as they were at 12, under the seq that the fill began at.
fn batch(reached: Option<u64>) -> MirrorBatch {
    let put = EntryPut {
        key: key(),
        http_status: 200,
        error_code: None,
        revision: Revision::new("r1").unwrap(),
        updated_at: TimestampMs(1),
        version: [1; 32],
        body: PackedBody::pack(b"mirrored").unwrap(),
        source: None,
    };
    let dataset = DatasetRecord {
        dataset: key().dataset().clone(),
        revision: Revision::new("r1").unwrap(),
        visibility: Visibility::Public,
        checked_at: TimestampMs(1),
    };
    let writes = [MirrorWrite::PutDataset(dataset), MirrorWrite::PutEntry(Box::new(put))];
    let changes = writes.into_iter().map(|write| MirrorChange { seq: 10, write }).collect();
    MirrorBatch { epoch: EPOCH, changes, reached, cursor: None, left: Vec::new() }
}

/// What a reader gets, and the position that is stated with it.
async fn read(state: &ReadState) -> (bytes::Bytes, Position) {
    let key = key();
    let missed = Missed {
        dataset: key.dataset(),
        kind: key.kind(),
        key: Some(&key),
        caller: Caller::Anonymous,
        demand: Demand::default(),
        hops: 0,
        why: Why::Absent,
    };
    let (entry, mark) = state.find(missed).await.unwrap();
    (entry.body, mark.map_or_else(|| state.seen(), |mark| mark.position))
}

#[tokio::test]
async fn records_that_arrived_before_their_position_is_known_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let mirror = MirrorStore::open(directory.path()).unwrap();
    let hour = Duration::from_secs(3_600);
    let bounds = Bounds { staleness_max: hour, visibility_age_max: hour };
    let freshness = Arc::new(Freshness::new(Arc::new(SystemWallClock)));
    let vantage = ReplicaVantage::new(mirror.clone(), freshness, bounds);
    let shared: Arc<dyn Mirror> = Arc::new(mirror.clone());
    let url = "http://public".to_owned();
    let state =
        ReadState::new(shared, Arc::new(Upstream), Arc::new(vantage), url, MaxAges::new(120, 10), 1 << 20);
    let at = |seq| Position { epoch: EPOCH, seq };

    mirror.apply(batch(None)).unwrap();
    assert!(mirror.get(&key()).unwrap().is_some());
    assert!(mirror.seen().seq < 12, "what could be stated is too early");
    assert_eq!(read(&state).await, ("upstream".into(), at(12)));

    mirror.apply(MirrorBatch { changes: Vec::new(), ..batch(Some(12)) }).unwrap();
    assert_eq!(read(&state).await, ("mirrored".into(), at(12)));
}
