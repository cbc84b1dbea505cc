//! How much worker time a dataset may use before its jobs wait.
//!
//! Owns the rule of worker-and-store.md section 2.5; authorities keep the past runs and the blockages. Pure.

use crate::limits;
use crate::name::DatasetName;

/// Datasets with a larger budget: (name, how many times larger).
const MULTIPLIERS: &[(&str, u64)] = &[("HuggingFaceFW/fineweb-2", 100)];

/// What a run of this many milliseconds counts, in whole seconds; `None` when it is too short to count.
#[must_use]
pub fn counted_seconds(duration_ms: u64) -> Option<u64> {
    let seconds = duration_ms / 1_000;
    (seconds >= limits::BUDGET_RUN_S_MIN).then_some(seconds)
}

/// Whether a dataset is to be blocked after a run, given the seconds of all its counted runs in the window, this one
/// included.
#[must_use]
pub fn is_exceeded(dataset: &DatasetName, run_s: u64, window_s: u64) -> bool {
    let multiplier =
        MULTIPLIERS.iter().find(|(name, _)| *name == dataset.as_str()).map_or(1, |(_, times)| *times);
    run_s > limits::BUDGET_RUN_S_MIN && window_s > limits::BUDGET_S_MAX * multiplier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_do_not_count() {
        assert_eq!(counted_seconds(29_999), None);
        assert_eq!(counted_seconds(30_999), Some(30));
    }

    #[test]
    fn two_machine_hours_are_the_budget() {
        let dataset = DatasetName::new("u/d").unwrap();
        assert!(!is_exceeded(&dataset, 1_000, 7_200));
        assert!(is_exceeded(&dataset, 1_000, 7_201));
        assert!(!is_exceeded(&dataset, 30, 7_201));
        let large = DatasetName::new("HuggingFaceFW/fineweb-2").unwrap();
        assert!(!is_exceeded(&large, 1_000, 720_000));
    }
}
