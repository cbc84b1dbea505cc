//! What follows the end of a job: its children, and its own next run.
//!
//! Owns what is read for that plan. Most children follow from the names of the job, or from the listing that it stores;
//! then nothing is read at all, and one statement for each child ensures that it waits. A listing that lost names, or
//! replaced one whose names are not known, or names very many, is planned over all that the dataset has.

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::doc;
use mongodb::bson::oid::ObjectId;
use outpost_model::planning::{self, DatasetState, EntrySummary, Event, Task};
use outpost_model::{ArtifactKey, Level, NewJob, Revision, StepKind, TimestampMs, limits};

use super::Inner;
use super::documents::job::{StoredJob, WAITING};
use super::documents::response::Replaced;
use super::metrics::Counts;
use super::state::View;
use super::transaction::Failure;
use super::write::next_run;

impl Inner {
    /// Children that follow from `state`. Returns how many jobs were created, and whether the job runs again.
    pub(super) async fn ensure_children(
        &self,
        session: &mut ClientSession,
        job: &StoredJob,
        state: &DatasetState,
        now: TimestampMs,
        counts: &mut Counts,
    ) -> Result<(usize, bool), Failure> {
        let tasks = planning::plan(job.key.dataset(), state, &finished(job));
        let created = |task: Task| if let Task::CreateJob(new) = task { Some(new) } else { None };
        let jobs: Vec<NewJob> = tasks.into_iter().filter_map(created).collect();
        let ensured = self.ensure_waiting(session, &jobs, job, now).await?;
        for kind in &ensured.created {
            counts.job(*kind, WAITING, 1);
        }
        Ok((ensured.created.len(), ensured.runs_again))
    }

    /// Children that depend on what the dataset lists, and the end of what it lists no longer.
    pub(super) async fn plan_children(
        &self,
        session: &mut ClientSession,
        job: &StoredJob,
        now: TimestampMs,
        counts: &mut Counts,
    ) -> Result<(usize, bool), Failure> {
        let dataset = job.key.dataset();
        let mut view = self.load_view(Some(&mut *session), dataset).await?;
        view.state.revision = Some(job.revision.clone());
        let requeued = take_rerun(&mut view, job);
        if !requeued.is_empty() {
            let filter = doc! {"_id": {"$in": requeued.clone()}};
            self.jobs().update_many(filter, next_run(job, now)).session(&mut *session).await?;
        }
        let tasks = planning::plan(dataset, &view.state, &finished(job));
        let kept = waiting_children(&view, job.key.kind(), &tasks);
        self.touch(session, kept, now).await?;
        let applied = self.apply(session, dataset, &view, tasks, now).await?;
        counts.merge(applied.counts);
        Ok((applied.jobs_created, !requeued.is_empty()))
    }
}

fn finished(job: &StoredJob) -> Event {
    Event::Finished { key: job.key.clone(), priority: job.priority }
}

/// Whether the step's result says which configs or splits there are.
fn lists(kind: StepKind) -> bool {
    matches!(kind, StepKind::DatasetConfigNames | StepKind::ConfigSplitNames)
}

/// A state that gives the same plan as all that the dataset has; `None` when only that does. `stored` is the entry that
/// was stored over `replaced`.
pub(super) fn sufficient_state(
    job: &StoredJob,
    stored: Option<&EntrySummary>,
    replaced: Option<&Replaced>,
) -> Option<DatasetState> {
    let state = DatasetState { revision: Some(job.revision.clone()), ..DatasetState::default() };
    if !lists(job.key.kind()) {
        return names_its_children(&job.key).then_some(state);
    }
    let listing = stored?;
    if listing.names.len() > limits::MONGO_ENSURED_NAMES_MAX {
        return None;
    }
    // A failed listing ends nothing.
    let names: HashSet<&str> = listing.names.iter().map(String::as_str).collect();
    let keeps_all =
        |before: &Replaced| before.names().is_some_and(|mut old| old.all(|name| names.contains(name)));
    let ends_nothing = listing.error_code.is_some() || replaced.is_none_or(keeps_all);
    ends_nothing.then(|| DatasetState { entries: vec![listing.clone()], ..state })
}

/// Whether no child has a level whose names the artifact does not have.
fn names_its_children(key: &ArtifactKey) -> bool {
    key.kind().children().all(|child| match child.level() {
        Level::Dataset => true,
        Level::Config => key.config().is_some(),
        Level::Split => key.split().is_some(),
    })
}

/// Takes the waiting documents of the job that ends out of the state: they are its next run.
fn take_rerun(view: &mut View, job: &StoredJob) -> Vec<ObjectId> {
    let is_same = |key: &ArtifactKey, revision: &Revision| *key == job.key && *revision == job.revision;
    let (again, others) = std::mem::take(&mut view.state.jobs)
        .into_iter()
        .partition(|other| is_same(&other.key, &other.revision));
    view.state.jobs = others;
    let again: Vec<outpost_model::Job> = again;
    again.iter().filter_map(|job| view.jobs.remove(&job.id)).flatten().map(|job| job.id).collect()
}

/// Waiting documents of children that the plan leaves as they are.
fn waiting_children(view: &View, parent: StepKind, tasks: &[Task]) -> Vec<ObjectId> {
    let is_child = |kind: StepKind| kind.spec().parents.contains(&parent);
    let deleted = |id| tasks.contains(&Task::DeleteJob(id));
    let kept = view.state.jobs.iter().filter(|job| is_child(job.key.kind()) && !deleted(job.id));
    let documents = kept.filter_map(|job| view.jobs.get(&job.id)).flatten();
    documents.filter(|job| !job.is_started).map(|job| job.id).collect()
}
