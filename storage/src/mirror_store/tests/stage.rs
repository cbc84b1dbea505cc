//! Stages: what is served before, during and after a switch, for each way to switch.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::load::load;
use super::super::stage::StageLimits;
use super::model::Model;
use super::*;

/// How a stage is kept and switched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In memory, then in one batch.
    Batch,
    /// In memory, then through a layer.
    Layer,
    /// In a layer from the first change on.
    Drafted,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Batch, Self::Layer, Self::Drafted];

    fn limits(self) -> StageLimits {
        let any = usize::MAX;
        let (switch_changes_max, memory_changes_max) = match self {
            Self::Batch => (any, any),
            Self::Layer => (0, any),
            Self::Drafted => (0, 0),
        };
        StageLimits { switch_changes_max, memory_changes_max, memory_bytes_max: any }
    }

    pub(super) fn open(self, directory: &Path) -> MirrorStore {
        let (mut core, report) = load(directory, 10_000).unwrap();
        core.stage_limits = self.limits();
        MirrorStore::start(core, report).unwrap()
    }
}

fn position(seq: u64) -> Position {
    Position { epoch: EPOCH, seq }
}

/// Changes that keep a model in step.
fn steps(model: &mut Model, random: &mut fastrand::Rng, seq: &mut u64, count: usize) -> Vec<MirrorChange> {
    let step = |_| {
        *seq += random.u64(1..3);
        model.step(random, *seq)
    };
    (0..count).map(step).collect()
}

#[tokio::test]
async fn random_stages_lead_to_what_a_map_holds_or_change_nothing() {
    for seed in 0..24 {
        let way = Way::ALL[seed as usize % 3];
        let directory = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut model, mut seq) = (Model::default(), 0);
        let mut store = way.open(directory.path());
        for round in 0..20 {
            let what = format!("seed {seed}, round {round}, {way:?}");
            let count = random.usize(1..12);
            store.apply(batch(steps(&mut model, &mut random, &mut seq, count))).unwrap();
            store.flushed().await.unwrap();
            let mut after = model.clone();
            let mut stage = store.stage(EPOCH).unwrap();
            for _ in 0..random.usize(0..4) {
                let count = random.usize(1..30);
                stage.add(steps(&mut after, &mut random, &mut seq, count)).unwrap();
                if random.u8(..4) == 0 {
                    model.check(&store, &what);
                }
            }
            match random.u8(..6) {
                0 => drop(stage),
                1 => {
                    let wrong = SetHash::default();
                    let found = after.set_hash();
                    let result = stage.commit(position(seq), Some(wrong), None);
                    if found == wrong {
                        model = after;
                    } else {
                        let differs = matches!(result, Err(StageError::Differs { expected, found: other })
                            if expected == wrong && other == found);
                        assert!(differs, "{what}: {result:?}");
                    }
                }
                number => {
                    let expected = (number > 2).then(|| after.set_hash());
                    stage.commit(position(seq), expected, Some(seq.to_be_bytes().to_vec().into())).unwrap();
                    model = after;
                    store.flushed().await.unwrap();
                    assert_eq!(store.position(), position(seq), "{what}");
                    assert_eq!(store.cursor().unwrap(), Some(seq.to_be_bytes().to_vec().into()), "{what}");
                }
            }
            store.flushed().await.unwrap();
            model.check(&store, &what);
            if random.u8(..3) == 0 {
                drop(store);
                store = way.open(directory.path());
                model.check(&store, &what);
            }
        }
        assert_is_tidy(directory.path(), store);
    }
}

/// Nothing is left of stages but what a scrub deletes.
fn assert_is_tidy(directory: &Path, store: MirrorStore) {
    drop(store);
    let store = open(directory);
    store.settle().unwrap();
    let first = store.scrub().unwrap();
    assert_eq!((first.records_damaged, first.recounted), (0, false));
    let second = store.scrub().unwrap();
    assert_eq!((second.records_damaged, second.blobs_deleted, second.recounted), (0, 0, false));
    while store.inner.kv.sweep(None, 1_000).unwrap() {}
    assert_eq!(store.inner.kv.engine().state.prefix(&[keys::LAYERS]).count(), 0);
}

#[tokio::test]
async fn what_is_applied_while_a_stage_is_open_is_kept_and_the_later_change_of_a_key_wins() {
    for way in [Way::Batch, Way::Layer] {
        let directory = tempfile::tempdir().unwrap();
        let store = way.open(directory.path());
        let split = |split: &str, seq: u64, body: &str| {
            put(seq, &entry(&rows_of("u/d", split), seq, body.to_owned()), None)
        };
        let gone = |split: &str, seq| change(seq, MirrorWrite::DeleteEntry(rows_of("u/d", split)));
        store.apply(batch(vec![split("a", 1, "old"), split("b", 2, "old"), split("c", 3, "old")])).unwrap();
        let mut stage = store.stage(EPOCH).unwrap();
        stage.add(vec![split("a", 10, "staged"), split("b", 20, "staged"), gone("c", 10)]).unwrap();
        stage.add(vec![split("d", 10, "staged"), split("a", 9, "late")]).unwrap();
        assert!(stage.holds(&Changed::Entry(rows_of("u/d", "c"))));
        assert!(!stage.holds(&Changed::Entry(rows_of("u/d", "e"))));
        assert_eq!(stage.changes(), 5);
        let meanwhile =
            vec![split("a", 15, "live"), split("b", 16, "live"), split("c", 17, "live"), gone("d", 18)];
        store.apply(batch(meanwhile)).unwrap();
        assert_eq!(body_of(&store, &rows_of("u/d", "b")), Some("live".into()));
        stage.commit(position(30), None, None).unwrap();
        store.flushed().await.unwrap();
        let bodies = ["a", "b", "c", "d"].map(|split| body_of(&store, &rows_of("u/d", split)));
        let expected = [Some("live".into()), Some("staged".into()), Some("live".into()), None];
        assert_eq!(bodies, expected, "{way:?}");
        let summary = store.summary();
        assert_eq!((summary.entries, summary.position), (3, position(30)));
        assert_eq!(hash_of_contents(&store), (3, summary.set_hash));
    }
}

#[tokio::test]
async fn a_stage_too_large_for_memory_keeps_other_writers_out_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = Way::Drafted.open(directory.path());
    let body = |seq| put(seq, &entry(&rows_of("u/d", "a"), seq, noise(9_000, seq)), None);
    store.apply(batch(vec![body(1)])).unwrap();
    let mut stage = store.stage(EPOCH).unwrap();
    assert!(matches!(store.stage(EPOCH), Err(StorageError::Busy(_))));
    store.apply(batch(vec![body(2)])).unwrap();
    stage.add(vec![body(3)]).unwrap();
    assert!(stage.holds(&Changed::Entry(rows_of("u/d", "a"))));
    assert!(matches!(store.apply(batch(vec![body(4)])), Err(StorageError::Busy(_))));
    assert!(!store.scrub().unwrap().recounted);
    assert_eq!(body_of(&store, &rows_of("u/d", "a")), Some(noise(9_000, 2).into()));
    drop(stage);
    store.apply(batch(vec![body(5)])).unwrap();
    let mut stage = store.stage(EPOCH).unwrap();
    stage.add(vec![body(6), body(4)]).unwrap();
    stage.commit(position(6), None, None).unwrap();
    store.apply(batch(vec![put(7, &entry(&rows_of("u/d", "b"), 7, "{}"), None)])).unwrap();
    store.flushed().await.unwrap();
    assert_eq!(body_of(&store, &rows_of("u/d", "a")), Some(noise(9_000, 6).into()));
    assert_eq!(hash_of_contents(&store), (2, store.summary().set_hash));
    assert_is_tidy(directory.path(), store);
}

#[tokio::test]
async fn a_stage_of_another_history_replaces_the_old_one() {
    for way in Way::ALL {
        let directory = tempfile::tempdir().unwrap();
        let store = way.open(directory.path());
        let body =
            |seq, split: &str| put(seq, &entry(&rows_of("u/d", split), seq, format!("at {seq}")), None);
        store.apply(batch(vec![body(1_000, "a"), body(1_001, "b")])).unwrap();
        let mut stage = store.stage(Epoch(8)).unwrap();
        stage.add(vec![body(3, "a"), change(4, MirrorWrite::DeleteEntry(rows_of("u/d", "b")))]).unwrap();
        let target = Position { epoch: Epoch(8), seq: 5 };
        assert!(store.stage(EPOCH).is_err());
        stage.commit(target, None, None).unwrap();
        store.flushed().await.unwrap();
        assert_eq!(store.position(), target);
        let bodies = ["a", "b"].map(|split| body_of(&store, &rows_of("u/d", split)));
        assert_eq!(bodies, [Some("at 3".into()), None], "{way:?}");
        assert_eq!(
            (store.changes_after(1_001, 9).unwrap(), store.changes_after(4, 9).unwrap()),
            (None, None)
        );
        let next = MirrorBatch { epoch: Epoch(8), ..batch(vec![body(6, "b")]) };
        store.apply(next).unwrap();
        store.flushed().await.unwrap();
        let told = store.changes_after(5, 9).unwrap().unwrap();
        assert_eq!(told, [(6, Changed::Entry(rows_of("u/d", "b")))]);
    }
}

#[tokio::test]
async fn followers_are_told_what_a_switch_changed_or_start_over() {
    for way in Way::ALL {
        let directory = tempfile::tempdir().unwrap();
        let store = way.open(directory.path());
        let body =
            |seq, split: &str| put(seq, &entry(&rows_of("u/d", split), seq, format!("at {seq}")), None);
        store.apply(batch(vec![body(5, "a"), body(10, "b")])).unwrap();
        store.flushed().await.unwrap();
        let commit = |changes, seq| {
            let mut stage = store.stage(EPOCH).unwrap();
            stage.add(changes).unwrap();
            stage.commit(position(seq), None, None).unwrap();
        };
        // One change that was missed before, one since: nothing can have come and gone meanwhile.
        commit(vec![body(11, "b"), body(7, "c")], 11);
        store.flushed().await.unwrap();
        let told = store.changes_after(10, 9).unwrap();
        let subject = |split| Changed::Entry(rows_of("u/d", split));
        let expected = Some(vec![(11, subject("c")), (11, subject("b"))]);
        assert_eq!(told, expected.filter(|_| way != Way::Drafted), "{way:?}");
        // Something may have been put at 12 and deleted at 14, which a follower at 13 would have to be told.
        commit(vec![body(14, "d")], 15);
        store.flushed().await.unwrap();
        for seq in [11, 13, 14] {
            assert_eq!(store.changes_after(seq, 9).unwrap(), None, "{way:?}");
        }
        assert_eq!(store.changes_after(15, 9).unwrap(), Some(Vec::new()), "{way:?}");
        // A difference at the same position cannot be told at a seq that nobody has reached, but the log goes on.
        commit(vec![body(8, "e")], 15);
        store.flushed().await.unwrap();
        assert_eq!(store.changes_after(15, 9).unwrap(), Some(Vec::new()), "{way:?}");
        store.apply(batch(vec![body(16, "f")])).unwrap();
        store.flushed().await.unwrap();
        assert_eq!(store.changes_after(15, 9).unwrap().map(|told| told.len()), Some(1), "{way:?}");
    }
}

#[tokio::test]
async fn the_log_of_a_store_that_was_filled_in_parts_begins_where_it_was_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = Way::ALL[0].open(directory.path());
    let body = |seq, split: &str| put(seq, &entry(&rows_of("u/d", split), seq, format!("at {seq}")), None);
    store.apply(MirrorBatch { reached: None, ..batch(vec![body(9, "a")]) }).unwrap();
    store.flushed().await.unwrap();
    assert_eq!((store.summary().log_records, store.changes_after(0, 9).unwrap()), (0, None));
    store.apply(MirrorBatch { reached: Some(9), ..batch(Vec::new()) }).unwrap();
    store.apply(batch(vec![body(10, "b")])).unwrap();
    store.flushed().await.unwrap();
    // A follower at 5 may hold what was deleted since.
    assert_eq!(store.changes_after(5, 9).unwrap(), None);
    assert_eq!(store.changes_after(9, 9).unwrap().map(|told| told.len()), Some(1));
}

/// Once a reader has seen one new answer it never sees an old one again.
#[tokio::test]
async fn readers_see_all_of_the_old_state_or_all_of_the_new_one() {
    const KEYS: u64 = 200;
    for way in Way::ALL {
        let directory = tempfile::tempdir().unwrap();
        let store = way.open(directory.path());
        let all = |seq: u64| -> Vec<MirrorChange> {
            let one = |number| {
                put(seq, &entry(&rows_of("u/d", &format!("s{number}")), seq, format!("{seq}")), None)
            };
            (0..KEYS).map(one).collect()
        };
        store.apply(batch(all(1))).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for reader in 0..2 {
                let (store, stop) = (store.clone(), &stop);
                scope.spawn(move || {
                    let (mut random, mut newest) = (fastrand::Rng::with_seed(reader), 0);
                    while !stop.load(Ordering::SeqCst) {
                        let key = rows_of("u/d", &format!("s{}", random.u64(..KEYS)));
                        let body = body_of(&store, &key).expect("the key is never gone");
                        let seen: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
                        assert!(seen >= newest, "{way:?}: {seen} after {newest}");
                        newest = seen;
                    }
                });
            }
            for seq in 2..12 {
                let mut stage = store.stage(EPOCH).unwrap();
                stage.add(all(seq)).unwrap();
                stage.commit(position(seq), None, None).unwrap();
            }
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(body_of(&store, &rows_of("u/d", "s0")), Some("11".into()));
    }
}
