//! What a process remembers of the queue for a moment: what runs, and how old the oldest waiting jobs are.
//!
//! Owns no promise but this: while a process is the only one, what it remembers is true, since each of its own calls
//! corrects it. Changes by other processes are seen [`limits::MONGO_LOOKAHEAD_AGE_MS_MAX`] later at most, and "nothing
//! may be claimed" is only said after reading again. Ages bound a claim from below, so that it need not pass the
//! remains of jobs that ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use outpost_model::{JobId, Priority, TimestampMs, limits};

use super::Inner;
use super::documents::fields;
use super::documents::job::{STARTED, StoredJob, WAITING, job_id, unicity_id};
use super::state::find;

/// The remembered view.
#[derive(Default)]
pub(super) struct Lookahead(Mutex<Option<Ahead>>);

/// The queue as it was read.
#[derive(Clone)]
pub(super) struct Ahead {
    read_at: Instant,
    /// Namespace and unicity id of each started job.
    running: HashMap<JobId, (String, String)>,
    /// Age of the oldest waiting job per priority, the most urgent priority first.
    oldest: [Option<TimestampMs>; 3],
}

impl Ahead {
    /// Namespaces by how many jobs of theirs run.
    pub(super) fn namespaces_by_count(&self) -> BTreeMap<u64, Vec<&str>> {
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
    pub(super) fn recent(&self) -> Option<Ahead> {
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
            ahead.running.insert(job_id(job.id), (namespace, unicity_id(&job.key, &job.revision)));
        }
    }

    /// This process ended a job, which created jobs of the same priority at `created_at`, if any.
    pub(super) fn ended(&self, id: JobId, priority: Priority, created_at: Option<TimestampMs>) {
        let mut remembered = self.remembered();
        let Some(ahead) = remembered.as_mut() else { return };
        ahead.running.remove(&id);
        let oldest = &mut ahead.oldest[rank(priority)];
        *oldest = [*oldest, created_at].into_iter().flatten().min();
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<Ahead>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Reads the queue and remembers it.
    pub(super) async fn look_ahead(&self) -> Result<Ahead, mongodb::error::Error> {
        let read_at = Instant::now();
        let [high, normal, low] = Priority::ALL.map(|priority| self.oldest_of(priority));
        let (running, high, normal, low) = tokio::try_join!(self.what_runs(), high, normal, low)?;
        let ahead = Ahead { read_at, running, oldest: [high, normal, low] };
        *self.lookahead.remembered() = Some(ahead.clone());
        Ok(ahead)
    }

    async fn what_runs(&self) -> Result<HashMap<JobId, (String, String)>, mongodb::error::Error> {
        let projection = doc! {"namespace": 1, "unicity_id": 1};
        let started = find(&self.jobs(), doc! {"status": STARTED}, Some(projection), None).await?;
        let read = |job: &Document| {
            let text = |field| job.get_str(field).unwrap_or_default().to_owned();
            Some((job_id(job.get_object_id("_id").ok()?), (text("namespace"), text("unicity_id"))))
        };
        Ok(started.iter().filter_map(read).collect())
    }

    async fn oldest_of(&self, priority: Priority) -> Result<Option<TimestampMs>, mongodb::error::Error> {
        let jobs = self.jobs();
        let dated = doc! {"$type": "date"};
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
