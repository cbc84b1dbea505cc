//! The same documents as dataset-viewer: its are read here, ours have its fields and types.
//!
//! `golden/` holds what mongoengine wrote with dataset-viewer's document classes (worker-and-store.md section 1), and
//! the text that orjson makes of one of them.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::spec::ElementType;
use mongodb::bson::{Bson, Document, doc};
use outpost_model::planning::Event;
use outpost_model::{
    ArtifactKey, ErrorCode, JobState, Priority, Queue, StepKind, TimestampMs, Visibility, limits,
};

use super::{Mongo, fresh};
use crate::contract::{Calls, Subject, T0, at_revision, dataset, failure, key, success, usual_result};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
/// When the golden job was started: 2026-08-20T10:00:00.123Z.
const STARTED_AT: TimestampMs = TimestampMs(1_787_220_000_123);

/// The documents of a golden file, which holds them one after the other.
fn golden(collection: &str) -> Vec<Document> {
    let mut bytes: &[u8] = match collection {
        "cachedResponsesBlue" => include_bytes!("golden/cachedResponsesBlue.bson"),
        "cacheTotalMetric" => include_bytes!("golden/cacheTotalMetric.bson"),
        "jobsBlue" => include_bytes!("golden/jobsBlue.bson"),
        "jobTotalMetric" => include_bytes!("golden/jobTotalMetric.bson"),
        "pastJobs" => include_bytes!("golden/pastJobs.bson"),
        "datasetBlockages" => include_bytes!("golden/datasetBlockages.bson"),
        other => panic!("no golden documents of {other}"),
    };
    let mut documents = Vec::new();
    while !bytes.is_empty() {
        documents.push(Document::from_reader(&mut bytes).unwrap());
    }
    documents
}

/// A store over what dataset-viewer left.
async fn with_golden_documents() -> Option<Mongo> {
    let subject = fresh().await?;
    let cache = subject.client.database(&subject.config.cache_database);
    let queue = subject.client.database(&subject.config.queue_database);
    cache.collection("cachedResponsesBlue").insert_many(golden("cachedResponsesBlue")).await.unwrap();
    for collection in ["jobsBlue", "pastJobs", "datasetBlockages"] {
        queue.collection(collection).insert_many(golden(collection)).await.unwrap();
    }
    Some(subject)
}

async fn count(subject: &Mongo, collection: &str, filter: Document) -> u64 {
    let name = match collection {
        "jobsBlue" => &subject.config.queue_database,
        _ => &subject.config.cache_database,
    };
    subject.client.database(name).collection::<Document>(collection).count_documents(filter).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_mongoengine_wrote_are_read() {
    let Some(subject) = with_golden_documents().await else { return };
    let authority = subject.authority();
    let first_rows = key(StepKind::SplitFirstRows, "u/d", Some("default"), Some("train"));
    let entry = authority.entry(&first_rows).await.unwrap().unwrap();
    assert_eq!(std::str::from_utf8(&entry.body).unwrap(), include_str!("golden/first_rows.json"));
    assert_eq!((entry.http_status, entry.duration_ms, entry.progress), (200, 1_250, Some(1.0)));
    let failed = key(StepKind::DatasetSplitNames, "u/d", None, None);
    let failed = authority.entry(&failed).await.unwrap().unwrap();
    assert_eq!((failed.error_code, failed.failed_runs), (Some(ErrorCode::EmptyDatasetError), 1));
    assert!(failed.details.unwrap().windows(20).any(|part| part == b"copied_from_artifact"));
    // Saved without its null fields.
    let sparse = authority.entry(&key(StepKind::DatasetIsValid, "u/d", None, None)).await.unwrap().unwrap();
    assert_eq!((sparse.progress, sparse.error_code, sparse.job_runner_version), (None, None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_only_dataset_viewer_knows_has_a_revision_and_is_private() {
    let Some(subject) = with_golden_documents().await else { return };
    let authority = subject.authority();
    let record = authority.dataset(&dataset("u/d")).await.unwrap().unwrap();
    assert_eq!((record.revision.as_str(), record.visibility), (SHA, Visibility::Private));
    assert_eq!(authority.datasets(None, 10).await.unwrap(), [record]);
    let state = authority.state_of("u/d").await;
    assert_eq!((state.entries.len(), state.visibility), (5, None));
    let root = state.entries.iter().find(|entry| entry.key.kind() == StepKind::ROOT).unwrap();
    assert_eq!(root.names, ["default", "other"]);
    assert_eq!(state.jobs.len(), 3);
    let started = state.jobs.iter().find(|job| job.is_started()).unwrap();
    let beat = STARTED_AT.plus_ms(59_877);
    let (token, lease_expires_at) = (STARTED_AT.0, beat.plus_ms(limits::MONGO_SILENCE_MS_MAX));
    assert_eq!(
        started.state,
        JobState::Started { token, started_at: STARTED_AT, lease_expires_at, rerun: false }
    );
    // Once the Hub was asked, the record is there and nothing is computed again.
    let submitted =
        authority.submit(&dataset("u/d"), &at_revision(SHA, Priority::Normal), STARTED_AT).await.unwrap();
    assert_eq!(submitted.jobs_created, 0);
    assert_eq!(authority.state_of("u/d").await.entries, state.entries);
    assert_eq!(authority.dataset(&dataset("u/d")).await.unwrap().unwrap().visibility, Visibility::Public);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_mongoengine_wrote_run_here_and_foreign_ones_go_only_with_their_dataset() {
    let Some(subject) = with_golden_documents().await else { return };
    let authority = subject.authority();
    let now = STARTED_AT.plus_ms(60_000);
    let blocked = dataset("u/blocked");
    authority.submit(&blocked, &at_revision("r1", Priority::High), now).await.unwrap();
    let mut kinds = Vec::new();
    while let Some(claim) = authority.claim(&Queue::ALL, now).await.unwrap() {
        assert_ne!(*claim.job.key.dataset(), blocked);
        authority.store_at(&claim, usual_result(&claim), now).await.unwrap();
        kinds.push(claim.job.key.kind());
    }
    assert!(
        kinds.contains(&StepKind::SplitFirstRows) && kinds.contains(&StepKind::DatasetSplitNames),
        "{kinds:?}"
    );
    let foreign = || doc! {"dataset": "u/d", "$or": [{"type": "config-parquet"}, {"kind": "config-parquet"}]};
    assert_eq!(count(&subject, "jobsBlue", foreign()).await, 1);
    authority.submit(&dataset("u/d"), &at_revision("r2", Priority::Normal), now).await.unwrap();
    assert_eq!(count(&subject, "cachedResponsesBlue", foreign()).await, 1);
    authority.submit(&dataset("u/d"), &Event::Removed, now).await.unwrap();
    for collection in ["jobsBlue", "cachedResponsesBlue"] {
        assert_eq!(count(&subject, collection, doc! {"dataset": "u/d"}).await, 0, "{collection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_python_worker_is_left_to_it_for_as_long_as_dataset_viewer_does() {
    let Some(subject) = with_golden_documents().await else { return };
    let authority = subject.authority();
    let running = async || {
        let state = authority.state_of("u/d").await;
        state.jobs.iter().filter(|job| job.is_started()).count()
    };
    // Its last sign of life; the next one comes a minute later, and may be late.
    let beat = STARTED_AT.plus_ms(59_877);
    for silence_ms in [limits::LEASE_MS + 1, limits::MONGO_SILENCE_MS_MAX - 1] {
        assert_eq!(authority.expire_leases(beat.plus_ms(silence_ms)).await.unwrap(), []);
        assert_eq!(running().await, 1, "after {silence_ms} ms");
    }
    authority.expire_leases(beat.plus_ms(limits::MONGO_SILENCE_MS_MAX)).await.unwrap();
    assert_eq!(running().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_ours_ends_earlier_and_by_the_same_rule() {
    let Some(subject) = fresh().await else { return };
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    let later = T0.plus_ms(limits::LEASE_MS - 1);
    authority.heartbeat(&claim.lease, later).await.unwrap();
    let end = later.plus_ms(limits::LEASE_MS);
    let JobState::Started { lease_expires_at, .. } = authority.state_of("u/d").await.jobs[0].state else {
        panic!("the job is not started");
    };
    assert_eq!(lease_expires_at, end);
    authority.expire_leases(TimestampMs(end.0 - 1)).await.unwrap();
    assert!(authority.state_of("u/d").await.jobs[0].is_started());
    authority.expire_leases(end).await.unwrap();
    assert!(!authority.state_of("u/d").await.jobs[0].is_started());
}

/// Names and types of a document's fields.
fn shape(document: &Document) -> BTreeMap<String, ElementType> {
    document.iter().map(|(name, value)| (name.clone(), value.element_type())).collect()
}

async fn one(subject: &Mongo, database: &str, collection: &str, filter: Document) -> Document {
    let found =
        subject.client.database(database).collection::<Document>(collection).find_one(filter.clone()).await;
    found.unwrap().unwrap_or_else(|| panic!("{collection} has no {filter}"))
}

fn golden_where(collection: &str, field: &str, value: &str) -> Document {
    let is_it = |document: &Document| document.get(field) == Some(&Bson::String(value.to_owned()));
    golden(collection).into_iter().find(is_it).unwrap()
}

/// Less the null that tells jobs that were created here, which mongoengine reads like a missing field.
fn without_mark(mut job: Document) -> Document {
    assert_eq!(job.remove("terminated_at"), Some(Bson::Null));
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_has_the_fields_and_types_of_mongoengine() {
    let Some(subject) = fresh().await else { return };
    let (authority, cache, queue) =
        (subject.authority(), &subject.config.cache_database, &subject.config.queue_database);
    authority.publish("u/d", "r1").await;
    let claim = authority.claim_now().await;
    authority.store(&claim, success(&claim, &["default"], "")).await;
    // A waiting job as it is inserted, on two levels.
    for (kind, golden_kind) in
        [("dataset-split-names", "dataset-split-names"), ("config-split-names", "config-parquet")]
    {
        let ours = one(&subject, queue, "jobsBlue", doc! {"type": kind}).await;
        assert_eq!(
            shape(&without_mark(ours)),
            shape(&golden_where("jobsBlue", "type", golden_kind)),
            "{kind}"
        );
    }
    let claim = loop {
        let claim = authority.claim_now().await;
        if claim.job.key.kind() == StepKind::ConfigSplitNames {
            break claim;
        }
        authority.store(&claim, failure(&claim, ErrorCode::EmptyDatasetError)).await;
    };
    authority.heartbeat(&claim.lease, T0.plus_ms(1)).await.unwrap();
    let started = one(&subject, queue, "jobsBlue", doc! {"type": "config-split-names"}).await;
    assert_eq!(shape(&without_mark(started)), shape(&golden_where("jobsBlue", "type", "config-split-names")));
    let long = T0.plus_ms(31_000);
    authority.store_at(&claim, success(&claim, &["train"], ""), long).await.unwrap();
    for kind in ["dataset-config-names", "config-split-names"] {
        let ours = one(&subject, cache, "cachedResponsesBlue", doc! {"kind": kind}).await;
        assert_eq!(shape(&ours), shape(&golden_where("cachedResponsesBlue", "kind", kind)), "{kind}");
    }
    let failed = one(&subject, cache, "cachedResponsesBlue", doc! {"error_code": "EmptyDatasetError"}).await;
    assert_eq!(
        shape(&failed),
        shape(&golden_where("cachedResponsesBlue", "error_code", "EmptyDatasetError"))
    );
    assert_eq!(failed.get_i32("failed_runs").unwrap(), 1);
    let past = one(&subject, queue, "pastJobs", doc! {}).await;
    assert_eq!(shape(&past), shape(&golden("pastJobs")[0]));
    subject.store().flush_metrics().await;
    let total = one(&subject, cache, "cacheTotalMetric", doc! {"kind": "dataset-config-names"}).await;
    assert_eq!(shape(&total), shape(&golden("cacheTotalMetric")[0]));
    assert_eq!(total.get_i32("total").unwrap(), 1);
    let jobs = one(&subject, queue, "jobTotalMetric", doc! {"job_type": "split-first-rows"}).await;
    assert_eq!(shape(&jobs), shape(&golden("jobTotalMetric")[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_documents_that_do_not_fit_are_passed_over() {
    let Some(subject) = fresh().await else { return };
    let authority = subject.authority();
    authority.publish("u/d", "r1").await;
    let jobs = subject.client.database(&subject.config.queue_database).collection::<Document>("jobsBlue");
    let mut broken = jobs.find_one(doc! {}).await.unwrap().unwrap();
    broken.extend(doc! {"_id": "no ObjectId", "unicity_id": "other", "revision": 7});
    jobs.insert_one(&broken).await.unwrap();
    broken.extend(doc! {
        "_id": mongodb::bson::oid::ObjectId::new(), "dataset": "../..", "namespace": "x", "unicity_id": "third",
        "created_at": mongodb::bson::DateTime::from_millis(0),
    });
    jobs.insert_one(&broken).await.unwrap();
    let responses = subject.client.database(&subject.config.cache_database).collection("cachedResponsesBlue");
    responses.insert_one(doc! {"kind": "dataset-is-valid", "dataset": "u/d"}).await.unwrap();
    let done: BTreeSet<ArtifactKey> = authority.drain().await.into_iter().collect();
    assert_eq!(done.len(), 7);
    assert!(authority.state_of("u/d").await.jobs.is_empty());
    assert_eq!(count(&subject, "jobsBlue", doc! {"status": "waiting"}).await, 2);
}
