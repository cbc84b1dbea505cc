//! Entries and dataset records.

use outpost_model::planning::Event;
use outpost_model::{Entry, ErrorCode, Queue, StepKind, Visibility, limits};
use serde_json::json;

use super::{Calls, Subject, T0, assert_unchanged, dataset, failure, key, revision, root, success};
use crate::authority::Completion;

pub async fn a_stored_entry_reads_back_field_for_field(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let names: Vec<String> = (0..4_000).map(|n| format!("config {n} é")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let entry = Entry {
        details: Some(json!({"error": "d".repeat(50_000)}).to_string().into()),
        progress: Some(0.25),
        duration_ms: 1_234_567,
        ..success(&claim, &names, &"body ".repeat(60_000))
    };
    authority.store(&claim, entry.clone()).await;
    assert_eq!(authority.entry(&entry.key).await.unwrap(), Some(entry.clone()));
    let read = subject.mirror().await.get(&entry.key).unwrap().unwrap();
    assert_eq!(read.version, entry.version());
    assert_eq!(read.body, entry.body);
    assert_eq!((read.http_status, read.error_code, read.revision), (200, None, revision("r1")));
}

pub async fn bodies_of_every_size_read_back(subject: &mut dyn Subject) {
    let authority = subject.authority();
    let chunk = limits::STORE_CHUNK_BYTES;
    let sizes = [0, 1, 255, 256, 999, 1_000, 1_001, chunk - 1, chunk, chunk + 1, 3 * chunk, 1_000_000];
    for (number, size) in sizes.into_iter().enumerate() {
        let name = format!("u/d{number}");
        authority.publish(&name, "r1").await;
        let claim = authority.claim(&Queue::ALL, T0).await.unwrap().unwrap();
        // Text that hardly compresses, so that the stored length is about the size.
        let mut random = fastrand::Rng::with_seed(number as u64);
        let note: String = (0..size).map(|_| random.alphanumeric()).collect();
        let entry = success(&claim, &[], &note);
        authority.store(&claim, entry.clone()).await;
        let read = subject.mirror().await.get(&root(&name)).unwrap().unwrap();
        assert!(read.body == entry.body, "a note of {size} bytes");
        // Without configs nothing follows but the dataset's own steps, which would be claimed next.
        authority.submit(&dataset(&name), &Event::Removed, T0).await.unwrap();
    }
}

pub async fn an_entry_is_replaced_whole(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    for size in [100_000, 10, 30_000, 200_000, 0] {
        let claim = authority.claim_now().await;
        let details = (size > 10).then(|| json!({"error": "d".repeat(size)}).to_string().into());
        let body = success(&claim, &[], &"body ".repeat(size)).body;
        let entry = Entry { body, details, ..failure(&claim, ErrorCode::HfHubError) };
        authority.store(&claim, entry.clone()).await;
        let stored = authority.entry(&root("u/d")).await.unwrap().unwrap();
        assert_eq!((stored.body, stored.details), (entry.body, entry.details));
        authority.drain().await;
        authority.submit(&dataset("u/d"), &Event::Backfill { retry_errors: true }, T0).await.unwrap();
    }
    assert_eq!(authority.entry(&root("u/d")).await.unwrap().unwrap().failed_runs, 5);
}

pub async fn an_absent_entry_reads_as_none(subject: &mut dyn Subject) {
    let (authority, mirror) = (subject.authority(), subject.mirror().await);
    assert_eq!(authority.entry(&root("u/d")).await.unwrap(), None);
    assert_eq!(mirror.get(&root("u/d")).unwrap(), None);
    assert_eq!(authority.dataset(&dataset("u/d")).await.unwrap(), None);
    assert_eq!(mirror.dataset(&dataset("u/d")).unwrap(), None);
    let state = authority.state_of("u/d").await;
    assert!(state.revision.is_none() && state.entries.is_empty() && state.jobs.is_empty());
    authority.publish("u/d", "r1").await;
    assert_eq!(authority.entry(&root("u/d")).await.unwrap(), None);
    let absent = key(StepKind::ConfigSplitNames, "u/d", Some("default"), None);
    assert_eq!(mirror.get(&absent).unwrap(), None);
}

pub async fn failures_are_counted_per_revision_and_kept_by_a_success(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let mut counts = Vec::new();
    for run in 0..3 {
        let claim = authority.claim_now().await;
        assert_eq!(claim.job.key, root("u/d"));
        let entry = match run {
            0 | 1 => failure(&claim, ErrorCode::RetryableConfigNamesError),
            _ => success(&claim, &[], "{}"),
        };
        authority.store(&claim, Entry { failed_runs: 77, ..entry }).await;
        counts.push(authority.entry(&root("u/d")).await.unwrap().unwrap().failed_runs);
        authority.drain().await;
        authority.submit(&dataset("u/d"), &Event::Backfill { retry_errors: true }, T0).await.unwrap();
    }
    assert_eq!(counts, [1, 2, 2]);
    authority.publish("u/d", "r2").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, failure(&claim, ErrorCode::ConfigNamesError)).await;
    assert_eq!(authority.entry(&root("u/d")).await.unwrap().unwrap().failed_runs, 1);
}

pub async fn datasets_are_listed_in_order_after_a_cursor(subject: &mut dyn Subject) {
    let authority = subject.authority();
    // A name, one that continues it and one that sorts between them with a separator other than '/'.
    for name in ["b/x", "a", "a/b", "a-b", "a/b_c", "c/d"] {
        authority.publish(name, "r1").await;
    }
    let mut listed: Vec<String> = Vec::new();
    let mut after = None;
    loop {
        let page = authority.datasets(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.dataset.clone());
        listed.extend(page.iter().map(|record| record.dataset.as_str().to_owned()));
    }
    assert_eq!(listed, ["a", "a-b", "a/b", "a/b_c", "b/x", "c/d"]);
    let record = authority.dataset(&dataset("a/b")).await.unwrap().unwrap();
    assert_eq!(
        (record.revision, record.visibility, record.checked_at),
        (revision("r1"), Visibility::Public, T0)
    );
    assert!(authority.datasets(Some(&dataset("c/d")), 10).await.unwrap().is_empty());
}

pub async fn stats_count_what_is_there(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    authority.publish("u/e", "r1").await;
    let claim = authority.claim_now().await;
    let stats = authority.stats().await.unwrap();
    assert_eq!(stats.jobs.iter().find(|(kind, ..)| *kind == StepKind::ROOT), Some(&(StepKind::ROOT, 1, 1)));
    assert_eq!(stats.datasets, 2);
    authority.store(&claim, failure(&claim, ErrorCode::EmptyDatasetError)).await;
    authority.drain().await;
    let stats = authority.stats().await.unwrap();
    let of_root: Vec<_> = stats.entries.iter().filter(|(kind, ..)| *kind == StepKind::ROOT).collect();
    assert_eq!(of_root.len(), 2);
    assert!(of_root.contains(&&(StepKind::ROOT, 200, 1)) && of_root.contains(&&(StepKind::ROOT, 500, 1)));
    assert!(stats.jobs.iter().all(|(_, waiting, started)| waiting + started == 0));
    for name in ["u/d", "u/e"] {
        authority.submit(&dataset(name), &Event::Removed, T0).await.unwrap();
    }
    let stats = authority.stats().await.unwrap();
    assert_eq!((stats.datasets, stats.entries.iter().map(|(.., count)| count).sum::<u64>()), (0, 0));
}

pub async fn entries_survive_a_restart(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let entry = success(&claim, &["default"], &"text ".repeat(10_000));
    authority.store(&claim, entry.clone()).await;
    let stats = authority.stats().await.unwrap();
    drop(authority);
    subject.reopen().await;
    let authority = subject.authority();
    assert_eq!(authority.entry(&entry.key).await.unwrap(), Some(entry));
    assert_eq!(authority.dataset(&dataset("u/d")).await.unwrap().unwrap().revision, revision("r1"));
    assert_eq!(authority.stats().await.unwrap().entries, stats.entries);
    assert_eq!(authority.stats().await.unwrap().datasets, 1);
}

pub async fn oversized_values_are_refused_and_change_nothing(subject: &mut dyn Subject) {
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let before = authority.position().await.unwrap();
    let oversized = success(&claim, &[], &" ".repeat(limits::CONTENT_BYTES_MAX));
    assert!(authority.store_at(&claim, oversized, T0).await.is_err());
    assert_unchanged(subject, before).await;
    // The lease still holds and the store still works.
    authority.finish(&claim.lease, Completion::Nothing, T0).await.unwrap();
}
