//! What unit tests of several modules need.

use outpost_model::{AssetSplit, ConfigName, DatasetName, Revision, SplitName};

/// The rows of a split of `u/d`, whose config is `c` and whose revision is `abc`.
pub(crate) fn rows(split: &str) -> AssetSplit {
    AssetSplit {
        dataset: DatasetName::new("u/d").unwrap(),
        config: ConfigName::new("c").unwrap(),
        split: SplitName::new(split).unwrap(),
        revision: Revision::new("abc").unwrap(),
    }
}
