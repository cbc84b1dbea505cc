//! What a process remembers of the queue for a moment: what runs, how old the oldest waiting jobs are, and in which
//! namespaces it found none, so that ten thousand jobs of one are not passed over again with each claim.
//!
//! Owns no promise but this: while a process is the only one, what it remembers is true, since each of its own calls
//! corrects it. Changes by other processes are seen [`limits::MONGO_LOOKAHEAD_AGE_MS_MAX`] later at most, and "nothing
//! may be claimed" is only said after reading again. Ages bound a claim from below, so that it need not pass the
//! remains of jobs that ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use outpost_model::{JobId, Priority, Queue, TimestampMs, limits};

use super::Inner;
use super::documents::fields::{self, to_date};
use super::documents::job::{STARTED, StoredJob, WAITING, job_id, unicity_id};
use crate::authority::DifficultyRange;

/// The remembered view.
#[derive(Default)]
pub(super) struct Lookahead(Mutex<Option<Arc<Ahead>>>);

/// The queue as it was read.
#[derive(Clone)]
pub(super) struct Ahead {
    read_at: Instant,
    /// Namespace and unicity id of each started job.
    running: Running,
    /// Age of the oldest waiting job per priority, the most urgent priority first.
    oldest: [Option<TimestampMs>; 3],
    /// No job was older that ran or waited.
    all_since: Option<TimestampMs>,
    /// When the queue was last read without the ages before as a bound.
    unbounded_at: Instant,
    empty: Vec<Empty>,
}

/// Namespace and unicity id by job.
type Running = HashMap<JobId, (String, String)>;

/// How much of the queue is read. Where jobs ended, the server passes their remains one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// From the ages known on, while the last full look is recent: a job older than those may be missed.
    Bounded,
    /// All of it.
    Full,
}

/// A look for jobs that found none.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Empty {
    pub(super) priority: Priority,
    pub(super) queues: Vec<Queue>,
    pub(super) difficulty: DifficultyRange,
    pub(super) namespaces: Namespaces,
}

/// Where a claim looks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Namespaces {
    AllBut(Vec<String>),
    Of(Vec<String>),
}

impl Namespaces {
    fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::AllBut(names) => names.iter().all(|name| name != namespace),
            Self::Of(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// As a filter of the field.
    pub(super) fn filter(&self) -> Document {
        match self {
            Self::AllBut(names) => doc! {"$nin": names},
            Self::Of(names) => doc! {"$in": names},
        }
    }
}

impl Ahead {
    /// Where to look, in this order: namespaces without running jobs, then those with the fewest.
    pub(super) fn namespaces_in_turn(&self) -> Vec<Namespaces> {
        let by_count = self.namespaces_by_count();
        let owned = |names: &Vec<&str>| -> Vec<String> {
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.sort_unstable();
            names
        };
        let busy = owned(&by_count.values().flatten().copied().collect());
        let groups = by_count.values().map(|names| Namespaces::Of(owned(names)));
        [Namespaces::AllBut(busy)].into_iter().chain(groups).collect()
    }

    /// Whether a look is known to find nothing.
    pub(super) fn is_empty(&self, look: &Empty) -> bool {
        self.empty.contains(look)
    }

    /// Namespaces by how many jobs of theirs run.
    fn namespaces_by_count(&self) -> BTreeMap<u64, Vec<&str>> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (namespace, _) in self.running.values() {
            *counts.entry(namespace).or_default() += 1;
        }
        let mut by_count: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for (namespace, count) in counts {
            by_count.entry(count).or_default().push(namespace);
        }
        by_count
    }

    pub(super) fn unicity_ids(&self) -> Vec<&str> {
        self.running.values().map(|(_, unicity_id)| unicity_id.as_str()).collect()
    }

    /// Whether nothing waits that it does not know of.
    pub(super) fn is_full(&self) -> bool {
        self.unbounded_at == self.read_at
    }

    /// From which age on to look for a job of a priority: no waiting one is older. `None` when none is due.
    pub(super) fn floor(&self, priority: Priority, now: TimestampMs) -> Option<TimestampMs> {
        self.oldest[rank(priority)].filter(|age| *age <= now)
    }
}

fn rank(priority: Priority) -> usize {
    Priority::ALL.iter().position(|other| *other == priority).expect("the list has every priority")
}

impl Lookahead {
    /// What is remembered, unless it is too old.
    pub(super) fn recent(&self) -> Option<Arc<Ahead>> {
        let remembered = self.remembered();
        let longest = Duration::from_millis(limits::MONGO_LOOKAHEAD_AGE_MS_MAX);
        remembered.as_ref().filter(|ahead| ahead.read_at.elapsed() < longest).cloned()
    }

    /// The queue changed in a way that is not followed here.
    pub(super) fn forget(&self) {
        *self.remembered() = None;
    }

    /// This process started a job.
    pub(super) fn started(&self, job: &StoredJob) {
        if let Some(ahead) = self.remembered().as_mut() {
            let namespace = job.key.dataset().namespace().to_owned();
            Arc::make_mut(ahead)
                .running
                .insert(job_id(job.id), (namespace, unicity_id(&job.key, &job.revision)));
        }
    }

    /// This process ended a job, which created jobs of the same priority at `created_at`, if any.
    pub(super) fn ended(&self, job: &StoredJob, created_at: Option<TimestampMs>) {
        let mut remembered = self.remembered();
        let Some(ahead) = remembered.as_mut().map(Arc::make_mut) else { return };
        ahead.running.remove(&job_id(job.id));
        if let Some(created_at) = created_at {
            let oldest = &mut ahead.oldest[rank(job.priority)];
            *oldest = Some(oldest.map_or(created_at, |oldest| oldest.min(created_at)));
            let namespace = job.key.dataset().namespace();
            ahead.empty.retain(|look| !look.namespaces.covers(namespace));
        }
    }

    /// A look that began with what was read at `read_at` found nothing.
    pub(super) fn found_nothing(&self, seen: &Ahead, look: Empty) {
        let mut remembered = self.remembered();
        let Some(ahead) = remembered.as_mut().filter(|ahead| ahead.read_at == seen.read_at) else { return };
        if ahead.empty.len() < limits::MONGO_EMPTY_LOOKS_MAX {
            Arc::make_mut(ahead).empty.push(look);
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<Arc<Ahead>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Reads the queue and remembers it.
    pub(super) async fn look_ahead(&self, look: Look) -> Result<Arc<Ahead>, mongodb::error::Error> {
        let read_at = Instant::now();
        let longest = Duration::from_millis(limits::MONGO_FULL_LOOK_PERIOD_MS);
        let known = self.lookahead.remembered().clone();
        let known = known.filter(|ahead| look == Look::Bounded && ahead.unbounded_at.elapsed() < longest);
        let (bounds, since) = known.as_ref().map_or(([None; 3], None), |it| (it.oldest, it.all_since));
        let unbounded_at = known.map_or(read_at, |it| it.unbounded_at);
        let [high, normal, low] =
            Priority::ALL.map(|priority| self.oldest_of(priority, bounds[rank(priority)]));
        let (running, high, normal, low) = tokio::try_join!(self.what_runs(since), high, normal, low)?;
        let (running, started) = running;
        let oldest = [high, normal, low];
        let all_since = oldest.into_iter().flatten().chain(started).min();
        let ahead = Ahead { read_at, running, oldest, all_since, unbounded_at, empty: Vec::new() };
        let ahead = Arc::new(ahead);
        *self.lookahead.remembered() = Some(ahead.clone());
        Ok(ahead)
    }

    /// The jobs that run, unless older than `since`, and the age of the oldest.
    async fn what_runs(
        &self,
        since: Option<TimestampMs>,
    ) -> Result<(Running, Option<TimestampMs>), mongodb::error::Error> {
        let mut filter = doc! {"status": STARTED};
        if let Some(since) = since {
            // In the order of claims, so that the bound spares the server the remains of those that ended.
            filter.insert("priority", doc! {"$in": Priority::ALL.map(Priority::as_str).to_vec()});
            filter.insert("created_at", doc! {"$gte": to_date(since)});
        }
        let projection = doc! {"namespace": 1, "unicity_id": 1, "created_at": 1};
        let jobs = self.jobs();
        let mut find = jobs.find(filter).projection(projection).batch_size(limits::MONGO_BATCH_DOCUMENTS);
        if since.is_some() {
            find = find.hint(Hint::Keys(by_age()));
        }
        let (mut running, mut oldest) = (Running::new(), None);
        let mut cursor = find.await?;
        while cursor.advance().await? {
            let job: Document = cursor.deserialize_current()?;
            let Ok(id) = job.get_object_id("_id") else { continue };
            let text = |field| job.get_str(field).unwrap_or_default().to_owned();
            running.insert(job_id(id), (text("namespace"), text("unicity_id")));
            let created_at = fields::date(&job, "created_at").ok().flatten().unwrap_or_default();
            oldest = Some(oldest.map_or(created_at, |oldest: TimestampMs| oldest.min(created_at)));
        }
        Ok((running, oldest))
    }

    async fn oldest_of(
        &self,
        priority: Priority,
        bound: Option<TimestampMs>,
    ) -> Result<Option<TimestampMs>, mongodb::error::Error> {
        let jobs = self.jobs();
        let dated = bound.map_or(doc! {"$type": "date"}, |bound| doc! {"$gte": to_date(bound)});
        let waiting = doc! {"priority": priority.as_str(), "status": WAITING, "created_at": dated};
        let oldest = jobs.find_one(waiting).projection(doc! {"_id": 0, "created_at": 1});
        let oldest = oldest.sort(doc! {"created_at": 1}).hint(Hint::Keys(by_age())).await?;
        Ok(oldest.and_then(|job| fields::date(&job, "created_at").ok().flatten()))
    }
}

/// dataset-viewer's index in the order of claims. Naming it saves the server the choice among eleven.
pub(super) fn by_age() -> Document {
    doc! {
        "priority": 1, "status": 1, "created_at": 1, "namespace": 1, "difficulty": 1, "dataset": 1,
        "unicity_id": 1,
    }
}
