//! What operators see: listings, counts, the register of processes with workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use outpost_model::planning::Event;
use outpost_model::{ErrorCode, JobStatus, Priority, Queue, StepKind, limits};

use super::budgets::{RUN_MS, run_until_blocked};
use super::{Calls, OperatedSubject, T0, at_revision, dataset, failure, root, success};
use crate::error::StorageError;
use crate::operations::{
    Cursor, EntryCount, EntryReport, JobFilter, LiveJob, Operations, ReportDepth, ReportFilter, WorkerReport,
};

async fn all_jobs(operations: &Arc<dyn Operations>, filter: &JobFilter, limit: usize) -> Vec<LiveJob> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = operations.jobs(filter, after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        listed.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return listed,
        }
    }
}

async fn all_reports(
    operations: &Arc<dyn Operations>,
    filter: &ReportFilter,
    depth: ReportDepth,
) -> Vec<EntryReport> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = operations.reports(filter, depth, after.as_ref(), 2).await.unwrap();
        assert!(page.items.len() <= 2);
        listed.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return listed,
        }
    }
}

pub async fn live_jobs_are_listed_in_pages_by_age(subject: &mut dyn OperatedSubject) {
    let (authority, operations) = (subject.authority(), subject.operations());
    for name in ["u/a", "u/b", "v/c"] {
        authority.submit(&dataset(name), &at_revision("r1", Priority::High), T0).await.unwrap();
    }
    let claim = authority.claim_now().await;
    authority.heartbeat(&claim.lease, T0.plus_ms(5)).await.unwrap();
    let jobs = all_jobs(&operations, &JobFilter::default(), 1).await;
    let names: Vec<_> = jobs.iter().map(|job| job.dataset.as_str()).collect();
    assert_eq!(names, ["u/a", "u/b", "v/c"]);
    assert_eq!(
        jobs[0],
        LiveJob {
            kind: StepKind::ROOT.as_str().to_owned(),
            dataset: "u/a".to_owned(),
            config: None,
            split: None,
            revision: "r1".to_owned(),
            priority: Priority::High,
            status: JobStatus::Started,
            difficulty: StepKind::ROOT.spec().difficulty,
            created_at: T0,
            started_at: Some(T0),
            last_heartbeat: Some(T0.plus_ms(5)),
        }
    );
    assert_eq!(
        (jobs[1].status, jobs[1].started_at, jobs[1].last_heartbeat),
        (JobStatus::Waiting, None, None)
    );
}

pub async fn live_jobs_are_listed_by_kind_dataset_and_status(subject: &mut dyn OperatedSubject) {
    let (authority, operations) = (subject.authority(), subject.operations());
    for name in ["u/a", "u/ab"] {
        authority.publish(name, "r1").await;
    }
    let claim = authority.claim_now().await;
    authority.store(&claim, success(&claim, &["x", "y"], "{}")).await;
    let root_kind = Some(StepKind::ROOT.as_str().to_owned());
    let count = async |filter: JobFilter| all_jobs(&operations, &filter, 100).await.len();
    let all = count(JobFilter::default()).await;
    assert_eq!(count(JobFilter { kind: root_kind, ..JobFilter::default() }).await, 1);
    assert_eq!(count(JobFilter { dataset: Some(dataset("u/a")), ..JobFilter::default() }).await, all - 1);
    assert_eq!(count(JobFilter { status: Some(JobStatus::Started), ..JobFilter::default() }).await, 0);
    assert_eq!(count(JobFilter { status: Some(JobStatus::Waiting), ..JobFilter::default() }).await, all);
    assert_eq!(count(JobFilter { kind: Some("no-such-step".to_owned()), ..JobFilter::default() }).await, 0);
}

pub async fn each_entry_is_reported_once(subject: &mut dyn OperatedSubject) {
    let (authority, operations) = (subject.authority(), subject.operations());
    for name in ["u/a", "u/ab", "v/c"] {
        authority.publish(name, "r1").await;
    }
    authority.drain().await;
    let all = all_reports(&operations, &ReportFilter::default(), ReportDepth::Head).await;
    let distinct: BTreeSet<_> =
        all.iter().map(|report| (&report.kind, &report.dataset, &report.config, &report.split)).collect();
    assert_eq!((all.len(), distinct.len()), (21, 21));
    let kind = Some(StepKind::SplitFirstRows.as_str().to_owned());
    let of_kind = ReportFilter { kind: kind.clone(), dataset: None };
    let mut datasets: Vec<_> = all_reports(&operations, &of_kind, ReportDepth::Head).await;
    datasets.sort_by(|a, b| a.dataset.cmp(&b.dataset));
    let datasets: Vec<_> = datasets.iter().map(|report| report.dataset.as_str()).collect();
    assert_eq!(datasets, ["u/a", "u/ab", "v/c"]);
    let of_dataset = ReportFilter { kind: None, dataset: Some(dataset("u/a")) };
    assert_eq!(all_reports(&operations, &of_dataset, ReportDepth::Head).await.len(), 7);
    let of_both = ReportFilter { kind, dataset: Some(dataset("u/a")) };
    assert_eq!(all_reports(&operations, &of_both, ReportDepth::Head).await.len(), 1);
}

pub async fn a_report_holds_what_was_asked_for(subject: &mut dyn OperatedSubject) {
    let (authority, operations) = (subject.authority(), subject.operations());
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let entry = failure(&claim, ErrorCode::EmptyDatasetError);
    authority.store(&claim, entry.clone()).await;
    let filter = ReportFilter { kind: Some(StepKind::ROOT.as_str().to_owned()), dataset: None };
    for (depth, has_details, has_content) in [
        (ReportDepth::Head, false, false),
        (ReportDepth::Details, true, false),
        (ReportDepth::Content, true, true),
    ] {
        let reports = all_reports(&operations, &filter, depth).await;
        let [report] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!((report.http_status, report.error_code.as_deref()), (500, Some("EmptyDatasetError")));
        assert_eq!((report.revision.as_str(), report.failed_runs, report.progress), ("r1", 1, None));
        assert_eq!((report.updated_at, report.duration_ms), (entry.updated_at, Some(entry.duration_ms)));
        assert_eq!(report.job_runner_version, Some(entry.job_runner_version));
        assert_eq!(report.details, has_details.then(|| entry.details.clone().unwrap()), "{depth:?}");
        assert_eq!(report.content, has_content.then(|| entry.body.clone()), "{depth:?}");
    }
}

pub async fn a_cursor_that_no_listing_made_is_refused(subject: &mut dyn OperatedSubject) {
    let operations = subject.operations();
    for text in ["", "no cursor", "-1", "zz", "ff"] {
        let cursor = Some(Cursor::new(text));
        let jobs = operations.jobs(&JobFilter::default(), cursor.as_ref(), 1).await;
        assert_eq!(jobs.unwrap_err(), StorageError::InvalidCursor, "{text:?}");
        let reports =
            operations.reports(&ReportFilter::default(), ReportDepth::Head, cursor.as_ref(), 1).await;
        assert_eq!(reports.unwrap_err(), StorageError::InvalidCursor, "{text:?}");
    }
}

pub async fn the_overview_counts_depth_age_and_errors(subject: &mut dyn OperatedSubject) {
    let (authority, operations) = (subject.authority(), subject.operations());
    for (number, name) in ["u/a", "u/b", "u/c"].into_iter().enumerate() {
        let event = at_revision("r1", Priority::Normal);
        authority.submit(&dataset(name), &event, T0.plus_ms(number as u64)).await.unwrap();
    }
    let claim = authority.claim_at(T0.plus_ms(10)).await.unwrap();
    let overview = operations.overview().await.unwrap();
    let depths: Vec<_> = overview
        .queue
        .iter()
        .map(|depth| (depth.kind.as_str(), depth.status, depth.jobs, depth.oldest_at))
        .collect();
    let kind = StepKind::ROOT.as_str();
    assert_eq!(
        depths,
        [(kind, JobStatus::Waiting, 2, T0.plus_ms(1)), (kind, JobStatus::Started, 1, T0.plus_ms(10))]
    );
    assert_eq!((overview.entries.as_slice(), overview.datasets), (&[][..], 3));
    authority.store_at(&claim, failure(&claim, ErrorCode::EmptyDatasetError), T0.plus_ms(11)).await.unwrap();
    for _ in 0..2 {
        let claim = authority.claim(&[Queue::Datasets], T0.plus_ms(12)).await.unwrap().unwrap();
        assert_eq!(claim.job.key.kind(), StepKind::ROOT);
        let entry = failure(&claim, ErrorCode::ConfigNamesError);
        authority.store_at(&claim, entry, T0.plus_ms(12)).await.unwrap();
    }
    let count = |code: &str, entries| EntryCount {
        kind: kind.to_owned(),
        http_status: 500,
        error_code: Some(code.to_owned()),
        entries,
    };
    let counted = operations.overview().await.unwrap().entries;
    assert_eq!(counted, [count("ConfigNamesError", 2), count("EmptyDatasetError", 1)]);
    drop((authority, operations));
    subject.reopen().await;
    assert_eq!(subject.operations().overview().await.unwrap().entries, counted);
    subject.authority().submit(&dataset("u/a"), &Event::Removed, T0).await.unwrap();
    let counted = subject.operations().overview().await.unwrap().entries;
    assert_eq!(counted, [count("ConfigNamesError", 2)]);
}

fn worker(id: &str, started_after_ms: u64) -> WorkerReport {
    WorkerReport {
        id: id.to_owned(),
        host: "machine.example".to_owned(),
        pid: 4_242,
        queues: vec![Queue::Splits],
        workers: 3,
        started_at: T0.plus_ms(started_after_ms),
        jobs: vec![root("u/d").to_string()],
    }
}

pub async fn workers_are_known_until_they_end_or_fall_silent(subject: &mut dyn OperatedSubject) {
    let operations = subject.operations();
    let ids = async |after_ms: u64| {
        let workers = operations.workers(T0.plus_ms(after_ms)).await.unwrap();
        workers.into_iter().map(|worker| worker.report.id).collect::<Vec<_>>()
    };
    operations.report_worker(&worker("w-2", 2), T0.plus_ms(10)).await.unwrap();
    operations.report_worker(&worker("w-1", 1), T0.plus_ms(10)).await.unwrap();
    assert_eq!(ids(10).await, ["w-1", "w-2"]);
    let idle = WorkerReport { jobs: Vec::new(), ..worker("w-1", 1) };
    operations.report_worker(&idle, T0.plus_ms(500)).await.unwrap();
    let workers = operations.workers(T0.plus_ms(500)).await.unwrap();
    assert_eq!((&workers[0].report, workers[0].seen_at), (&idle, T0.plus_ms(500)));
    assert_eq!((&workers[1].report, workers[1].seen_at), (&worker("w-2", 2), T0.plus_ms(10)));
    assert_eq!(ids(10 + limits::WORKER_FORGOTTEN_MS).await, ["w-1"]);
    operations.retire_worker("w-1").await.unwrap();
    operations.retire_worker("never known").await.unwrap();
    assert_eq!(ids(500).await, ["w-2"]);
}

pub async fn datasets_over_their_budget_are_listed_until_the_blockage_ends(
    subject: &mut dyn OperatedSubject,
) {
    let (authority, operations) = (subject.authority(), subject.operations());
    authority.publish("u/d", "r1").await;
    assert!(operations.blocked(T0).await.unwrap().is_empty());
    let (claim, now) = run_until_blocked(&authority, RUN_MS).await;
    assert_eq!(claim, None);
    assert_eq!(operations.blocked(now).await.unwrap(), ["u/d"]);
    assert!(operations.blocked(now.plus_ms(limits::BLOCKAGE_MS)).await.unwrap().is_empty());
}
