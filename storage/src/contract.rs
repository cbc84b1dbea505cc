//! The contract of an authority and its mirror, as test cases that every backend runs.
//!
//! Owns one case per rule of the traits; a case is a function over a [`Subject`] and panics when the rule does not
//! hold. [`authority_contract!`](crate::authority_contract) turns all cases into tests of one backend, so a case that
//! exists is a case that runs. Cases pass their own time, except those about waiting.
#![allow(missing_docs, reason = "each case is named as the sentence that it proves")]
#![allow(clippy::unwrap_used, reason = "a failed call fails the case")]

use std::sync::Arc;

use async_trait::async_trait;
use outpost_model::planning::{DatasetState, Event};
use outpost_model::{
    ArtifactKey, ConfigName, DatasetName, Entry, ErrorCode, Job, Position, Priority, Queue, Revision,
    SplitName, StepKind, TimestampMs, Visibility,
};
use serde_json::json;

use crate::authority::{Authority, Claim, Completion, Finished, Submitted};
use crate::error::StorageError;
use crate::mirror::Mirror;
use crate::operations::Operations;

pub mod budgets;
pub mod cache;
pub mod cancellation;
pub mod concurrency;
pub mod feed;
pub mod followers;
pub mod leases;
mod model;
pub mod operations;
pub mod queue;
pub mod random;
pub mod waiting;
pub mod webhooks;

/// What ending and starting the process does to running jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopened {
    /// The process held the queue alone: its jobs wait again.
    LeasesEnded,
    /// Other processes may hold jobs: leases go on.
    LeasesKept,
}

/// A fresh store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The authority.
    fn authority(&self) -> Arc<dyn Authority>;
    /// Its mirror, caught up with every write that was acknowledged before the call.
    async fn mirror(&self) -> Arc<dyn Mirror>;
    /// Ends the process and starts it again. The caller dropped what it had from the others.
    async fn reopen(&mut self) -> Reopened;
}

/// A store that also answers operators.
pub trait OperatedSubject: Subject {
    /// The operators' view of it.
    fn operations(&self) -> Arc<dyn Operations>;
}

/// When the cases begin.
pub const T0: TimestampMs = TimestampMs(1_700_000_000_000);

/// Runs every case about an authority as a test of its own. `$create` is a path to an
/// `async fn() -> Option<impl Subject>`; `None` when the backend cannot be had here, which it has said.
#[macro_export]
macro_rules! authority_contract {
    ($create:path) => {
        $crate::authority_contract! { @cases $create;
            cache: a_stored_entry_reads_back_field_for_field, bodies_of_every_size_read_back,
                an_entry_is_replaced_whole, an_absent_entry_reads_as_none,
                failures_are_counted_per_revision_and_kept_by_a_success,
                datasets_are_listed_in_order_after_a_cursor, stats_count_what_is_there,
                entries_survive_a_restart, oversized_values_are_refused_and_change_nothing;
            queue: a_key_has_at_most_one_live_job, a_claim_is_exclusive, higher_priorities_go_first,
                the_namespace_with_the_least_running_work_goes_first, age_decides_within_a_namespace,
                workers_take_only_from_their_queues, workers_take_only_what_is_difficult_enough, ten_thousand_jobs_of_one_namespace_do_not_delay_another,
                children_are_created_with_the_result, children_inherit_the_priority,
                a_run_without_result_still_plans_its_children, a_waiting_child_is_not_created_twice,
                a_running_child_runs_again_when_its_parent_ends, a_failed_parent_still_has_children,
                backfill_creates_only_what_is_missing;
            leases: a_heartbeat_renews_the_lease, a_lease_that_ran_out_is_refused,
                an_expired_run_waits_with_an_attempt_counted, a_taken_over_run_is_fenced_off,
                the_last_expiry_hands_the_job_to_the_caller, a_verdict_that_was_never_stored_is_asked_for_again,
                a_failed_run_backs_off, the_last_failure_leaves_the_lease_to_its_holder,
                a_drained_run_counts_as_nothing, a_running_lease_is_left_alone,
                a_result_for_another_artifact_is_refused, a_lease_is_good_for_one_result,
                acknowledged_jobs_survive_a_restart;
            cancellation: a_removed_dataset_takes_everything_with_it,
                a_result_for_a_removed_dataset_is_refused, a_new_revision_ends_the_work_for_the_old_one,
                a_dataset_that_turns_private_keeps_only_its_record, a_refresh_starts_over,
                what_a_listing_no_longer_names_is_dropped,
                a_cancelled_dataset_loses_its_jobs_and_keeps_its_entries,
                one_artifact_is_computed_again_beside_the_others;
            waiting: a_worker_wakes_when_a_job_is_created, a_ready_job_ends_the_wait_at_once,
                a_worker_wakes_when_a_back_off_ends, a_worker_wakes_when_a_child_is_created,
                no_wake_up_is_missed;
            concurrency: many_workers_do_each_job_once, workers_that_die_lose_nothing,
                racing_submissions_create_one_job, readers_see_whole_entries_while_they_are_replaced;
            budgets: a_dataset_over_its_budget_waits, a_blockage_survives_a_restart,
                a_second_blockage_of_a_dataset_survives_a_restart_too,
                what_was_used_survives_a_restart, short_runs_cost_nothing;
            webhooks: a_webhook_is_taken_once_it_was_marked, taken_webhooks_survive_a_restart;
            random: stores_agree_with_a_simple_model;
        }
    };
    (@cases $create:path; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                if let Some(mut subject) = $create().await {
                    $crate::contract::$module::$case(&mut subject).await;
                }
            })+
        })+
    };
}

/// Runs every case about what followers rely on, as [`authority_contract!`](crate::authority_contract) does.
#[macro_export]
macro_rules! mirror_contract {
    ($create:path) => {
        $crate::authority_contract! { @cases $create;
            followers: the_mirror_reads_what_the_authority_reads, a_position_contains_what_it_was_answered_for,
                every_change_is_in_the_log, the_log_is_read_in_pieces, the_future_is_a_gap,
                watchers_are_told_the_latest_seq, the_position_survives_a_restart;
        }
    };
}

/// Runs every case about what other nodes rely on, as [`authority_contract!`](crate::authority_contract) does, for a
/// [`FeedSubject`](crate::contract::feed::FeedSubject).
#[macro_export]
macro_rules! feed_contract {
    ($create:path) => {
        $crate::authority_contract! { @cases $create;
            feed: the_head_and_the_items_are_those_of_what_is_stored, each_item_leads_to_its_record,
                what_changed_since_a_seq_is_known, a_copy_of_all_records_has_the_same_set_hash,
                a_reader_is_told_a_position_at_or_after_what_it_saw, what_is_visible_can_be_followed;
        }
    };
}

/// Runs every case about what operators ask, as [`authority_contract!`](crate::authority_contract) does, for an
/// [`OperatedSubject`].
#[macro_export]
macro_rules! operations_contract {
    ($create:path) => {
        $crate::authority_contract! { @cases $create;
            operations: live_jobs_are_listed_in_pages_by_age, live_jobs_are_listed_by_kind_dataset_and_status,
                each_entry_is_reported_once, a_report_holds_what_was_asked_for,
                a_cursor_that_no_listing_made_is_refused, the_overview_counts_depth_age_and_errors,
                workers_are_known_until_they_end_or_fall_silent,
                datasets_over_their_budget_are_listed_until_the_blockage_ends;
        }
    };
}

pub(crate) fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

pub(crate) fn revision(name: &str) -> Revision {
    Revision::new(name).unwrap()
}

pub(crate) fn key(kind: StepKind, name: &str, config: Option<&str>, split: Option<&str>) -> ArtifactKey {
    let config = config.map(|config| ConfigName::new(config).unwrap());
    let split = split.map(|split| SplitName::new(split).unwrap());
    ArtifactKey::new(kind, dataset(name), config, split).unwrap()
}

pub(crate) fn root(name: &str) -> ArtifactKey {
    key(StepKind::ROOT, name, None, None)
}

/// A public dataset at a revision.
pub(crate) fn at_revision(name: &str, priority: Priority) -> Event {
    Event::Revision { revision: revision(name), visibility: Visibility::Public, priority, force: false }
}

/// A successful result of the claimed job: lists the names, if it is of a kind that lists, and says a note.
pub(crate) fn success(claim: &Claim, names: &[&str], note: &str) -> Entry {
    Entry {
        key: claim.job.key.clone(),
        http_status: 200,
        error_code: None,
        revision: claim.job.revision.clone(),
        body: body(&claim.job.key, names, note).into(),
        details: None,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        progress: Some(1.0),
        job_runner_version: claim.job.key.kind().spec().version,
        failed_runs: 0,
        updated_at: T0,
        duration_ms: 12,
    }
}

/// The text of a response as every store gives it back: an object, without spaces. The names are in the places where
/// dataset-viewer has them.
fn body(key: &ArtifactKey, names: &[&str], note: &str) -> String {
    let dataset = key.dataset().as_str();
    let body = match key.kind() {
        StepKind::DatasetConfigNames => {
            let item = |config: &&str| json!({"dataset": dataset, "config": config});
            json!({"config_names": names.iter().map(item).collect::<Vec<_>>(), "note": note})
        }
        StepKind::ConfigSplitNames => {
            let config = key.config().map(ConfigName::as_str);
            let item = |split: &&str| json!({"dataset": dataset, "config": config, "split": split});
            json!({"splits": names.iter().map(item).collect::<Vec<_>>(), "note": note})
        }
        _ => json!({"note": note}),
    };
    body.to_string()
}

/// Asserts that no entry and no record of a dataset changed after `before`.
pub(crate) async fn assert_unchanged(subject: &dyn Subject, before: Position) {
    let mirror = subject.mirror().await;
    assert_eq!(mirror.position().covers(&before), Some(true));
    let changes = mirror.changes_after(before.seq, 1).unwrap();
    assert!(changes.as_ref().is_none_or(Vec::is_empty), "{changes:?}");
}

/// A failed result of the claimed job.
pub(crate) fn failure(claim: &Claim, code: ErrorCode) -> Entry {
    Entry {
        http_status: code.http_status(),
        error_code: Some(code),
        details: Some(r#"{"error":"why"}"#.into()),
        progress: None,
        ..success(claim, &[], r#"{"error":"why"}"#)
    }
}

/// The result that a one-config, one-split dataset gives.
pub(crate) fn usual_result(claim: &Claim) -> Entry {
    let names: &[&str] = match claim.job.key.kind() {
        StepKind::DatasetConfigNames => &["default"],
        StepKind::ConfigSplitNames => &["train"],
        _ => &[],
    };
    success(claim, names, &format!(r#"{{"of":"{}","at":"{}"}}"#, claim.job.key, claim.job.revision))
}

/// Short names for the calls that cases make most.
#[async_trait]
pub(crate) trait Calls {
    async fn publish(&self, name: &str, rev: &str) -> Submitted;
    async fn claim_at(&self, now: TimestampMs) -> Option<Claim>;
    async fn claim_now(&self) -> Claim;
    async fn store_at(&self, claim: &Claim, entry: Entry, now: TimestampMs)
    -> Result<Finished, StorageError>;
    async fn store(&self, claim: &Claim, entry: Entry) -> Finished;
    async fn state_of(&self, name: &str) -> DatasetState;
    /// Runs everything that can be claimed with the usual results; returns the keys in the order of their claims.
    async fn drain(&self) -> Vec<ArtifactKey>;
}

#[async_trait]
impl Calls for Arc<dyn Authority> {
    async fn publish(&self, name: &str, rev: &str) -> Submitted {
        self.submit(&dataset(name), &at_revision(rev, Priority::Normal), T0).await.unwrap()
    }

    async fn claim_at(&self, now: TimestampMs) -> Option<Claim> {
        self.claim(&Queue::ALL, now).await.unwrap()
    }

    async fn claim_now(&self) -> Claim {
        self.claim_at(T0).await.expect("a job to claim")
    }

    async fn store_at(
        &self,
        claim: &Claim,
        entry: Entry,
        now: TimestampMs,
    ) -> Result<Finished, StorageError> {
        self.finish(&claim.lease, Completion::Store(Box::new(entry)), now).await
    }

    async fn store(&self, claim: &Claim, entry: Entry) -> Finished {
        self.store_at(claim, entry, T0).await.unwrap()
    }

    async fn state_of(&self, name: &str) -> DatasetState {
        let mut state = self.state(&dataset(name)).await.unwrap();
        state.entries.sort_by(|a, b| a.key.cmp(&b.key));
        state.jobs.sort_by(|a, b| a.key.cmp(&b.key));
        state
    }

    async fn drain(&self) -> Vec<ArtifactKey> {
        let mut keys = Vec::new();
        while let Some(claim) = self.claim_at(T0).await {
            self.store(&claim, usual_result(&claim)).await;
            keys.push(claim.job.key);
        }
        keys
    }
}

/// The keys of jobs, in order.
pub(crate) fn keys_of(jobs: &[Job]) -> Vec<&ArtifactKey> {
    jobs.iter().map(|job| &job.key).collect()
}

/// Asserts that a call was refused because its lease is lost.
#[track_caller]
pub(crate) fn assert_lease_lost<T: std::fmt::Debug>(result: &Result<T, StorageError>) {
    assert!(matches!(result, Err(StorageError::LeaseLost(_))), "{result:?}");
}
