//! Real processes that end at a given step of a stage: what is there is all of the old state or all of the new one.

use std::process::{Command, Stdio};

use super::stage::Way;
use super::*;

const DIRECTORY: &str = "OUTPOST_MIRROR_STAGE_DIRECTORY";
const WAY: &str = "OUTPOST_MIRROR_STAGE_WAY";
const STEP: &str = "OUTPOST_MIRROR_CRASH_STEP";
const KEYS: u64 = 700;

#[tokio::test]
async fn a_process_that_ends_at_any_step_leaves_the_old_state_or_the_new_one() {
    let steps = ["listed", "layer begun", "rows", "before commit", "switched", "committed", "moved"];
    let mut ended = 0;
    for (number, way) in Way::ALL.into_iter().enumerate() {
        for step in steps {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path());
            store.apply(batch(generation(1))).unwrap();
            store.flushed().await.unwrap();
            drop(store);
            ended += usize::from(run_until(directory.path(), number, step));
            let store = way.open(directory.path());
            let what = format!("{way:?} ended at {step:?}");
            let seq = store.position().seq;
            check(&store, seq, &what);
            let scrubbed = store.scrub().unwrap();
            assert_eq!((scrubbed.records_damaged, scrubbed.recounted), (0, false), "{what}");
            // It goes on from there.
            switch_to(&store, 3);
            store.flushed().await.unwrap();
            check(&store, 3, &what);
            drop(store);
            check(&open(directory.path()), 3, &what);
        }
    }
    // A batch begins no layer and moves nothing.
    assert!(ended >= 3 * steps.len() - 4, "only {ended} processes ended at their step");
}

/// What every key holds at `seq`; each generation has keys that the next one lacks.
fn generation(seq: u64) -> Vec<MirrorChange> {
    let key = |number| rows_of("u/d", &format!("s{number}"));
    let written = |number: u64| put(seq, &written(seq, number), None);
    let mut changes: Vec<MirrorChange> = (seq..KEYS + seq).map(written).collect();
    changes.extend((1..seq).map(|number| change(seq, MirrorWrite::DeleteEntry(key(number)))));
    changes
}

fn written(seq: u64, number: u64) -> Entry {
    let length = if number.is_multiple_of(50) { 9_000 } else { 20 };
    entry(&rows_of("u/d", &format!("s{number}")), seq, noise(length, seq * 10_000 + number))
}

fn check(store: &MirrorStore, seq: u64, what: &str) {
    let mut hash = SetHash::default();
    for number in seq..KEYS + seq {
        let expected = written(seq, number);
        assert!(body_of(store, &expected.key) == Some(expected.body.clone()), "{what}: {number} at {seq}");
        let subject = Changed::Entry(expected.key.clone());
        hash.add(&Item::new(&subject, expected.updated_at, &expected.version()));
    }
    assert_eq!(hash_of_contents(store), (KEYS, hash), "{what}");
    assert_eq!((store.summary().set_hash, store.summary().entries), (hash, KEYS), "{what}");
}

fn switch_to(store: &MirrorStore, seq: u64) {
    let mut stage = store.stage(EPOCH).unwrap();
    for piece in generation(seq).chunks(100) {
        stage.add(piece.to_vec()).unwrap();
    }
    stage.commit(Position { epoch: EPOCH, seq }, None, None).unwrap();
}

/// Whether the process ended at the step.
fn run_until(directory: &Path, way: usize, step: &str) -> bool {
    let name = "mirror_store::tests::stage_crash::stage_process";
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(WAY, way.to_string())
        .env(STEP, step)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    // Nothing runs after an abort, as after a kill.
    status.code().is_none()
}

#[test]
#[ignore = "run by a_process_that_ends_at_any_step_leaves_the_old_state_or_the_new_one"]
fn stage_process() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let way: usize = std::env::var(WAY).expect("set by the parent").parse().unwrap();
    let store = Way::ALL[way].open(Path::new(&directory));
    switch_to(&store, 2);
    store.settle().unwrap();
}
