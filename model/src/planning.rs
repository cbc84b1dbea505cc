//! Planning: (graph, what is stored and queued, event) → tasks. Pure: no clock, no I/O, same input same tasks.
//!
//! Owns the rules of worker-and-store.md sections 3.2, 3.5 and 3.7 with their races closed: a job that is running
//! when its parent changes is marked to run once more, and a new revision ends the jobs of the old one. An authority
//! applies all tasks of a plan in one atomic write.

use std::collections::{HashMap, HashSet};

use crate::artifact::{ArtifactKey, Level};
use crate::entry::Visibility;
use crate::error_code::ErrorCode;
use crate::graph::{STEPS, StepKind};
use crate::job::{Job, JobId, NewJob, Priority};
use crate::name::{ConfigName, DatasetName, Revision, SplitName};

/// What planning needs to know of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct EntrySummary {
    /// Its address.
    pub key: ArtifactKey,
    /// Its error, `None` for a success.
    pub error_code: Option<ErrorCode>,
    /// The revision that it was computed for.
    pub revision: Revision,
    /// The configs or splits that it lists ([`crate::Entry::names`]).
    pub names: Vec<String>,
    /// Version of the step that computed it.
    pub job_runner_version: u32,
    /// Failures in a row at this revision.
    pub failed_runs: u32,
}

/// Everything that an authority holds about one dataset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DatasetState {
    /// The revision that jobs run for, `None` when the dataset is not known.
    pub revision: Option<Revision>,
    /// Who may read it, `None` when that is not known.
    pub visibility: Option<Visibility>,
    /// Its entries, in any order.
    pub entries: Vec<EntrySummary>,
    /// Its live jobs, in any order.
    pub jobs: Vec<Job>,
}

impl DatasetState {
    /// The revision to compute when nobody but the clock or an operator asks: `None` when the dataset is not known to
    /// be public.
    fn public_revision(&self) -> Option<&Revision> {
        self.revision.as_ref().filter(|_| self.visibility == Some(Visibility::Public))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The Hub says that the dataset stands at this revision and may be read by these people.
    Revision {
        /// The head of `main`.
        revision: Revision,
        /// Who may read it.
        visibility: Visibility,
        /// Priority of the jobs that follow.
        priority: Priority,
        /// Whether to start over although the revision is the known one (an operator's refresh).
        force: bool,
    },
    /// The dataset is gone or no longer served.
    Removed,
    /// A step has stored its result (success or error); its job is already out of the state.
    Finished {
        /// The artifact.
        key: ArtifactKey,
        /// Priority of the finished job, inherited by its children.
        priority: Priority,
    },
    /// An operator ends the work on the dataset: its jobs go, running ones lose their lease, what is stored stays.
    Cancel,
    /// An operator wants one artifact computed again; the dataset's other entries stay and follow.
    Compute {
        /// The artifact.
        key: ArtifactKey,
        /// Priority of the job; one that waits with a lower one is replaced.
        priority: Priority,
    },
    /// Maintenance: create what is missing, obsolete or due for another try.
    Backfill {
        /// Whether stored transient errors are due for another try.
        retry_errors: bool,
    },
}

/// One change to the state of the dataset that a plan is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Store the dataset's revision and visibility.
    SetDataset {
        /// The head of `main`.
        revision: Revision,
        /// Who may read it.
        visibility: Visibility,
    },
    /// Forget the dataset's revision and visibility.
    DropDataset,
    /// Delete an entry and its assets.
    DeleteEntry(ArtifactKey),
    /// Delete a job; one that is running loses its lease and its result is refused.
    DeleteJob(JobId),
    /// Make a running job run once more when it ends.
    Rerun(JobId),
    /// Create a waiting job.
    CreateJob(NewJob),
}

/// Plans the answer to `event` for `dataset`.
#[must_use]
pub fn plan(dataset: &DatasetName, state: &DatasetState, event: &Event) -> Vec<Task> {
    match event {
        Event::Revision { revision, visibility, priority, force } => {
            plan_revision(dataset, state, revision, *visibility, *priority, *force)
        }
        Event::Removed => plan_removal(state),
        Event::Finished { key, priority } => plan_children(state, key, *priority),
        Event::Cancel => state.jobs.iter().map(|job| Task::DeleteJob(job.id)).collect(),
        Event::Compute { key, priority } => plan_one(dataset, state, key, *priority),
        Event::Backfill { retry_errors } => plan_backfill(dataset, state, *retry_errors),
    }
}

/// Only public datasets are computed: anything else keeps its record, so that readers are refused without asking the
/// Hub again, and loses everything else.
fn plan_revision(
    dataset: &DatasetName,
    state: &DatasetState,
    revision: &Revision,
    visibility: Visibility,
    priority: Priority,
    force: bool,
) -> Vec<Task> {
    let set = Task::SetDataset { revision: revision.clone(), visibility };
    if visibility != Visibility::Public {
        return clear(state).chain([set]).collect();
    }
    if !force && state.revision.as_ref() == Some(revision) && root_is_current_or_coming(state, revision) {
        return [set].into_iter().chain(raise_root(dataset, state, revision, priority)).collect();
    }
    let root = root_key(dataset);
    let job = new_job(root, revision, priority);
    clear(state).chain([set, Task::CreateJob(job)]).collect()
}

/// A root job that waits with a lower priority is replaced: who asks now shall not wait behind maintenance.
fn raise_root(
    dataset: &DatasetName,
    state: &DatasetState,
    revision: &Revision,
    priority: Priority,
) -> Vec<Task> {
    let waits_lower =
        |job: &&Job| job.key.kind() == StepKind::ROOT && !job.is_started() && job.priority < priority;
    match state.jobs.iter().find(waits_lower) {
        Some(job) => {
            vec![Task::DeleteJob(job.id), Task::CreateJob(new_job(root_key(dataset), revision, priority))]
        }
        None => Vec::new(),
    }
}

fn plan_removal(state: &DatasetState) -> Vec<Task> {
    if state.revision.is_none() && state.entries.is_empty() && state.jobs.is_empty() {
        return Vec::new();
    }
    clear(state).chain([Task::DropDataset]).collect()
}

fn plan_children(state: &DatasetState, key: &ArtifactKey, priority: Priority) -> Vec<Task> {
    let Some(revision) = &state.revision else { return Vec::new() };
    let mut tasks = delete_unlisted(state, key);
    for child in key.kind().children() {
        let live: HashMap<&ArtifactKey, &Job> =
            state.jobs.iter().filter(|job| job.key.kind() == child).map(|job| (&job.key, job)).collect();
        for target in targets(state, child, key) {
            let job = live.get(&target).copied();
            tasks.extend(ensure_job(job, target, revision, priority));
        }
    }
    tasks
}

/// Computes one artifact again, when the dataset's listings call for it.
fn plan_one(dataset: &DatasetName, state: &DatasetState, key: &ArtifactKey, priority: Priority) -> Vec<Task> {
    let Some(revision) = state.public_revision() else { return Vec::new() };
    if !is_listed(dataset, state, key) {
        return Vec::new();
    }
    match state.jobs.iter().find(|job| job.key == *key) {
        Some(job) if !job.is_started() && job.priority < priority => {
            vec![Task::DeleteJob(job.id), Task::CreateJob(new_job(key.clone(), revision, priority))]
        }
        live => ensure_job(live, key.clone(), revision, priority).into_iter().collect(),
    }
}

/// Whether the dataset's listings call for this artifact.
#[must_use]
pub fn is_listed(dataset: &DatasetName, state: &DatasetState, key: &ArtifactKey) -> bool {
    all_keys(dataset, state, key.kind()).contains(key)
}

/// Walks the graph from the root and creates a job for each artifact that needs one and will not be reached by the
/// job of one of its parents.
fn plan_backfill(dataset: &DatasetName, state: &DatasetState, retry_errors: bool) -> Vec<Task> {
    let Some(revision) = state.public_revision() else { return Vec::new() };
    let entries: HashMap<&ArtifactKey, &EntrySummary> =
        state.entries.iter().map(|entry| (&entry.key, entry)).collect();
    let mut coming = Coming::default();
    state.jobs.iter().for_each(|job| coming.add(&job.key));
    let mut tasks = Vec::new();
    for spec in STEPS {
        for key in all_keys(dataset, state, spec.kind) {
            if coming.contains(&key) || coming.has_parent_of(&key) {
                continue;
            }
            if needs_job(entries.get(&key).copied(), &key, revision, retry_errors) {
                coming.add(&key);
                tasks.push(Task::CreateJob(new_job(key, revision, Priority::Low)));
            }
        }
    }
    tasks
}

/// The artifacts that a job will compute, each also under the config and the dataset that it belongs to.
#[derive(Default)]
struct Coming(HashSet<(StepKind, Option<ConfigName>, Option<SplitName>)>);

impl Coming {
    fn add(&mut self, key: &ArtifactKey) {
        let (kind, config, split) = (key.kind(), key.config().cloned(), key.split().cloned());
        self.0.insert((kind, None, None));
        self.0.insert((kind, config.clone(), None));
        self.0.insert((kind, config, split));
    }

    fn contains(&self, key: &ArtifactKey) -> bool {
        self.0.contains(&(key.kind(), key.config().cloned(), key.split().cloned()))
    }

    /// Whether a parent of `key` about the same config and split, as far as both have them, is coming.
    fn has_parent_of(&self, key: &ArtifactKey) -> bool {
        key.kind().spec().parents.iter().any(|parent| {
            let (config, split) = match parent.level() {
                Level::Dataset => (None, None),
                Level::Config => (key.config(), None),
                Level::Split => (key.config(), key.split()),
            };
            self.0.contains(&(*parent, config.cloned(), split.cloned()))
        })
    }
}

fn clear(state: &DatasetState) -> impl Iterator<Item = Task> {
    let jobs = state.jobs.iter().map(|job| Task::DeleteJob(job.id));
    let entries = state.entries.iter().map(|entry| Task::DeleteEntry(entry.key.clone()));
    jobs.chain(entries)
}

fn root_key(dataset: &DatasetName) -> ArtifactKey {
    ArtifactKey::dataset_level(StepKind::ROOT, dataset.clone())
        .expect("the root is dataset-level, checked by a test")
}

fn new_job(key: ArtifactKey, revision: &Revision, priority: Priority) -> NewJob {
    let difficulty = key.kind().spec().difficulty;
    NewJob { key, revision: revision.clone(), priority, difficulty }
}

fn root_is_current_or_coming(state: &DatasetState, revision: &Revision) -> bool {
    let current = state.entries.iter().any(|entry| {
        entry.key.kind() == StepKind::ROOT
            && entry.revision == *revision
            && entry.job_runner_version >= StepKind::ROOT.spec().version
    });
    current || state.jobs.iter().any(|job| job.key.kind() == StepKind::ROOT && job.revision == *revision)
}

/// When a listing shrank, what it no longer lists goes.
fn delete_unlisted(state: &DatasetState, key: &ArtifactKey) -> Vec<Task> {
    let Some(listing) = state.entries.iter().find(|entry| entry.key == *key && entry.error_code.is_none())
    else {
        return Vec::new();
    };
    let names: HashSet<&str> = listing.names.iter().map(String::as_str).collect();
    let listed = |name: &str| names.contains(name);
    let is_orphan = |other: &ArtifactKey| match key.kind() {
        StepKind::DatasetConfigNames => other.config().is_some_and(|config| !listed(config.as_str())),
        StepKind::ConfigSplitNames => {
            other.config() == key.config() && other.split().is_some_and(|split| !listed(split.as_str()))
        }
        _ => false,
    };
    let jobs = state.jobs.iter().filter(|job| is_orphan(&job.key)).map(|job| Task::DeleteJob(job.id));
    let entries = state.entries.iter().filter(|entry| is_orphan(&entry.key));
    jobs.chain(entries.map(|entry| Task::DeleteEntry(entry.key.clone()))).collect()
}

/// The artifacts of `child` that the end of `parent` concerns (worker-and-store.md section 3.5).
fn targets(state: &DatasetState, child: StepKind, parent: &ArtifactKey) -> Vec<ArtifactKey> {
    let dataset = parent.dataset();
    let configs = match parent.config() {
        Some(config) => vec![config.clone()],
        None => config_names(state),
    };
    keys_of(state, dataset, child, &configs, parent.split())
}

/// All artifacts of a kind that the listings call for.
fn all_keys(dataset: &DatasetName, state: &DatasetState, kind: StepKind) -> Vec<ArtifactKey> {
    keys_of(state, dataset, kind, &config_names(state), None)
}

fn keys_of(
    state: &DatasetState,
    dataset: &DatasetName,
    kind: StepKind,
    configs: &[ConfigName],
    only_split: Option<&SplitName>,
) -> Vec<ArtifactKey> {
    let key = |config: Option<&ConfigName>, split: Option<SplitName>| {
        ArtifactKey::new(kind, dataset.clone(), config.cloned(), split)
            .expect("names are taken by the step's level")
    };
    match (kind.level(), only_split) {
        (Level::Dataset, _) => vec![key(None, None)],
        (Level::Config, _) => configs.iter().map(|config| key(Some(config), None)).collect(),
        (Level::Split, Some(split)) => {
            configs.iter().map(|config| key(Some(config), Some(split.clone()))).collect()
        }
        (Level::Split, None) => {
            let listings = split_listings(state);
            let of_config = |config| names_in(listings.get(config).copied(), SplitName::new);
            let of_split = |config| of_config(config).into_iter().map(move |split| (config, split));
            configs.iter().flat_map(of_split).map(|(config, split)| key(Some(config), Some(split))).collect()
        }
    }
}

fn config_names(state: &DatasetState) -> Vec<ConfigName> {
    let listing = state.entries.iter().find(|entry| entry.key.kind() == StepKind::DatasetConfigNames);
    names_in(listing, ConfigName::new)
}

/// The entries that list the splits of each config.
fn split_listings(state: &DatasetState) -> HashMap<&ConfigName, &EntrySummary> {
    let listings = state.entries.iter().filter(|entry| entry.key.kind() == StepKind::ConfigSplitNames);
    listings.filter_map(|entry| Some((entry.key.config()?, entry))).collect()
}

/// The names of a listing, each once; those that break the rules of names are skipped.
fn names_in<N, E>(listing: Option<&EntrySummary>, check: impl Fn(&str) -> Result<N, E>) -> Vec<N> {
    let names = listing.map_or(&[][..], |entry| &entry.names);
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).filter_map(|name| check(name).ok()).collect()
}

/// One live job per key: a waiting one serves, a running one is told to run again, otherwise one is created.
fn ensure_job(live: Option<&Job>, key: ArtifactKey, revision: &Revision, priority: Priority) -> Option<Task> {
    match live {
        Some(job) if job.is_started() => Some(Task::Rerun(job.id)),
        Some(_) => None,
        None => Some(Task::CreateJob(new_job(key, revision, priority))),
    }
}

fn needs_job(
    entry: Option<&EntrySummary>,
    key: &ArtifactKey,
    revision: &Revision,
    retry_errors: bool,
) -> bool {
    let Some(entry) = entry else { return true };
    let retryable = entry.error_code.is_some_and(|code| entry.failed_runs < code.max_failed_runs());
    (retry_errors && retryable)
        || entry.job_runner_version < key.kind().spec().version
        || entry.revision != *revision
}

#[cfg(test)]
mod tests;
