//! Artifacts: what a step computes, addressed by (kind, dataset, config, split).
//!
//! Owns the rule that the names present match the step's level; a key that breaks it cannot be built.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::graph::StepKind;
use crate::name::{ConfigName, DatasetName, SplitName};

/// What a step's artifact is about: a whole dataset, one config or one split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// One artifact per dataset.
    Dataset,
    /// One artifact per config.
    Config,
    /// One artifact per split.
    Split,
}

/// The address of an artifact. At most one entry and at most one live job exist per key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactKey {
    kind: StepKind,
    dataset: DatasetName,
    config: Option<ConfigName>,
    split: Option<SplitName>,
}

/// Names that do not fit the level of a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {kind} is computed per {level:?} and was given other names")]
pub struct InvalidKey {
    /// The step.
    pub kind: StepKind,
    /// The level that it asks for.
    pub level: Level,
}

impl ArtifactKey {
    /// Builds a key, checking that the names fit the step's level.
    ///
    /// # Errors
    /// [`InvalidKey`] when a name is missing or one too many.
    pub fn new(
        kind: StepKind,
        dataset: DatasetName,
        config: Option<ConfigName>,
        split: Option<SplitName>,
    ) -> Result<Self, InvalidKey> {
        let given = match (&config, &split) {
            (None, None) => Some(Level::Dataset),
            (Some(_), None) => Some(Level::Config),
            (Some(_), Some(_)) => Some(Level::Split),
            (None, Some(_)) => None,
        };
        if given == Some(kind.level()) {
            Ok(Self { kind, dataset, config, split })
        } else {
            Err(InvalidKey { kind, level: kind.level() })
        }
    }

    /// The key of a dataset-level step.
    ///
    /// # Errors
    /// [`InvalidKey`] when `kind` is of another level.
    pub fn dataset_level(kind: StepKind, dataset: DatasetName) -> Result<Self, InvalidKey> {
        Self::new(kind, dataset, None, None)
    }

    /// The step that computes this artifact.
    #[must_use]
    pub fn kind(&self) -> StepKind {
        self.kind
    }

    /// The dataset.
    #[must_use]
    pub fn dataset(&self) -> &DatasetName {
        &self.dataset
    }

    /// The config, of a config- or split-level artifact.
    #[must_use]
    pub fn config(&self) -> Option<&ConfigName> {
        self.config.as_ref()
    }

    /// The split, of a split-level artifact.
    #[must_use]
    pub fn split(&self) -> Option<&SplitName> {
        self.split.as_ref()
    }

    /// The key as bytes that sort by dataset first: every artifact of a dataset shares the prefix
    /// [`ArtifactKey::dataset_prefix`]. Parts are separated by NUL, which no name holds.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let config = self.config.as_ref().map_or("", ConfigName::as_str);
        let split = self.split.as_ref().map_or("", SplitName::as_str);
        [self.dataset.as_str(), self.kind.as_str(), config, split].join("\0").into_bytes()
    }

    /// The common prefix of the keys of one dataset.
    #[must_use]
    pub fn dataset_prefix(dataset: &DatasetName) -> Vec<u8> {
        let mut bytes = dataset.as_str().as_bytes().to_vec();
        bytes.push(0);
        bytes
    }

    /// Reads what [`ArtifactKey::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('\0');
        let dataset = DatasetName::new(parts.next()?).ok()?;
        let kind = StepKind::from_name(parts.next()?)?;
        let config = non_empty(parts.next()?).map(ConfigName::new).transpose().ok()?;
        let split = non_empty(parts.next()?).map(SplitName::new).transpose().ok()?;
        if parts.next().is_some() {
            return None;
        }
        Self::new(kind, dataset, config, split).ok()
    }
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.kind, self.dataset)?;
        if let Some(config) = &self.config {
            write!(f, ",{config}")?;
        }
        if let Some(split) = &self.split {
            write!(f, ",{split}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> DatasetName {
        DatasetName::new("user/name").unwrap()
    }

    #[test]
    fn names_must_fit_the_level() {
        let config = Some(ConfigName::new("default").unwrap());
        let split = Some(SplitName::new("train").unwrap());
        assert!(ArtifactKey::new(StepKind::SplitFirstRows, dataset(), config.clone(), split.clone()).is_ok());
        assert!(ArtifactKey::new(StepKind::SplitFirstRows, dataset(), config.clone(), None).is_err());
        assert!(ArtifactKey::new(StepKind::DatasetSplitNames, dataset(), config, None).is_err());
        assert!(ArtifactKey::new(StepKind::SplitFirstRows, dataset(), None, split).is_err());
    }

    #[test]
    fn bytes_round_trip_and_share_the_dataset_prefix() {
        let key = ArtifactKey::new(
            StepKind::SplitFirstRows,
            dataset(),
            Some(ConfigName::new("en US").unwrap()),
            Some(SplitName::new("train").unwrap()),
        )
        .unwrap();
        assert_eq!(ArtifactKey::from_bytes(&key.to_bytes()), Some(key.clone()));
        assert!(key.to_bytes().starts_with(&ArtifactKey::dataset_prefix(&dataset())));
        assert_eq!(ArtifactKey::from_bytes(b"user/name\0nope\0\0"), None);
        assert_eq!(ArtifactKey::from_bytes(b"\xff"), None);
    }
}
