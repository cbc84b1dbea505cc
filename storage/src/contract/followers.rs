//! What a follower relies on: positions, the change log, the mirror.

use std::collections::BTreeSet;
use std::time::Duration;

use outpost_model::planning::Event;
use outpost_model::{ArtifactKey, Priority};

use super::{Calls, Subject, T0, at_revision, dataset, revision, root, success, usual_result};
use crate::mirror::Changed;

pub async fn the_mirror_reads_what_the_authority_reads(subject: &mut dyn Subject) {
    let authority = subject.authority();
    for name in ["u/d", "u/e", "v/f"] {
        authority.publish(name, "r1").await;
    }
    authority.drain().await;
    authority.submit(&dataset("u/e"), &Event::Removed, T0).await.unwrap();
    authority.publish("v/f", "r2").await;
    authority.claim_now().await;
    let mirror = subject.mirror().await;
    for name in ["u/d", "u/e", "v/f"] {
        assert_eq!(mirror.dataset(&dataset(name)).unwrap(), authority.dataset(&dataset(name)).await.unwrap());
        for key in steps_of(name) {
            let entry = authority.entry(&key).await.unwrap();
            let read = mirror.get(&key).unwrap();
            assert_eq!(read.is_some(), entry.is_some(), "{key}");
            let (Some(entry), Some(read)) = (entry, read) else { continue };
            assert_eq!((read.version, &read.body), (entry.version(), &entry.body));
            assert_eq!((read.http_status, read.error_code), (entry.http_status, entry.error_code));
            assert_eq!(read.revision, entry.revision);
        }
    }
    let position = authority.position().await.unwrap();
    assert_eq!(subject.mirror().await.position().covers(&position), Some(true));
}

/// The artifacts of a dataset with the usual config and split.
fn steps_of(name: &str) -> Vec<ArtifactKey> {
    use outpost_model::Level;
    use outpost_model::graph::STEPS;
    let names = |level| match level {
        Level::Dataset => (None, None),
        Level::Config => (Some("default"), None),
        Level::Split => (Some("default"), Some("train")),
    };
    let key = |kind: outpost_model::StepKind| {
        let (config, split) = names(kind.level());
        super::key(kind, name, config, split)
    };
    STEPS.iter().map(|step| key(step.kind)).collect()
}

pub async fn a_position_contains_what_it_was_answered_for(subject: &mut dyn Subject) {
    let authority = subject.authority();
    let mut last = authority.position().await.unwrap();
    let submitted = authority.publish("u/d", "r1").await;
    let mirror = subject.mirror().await;
    assert_eq!(mirror.position().covers(&submitted.position), Some(true));
    assert_eq!(mirror.dataset(&dataset("u/d")).unwrap().unwrap().revision, revision("r1"));
    assert!(submitted.position.seq > last.seq);
    last = submitted.position;
    while let Some(claim) = authority.claim_at(T0).await {
        let finished = authority.store(&claim, usual_result(&claim)).await;
        assert_eq!(finished.position.epoch, last.epoch);
        assert!(finished.position.seq > last.seq);
        let mirror = subject.mirror().await;
        assert_eq!(mirror.position().covers(&finished.position), Some(true));
        assert!(mirror.get(&claim.job.key).unwrap().is_some());
        last = finished.position;
    }
}

/// A mirror that is being filled logs what it finds with the position that it began at, which may be an earlier one.
async fn wait_until_it_follows(subject: &dyn Subject) {
    drop(subject.mirror().await);
}

pub async fn every_change_is_in_the_log(subject: &mut dyn Subject) {
    let authority = subject.authority();
    wait_until_it_follows(subject).await;
    let start = authority.position().await.unwrap().seq;
    authority.publish("u/d", "r1").await;
    let done = authority.drain().await;
    let middle = authority.position().await.unwrap().seq;
    let changes = subject.mirror().await.changes_after(start, 10_000).unwrap().unwrap();
    // Changes of one commit may share a seq, and a position may be past the last change.
    assert!(changes.iter().zip(&changes[1..]).all(|((a, _), (b, _))| a <= b));
    assert!(changes.iter().all(|(seq, _)| (start + 1..=middle).contains(seq)));
    let mut expected: BTreeSet<String> =
        done.iter().map(|key| format!("{:?}", Changed::Entry(key.clone()))).collect();
    expected.insert(format!("{:?}", Changed::Dataset(dataset("u/d"))));
    let logged: BTreeSet<String> = changes.iter().map(|(_, change)| format!("{change:?}")).collect();
    assert_eq!(logged, expected);
    authority.submit(&dataset("u/d"), &Event::Removed, T0).await.unwrap();
    let removed = subject.mirror().await.changes_after(middle, 10_000).unwrap().unwrap();
    let logged: BTreeSet<String> = removed.iter().map(|(_, change)| format!("{change:?}")).collect();
    assert_eq!(logged, expected);
}

pub async fn the_log_is_read_in_pieces(subject: &mut dyn Subject) {
    let authority = subject.authority();
    wait_until_it_follows(subject).await;
    let start = authority.position().await.unwrap().seq;
    for number in 0..5 {
        authority.publish(&format!("u/d{number}"), "r1").await;
    }
    let mirror = subject.mirror().await;
    let all = mirror.changes_after(start, 100).unwrap().unwrap();
    let (mut after, mut pieces) = (start, Vec::new());
    loop {
        let piece = mirror.changes_after(after, 2).unwrap().unwrap();
        assert!(piece.len() <= 2);
        let Some((seq, _)) = piece.last() else { break };
        after = *seq;
        pieces.extend(piece);
    }
    assert_eq!(pieces, all);
    assert_eq!(mirror.changes_after(start, 0).unwrap(), Some(Vec::new()));
}

pub async fn the_future_is_a_gap(subject: &mut dyn Subject) {
    let authority = subject.authority();
    let submitted = authority.publish("u/d", "r1").await;
    let mirror = subject.mirror().await;
    let at = mirror.visible().seq;
    assert!(at >= submitted.position.seq);
    assert_eq!(mirror.changes_after(at, 10).unwrap(), Some(Vec::new()));
    let ahead = mirror.changes_after(at + 1, 10).unwrap();
    // Whoever shares the authority's clock may have moved the position meanwhile.
    assert!(ahead.is_none() || mirror.visible().seq > at, "{ahead:?}");
    assert_eq!(mirror.changes_after(u64::MAX, 10).unwrap(), None);
}

pub async fn watchers_are_told_the_latest_seq(subject: &mut dyn Subject) {
    let (authority, mirror) = (subject.authority(), subject.mirror().await);
    let mut watch = mirror.watch();
    let submitted = authority.publish("u/d", "r1").await;
    let patience = Duration::from_secs(30);
    let seen = tokio::time::timeout(patience, watch.wait_for(|seq| *seq >= submitted.position.seq));
    // Over a shared database the position may be later already: others write too.
    let told = *seen.await.unwrap().unwrap();
    assert!(told <= mirror.position().seq, "{told} was told before it was reached");
}

pub async fn the_position_survives_a_restart(subject: &mut dyn Subject) {
    let authority = subject.authority();
    wait_until_it_follows(subject).await;
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, success(&claim, &["default"], "{}")).await;
    let before = authority.position().await.unwrap();
    drop(authority);
    subject.reopen().await;
    assert_eq!(subject.authority().position().await.unwrap().covers(&before), Some(true));
    assert_eq!(subject.mirror().await.position().covers(&before), Some(true));
    let event = at_revision("r2", Priority::Normal);
    let submitted = subject.authority().submit(&dataset("u/d"), &event, T0).await.unwrap();
    assert_eq!(submitted.position.epoch, before.epoch);
    assert!(submitted.position.seq > before.seq);
    let changes = subject.mirror().await.changes_after(before.seq, 100).unwrap().unwrap();
    assert!(changes.iter().any(|(_, change)| *change == Changed::Entry(root("u/d"))));
}
