//! The runs that count against the datasets' budgets (worker-and-store.md section 2.5).
//!
//! Owns them in memory only: a restart of the one process that holds the store forgets them, which costs a dataset's
//! neighbours at most one more budget. Runs older than the window are dropped with the next count of their dataset or,
//! for datasets without runs since, when the number of datasets has doubled.

use std::collections::{HashMap, VecDeque};

use outpost_model::{DatasetName, TimestampMs, budget, limits};

/// Runs of one dataset: when they ended and their seconds.
type Runs = VecDeque<(TimestampMs, u64)>;

/// See the module.
#[derive(Default)]
pub(super) struct Budgets {
    runs: HashMap<DatasetName, Runs>,
    /// Datasets that were left at the last cleaning.
    kept: usize,
}

impl Budgets {
    /// Counts a run; `Some` when it exceeds the budget, with the end of the blockage.
    pub(super) fn count(
        &mut self,
        dataset: &DatasetName,
        seconds: u64,
        now: TimestampMs,
    ) -> Option<TimestampMs> {
        self.clean(now);
        let runs = self.runs.entry(dataset.clone()).or_default();
        forget_old(runs, now);
        runs.push_back((now, seconds));
        let used = runs.iter().map(|(_, seconds)| seconds).sum();
        budget::is_exceeded(dataset, seconds, used).then(|| now.plus_ms(limits::BLOCKAGE_MS))
    }

    fn clean(&mut self, now: TimestampMs) {
        if self.runs.len() <= 2 * self.kept + 16 {
            return;
        }
        self.runs.retain(|_, runs| {
            forget_old(runs, now);
            !runs.is_empty()
        });
        self.kept = self.runs.len();
    }
}

fn forget_old(runs: &mut Runs, now: TimestampMs) {
    while runs.front().is_some_and(|(ended, _)| ended.plus_ms(limits::BUDGET_WINDOW_MS) <= now) {
        runs.pop_front();
    }
}
