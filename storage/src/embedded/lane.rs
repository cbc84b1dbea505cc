//! A lane: the claimable jobs of one queue and priority.
//!
//! Owns the order inside it: the namespace with the least running work first, then age. Every operation costs the
//! logarithm of the number of jobs, however many namespaces wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use outpost_model::{JobId, TimestampMs};

/// A namespace's oldest job, in claim order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    running: u64,
    created_at: TimestampMs,
    /// The job.
    pub(super) job: JobId,
    namespace: Arc<str>,
}

#[derive(Debug)]
struct Waiting {
    running: u64,
    jobs: BTreeSet<(TimestampMs, JobId)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lane {
    namespaces: HashMap<Arc<str>, Waiting>,
    turns: BTreeSet<Turn>,
}

impl Lane {
    /// The turn to claim next.
    pub(super) fn first(&self) -> Option<&Turn> {
        self.turns.first()
    }

    /// The turn to claim next among the jobs that `wanted` takes; looks at the others one by one.
    pub(super) fn first_of(&self, wanted: impl Fn(JobId) -> bool) -> Option<Turn> {
        let turn = |(name, waiting): (&Arc<str>, &Waiting)| {
            let &(created_at, job) = waiting.jobs.iter().find(|(_, job)| wanted(*job))?;
            Some(Turn { running: waiting.running, created_at, job, namespace: name.clone() })
        };
        self.namespaces.iter().filter_map(turn).min()
    }

    /// Adds a job of a namespace with `running` started jobs.
    pub(super) fn enter(&mut self, namespace: &str, running: u64, created_at: TimestampMs, job: JobId) {
        self.change(namespace, |waiting| {
            waiting.running = running;
            waiting.jobs.insert((created_at, job));
        });
    }

    /// Removes a job.
    pub(super) fn leave(&mut self, namespace: &str, created_at: TimestampMs, job: JobId) {
        self.change(namespace, |waiting| {
            waiting.jobs.remove(&(created_at, job));
        });
    }

    /// Takes note of how many jobs of a namespace run.
    pub(super) fn reorder(&mut self, namespace: &str, running: u64) {
        if self.namespaces.contains_key(namespace) {
            self.change(namespace, |waiting| waiting.running = running);
        }
    }

    fn change(&mut self, namespace: &str, change: impl FnOnce(&mut Waiting)) {
        let (name, mut waiting) = self
            .namespaces
            .remove_entry(namespace)
            .unwrap_or_else(|| (namespace.into(), Waiting { running: 0, jobs: BTreeSet::new() }));
        if let Some(turn) = turn(&name, &waiting) {
            self.turns.remove(&turn);
        }
        change(&mut waiting);
        if let Some(turn) = turn(&name, &waiting) {
            self.turns.insert(turn);
            self.namespaces.insert(name, waiting);
        }
    }
}

fn turn(namespace: &Arc<str>, waiting: &Waiting) -> Option<Turn> {
    let &(created_at, job) = waiting.jobs.first()?;
    Some(Turn { running: waiting.running, created_at, job, namespace: namespace.clone() })
}
