//! What planning needs of the entries of recently planned datasets, kept in memory.
//!
//! Owns the bound on it. Planning looks at all entries of a dataset for each result, which would read a dataset of
//! thousands of splits thousands of times. An operation takes a dataset's summaries out and puts them back after its
//! commit; whoever commits without doing so, or fails, leaves nothing behind that could be wrong.

use std::collections::HashMap;

use outpost_model::planning::EntrySummary;
use outpost_model::{DatasetName, limits};

/// See the module.
#[derive(Default)]
pub(super) struct Summaries {
    datasets: HashMap<DatasetName, Vec<EntrySummary>>,
    weight: usize,
}

impl Summaries {
    pub(super) fn get(&self, dataset: &DatasetName) -> Option<&Vec<EntrySummary>> {
        self.datasets.get(dataset)
    }

    /// Takes a dataset's summaries out.
    pub(super) fn take(&mut self, dataset: &DatasetName) -> Option<Vec<EntrySummary>> {
        let taken = self.datasets.remove(dataset)?;
        self.weight -= weight(&taken);
        Some(taken)
    }

    /// Keeps a dataset's summaries; the others go when there are too many.
    pub(super) fn keep(&mut self, dataset: DatasetName, summaries: Vec<EntrySummary>) {
        self.take(&dataset);
        let added = weight(&summaries);
        if self.weight + added > limits::STORE_SUMMARIES_KEPT_MAX {
            self.datasets.clear();
            self.weight = 0;
        }
        if added <= limits::STORE_SUMMARIES_KEPT_MAX {
            self.weight += added;
            self.datasets.insert(dataset, summaries);
        }
    }
}

/// Entries and the names that they list.
fn weight(summaries: &[EntrySummary]) -> usize {
    1 + summaries.iter().map(|summary| 1 + summary.names.len()).sum::<usize>()
}
