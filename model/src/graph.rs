//! The step graph as a static table.
//!
//! Owns the steps' names, levels, versions, difficulties and parents (worker-and-store.md section 3.1). Adding a step
//! is one variant, one row and one file in `worker/src/steps/`. The tests hold the table to its rules: a DAG with one
//! dataset-level root in which errors can reach every level.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::artifact::Level;

/// A step of the graph; also the kind of the artifact it computes. Names are dataset-viewer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StepKind {
    /// Lists the configs. The root.
    DatasetConfigNames,
    /// Lists the splits of a config.
    ConfigSplitNames,
    /// Gathers the splits of all configs.
    DatasetSplitNames,
    /// Computes the features and the first rows of a split.
    SplitFirstRows,
    /// Says which features of the viewer a split supports.
    SplitIsValid,
    /// The union of its splits' support.
    ConfigIsValid,
    /// The union of its configs' support.
    DatasetIsValid,
}

/// The job queues that workers take from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Dataset- and config-level steps.
    Datasets,
    /// Split-level steps.
    Splits,
}

impl Queue {
    /// Both queues.
    pub const ALL: [Self; 2] = [Self::Datasets, Self::Splits];

    /// The queue's name on the command line and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Datasets => "datasets",
            Self::Splits => "splits",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct StepSpec {
    /// The step.
    pub kind: StepKind,
    /// Its wire name, as in dataset-viewer.
    pub name: &'static str,
    /// What one artifact is about.
    pub level: Level,
    /// Version of the computation: an entry of a lower version is recomputed.
    pub version: u32,
    /// Expected cost, 0 to 100.
    pub difficulty: u8,
    /// The steps whose end triggers this one; empty for the root.
    pub parents: &'static [StepKind],
}

/// The table, parents before children.
pub static STEPS: &[StepSpec] = &[
    StepSpec {
        kind: StepKind::DatasetConfigNames,
        name: "dataset-config-names",
        level: Level::Dataset,
        version: 1,
        difficulty: 50,
        parents: &[],
    },
    StepSpec {
        kind: StepKind::ConfigSplitNames,
        name: "config-split-names",
        level: Level::Config,
        version: 3,
        difficulty: 60,
        parents: &[StepKind::DatasetConfigNames],
    },
    StepSpec {
        kind: StepKind::DatasetSplitNames,
        name: "dataset-split-names",
        level: Level::Dataset,
        version: 3,
        difficulty: 20,
        parents: &[StepKind::DatasetConfigNames, StepKind::ConfigSplitNames],
    },
    StepSpec {
        kind: StepKind::SplitFirstRows,
        name: "split-first-rows",
        level: Level::Split,
        version: 4,
        difficulty: 70,
        parents: &[StepKind::ConfigSplitNames],
    },
    StepSpec {
        kind: StepKind::SplitIsValid,
        name: "split-is-valid",
        level: Level::Split,
        version: 4,
        difficulty: 20,
        parents: &[StepKind::SplitFirstRows],
    },
    StepSpec {
        kind: StepKind::ConfigIsValid,
        name: "config-is-valid",
        level: Level::Config,
        version: 4,
        difficulty: 20,
        parents: &[StepKind::ConfigSplitNames, StepKind::SplitIsValid],
    },
    StepSpec {
        kind: StepKind::DatasetIsValid,
        name: "dataset-is-valid",
        level: Level::Dataset,
        version: 8,
        difficulty: 20,
        parents: &[StepKind::DatasetConfigNames, StepKind::ConfigIsValid],
    },
];

impl StepKind {
    /// The root of the graph: the step that a new revision starts with.
    pub const ROOT: Self = Self::DatasetConfigNames;

    /// The step's row.
    #[must_use]
    pub fn spec(self) -> &'static StepSpec {
        STEPS.iter().find(|spec| spec.kind == self).expect("every kind has a row, checked by a test")
    }

    /// The step with this wire name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        STEPS.iter().find(|spec| spec.name == name).map(|spec| spec.kind)
    }

    /// The wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// What one artifact of this kind is about.
    #[must_use]
    pub fn level(self) -> Level {
        self.spec().level
    }

    /// The queue that its jobs wait in.
    #[must_use]
    pub fn queue(self) -> Queue {
        match self.level() {
            Level::Dataset | Level::Config => Queue::Datasets,
            Level::Split => Queue::Splits,
        }
    }

    /// The steps that the end of this one triggers.
    pub fn children(self) -> impl Iterator<Item = Self> {
        STEPS.iter().filter(move |spec| spec.parents.contains(&self)).map(|spec| spec.kind)
    }

    /// Whether `self` is `other` or one of its ancestors (http-api.md section 2 rule 1).
    #[must_use]
    pub fn is_self_or_ancestor_of(self, other: Self) -> bool {
        self == other || other.spec().parents.iter().any(|parent| self.is_self_or_ancestor_of(*parent))
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_dag_with_one_dataset_level_root() {
        for (index, spec) in STEPS.iter().enumerate() {
            for parent in spec.parents {
                assert!(STEPS[..index].iter().any(|earlier| earlier.kind == *parent), "{}", spec.name);
            }
            assert_eq!(spec.kind.spec().name, spec.name);
            assert_eq!(spec.parents.is_empty(), spec.kind == StepKind::ROOT);
            assert!(spec.difficulty <= 100);
        }
        assert_eq!(StepKind::ROOT.level(), Level::Dataset);
    }

    #[test]
    fn errors_can_reach_every_level() {
        for spec in STEPS.iter().filter(|spec| !spec.parents.is_empty()) {
            let has_parent_at = |levels: &[Level]| spec.parents.iter().any(|p| levels.contains(&p.level()));
            match spec.level {
                Level::Dataset => assert!(has_parent_at(&[Level::Dataset]), "{}", spec.name),
                Level::Config => assert!(has_parent_at(&[Level::Dataset, Level::Config]), "{}", spec.name),
                Level::Split => {}
            }
        }
    }

    #[test]
    fn ancestors_are_transitive() {
        assert!(StepKind::DatasetConfigNames.is_self_or_ancestor_of(StepKind::SplitIsValid));
        assert!(StepKind::SplitFirstRows.is_self_or_ancestor_of(StepKind::SplitFirstRows));
        assert!(!StepKind::SplitIsValid.is_self_or_ancestor_of(StepKind::SplitFirstRows));
    }
}
