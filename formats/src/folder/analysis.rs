//! What the names of all files tell: labels, metadata files, and what each split therefore yields.
//!
//! Owns the vote (dataset-loading.md section 1.10). Labels and metadata files add up over the splits: what a split yields
//! depends on the splits before it.

use std::collections::{BTreeMap, BTreeSet};

use super::options::Options;
use super::{Folder, location};
use crate::error::FormatError;
use crate::module::{DataFile, SplitFiles};

/// What the files of a config tell.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    /// Names of the directories right above media, sorted.
    pub(super) labels: BTreeSet<String>,
    pub(super) splits: Vec<SplitAnalysis>,
}

/// What a split yields.
#[derive(Debug, Default)]
pub(super) struct SplitAnalysis {
    pub(super) adds_labels: bool,
    /// Whether rows are those of its metadata files.
    pub(super) adds_metadata: bool,
    /// By address, which is the order in which they are read; the library's own order is random.
    pub(super) metadata: BTreeMap<String, MetadataFile>,
}

/// A metadata file of a split.
#[derive(Debug)]
pub(super) struct MetadataFile {
    /// Index among the files of its split.
    file: usize,
}

impl MetadataFile {
    pub(super) fn open(&self, files: &SplitFiles, split: usize) -> Result<DataFile, FormatError> {
        Ok((files.open)(split, self.file))
    }
}

/// What a file is to a folder module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Media whose directory may be a label.
    Media,
    /// Media that is known by its second-to-last extension, as `x.nii.gz`; it has no label.
    PackedMedia,
    Metadata,
    Other,
}

/// The role of a file in a repository; the case of its extension does not matter.
pub(super) fn role(folder: &Folder, path: &str, options: &Options) -> Role {
    let base_name = location::base_name(path);
    let (stem, extension) = location::split_extension(base_name);
    if folder.has_extension(&extension.to_lowercase()) {
        Role::Media
    } else if folder.has_extension(&location::split_extension(stem).1.to_lowercase()) {
        Role::PackedMedia
    } else if options.is_metadata(base_name) {
        Role::Metadata
    } else {
        Role::Other
    }
}

/// Looks at the names of all files.
///
/// # Errors
/// [`FormatError`] when an archive cannot be listed.
pub(super) fn analyze(
    folder: &Folder,
    files: &SplitFiles,
    options: &Options,
) -> Result<Analysis, FormatError> {
    let mut analysis = Analysis::default();
    let mut depths = BTreeSet::new();
    let mut has_metadata = false;
    let looks_for_labels = options.drop_labels != Some(true);
    let looks = looks_for_labels || !options.drop_metadata;
    for paths in &files.splits {
        let mut split = SplitAnalysis::default();
        for (file, path) in paths.iter().enumerate().filter(|_| looks) {
            match role(folder, path, options) {
                Role::Media if looks_for_labels => {
                    let address = files.address(path);
                    analysis.labels.insert(location::label(&address));
                    depths.insert(location::depth(&address));
                }
                Role::Metadata => {
                    split.metadata.insert(files.address(path), MetadataFile { file });
                }
                _ => {}
            }
        }
        has_metadata |= !split.metadata.is_empty();
        split.adds_metadata = has_metadata && !options.drop_metadata;
        split.adds_labels = looks
            && !has_metadata
            && match options.drop_labels {
                None => analysis.labels.len() > 1 && depths.len() == 1,
                Some(drop_labels) => !drop_labels,
            };
        analysis.splits.push(split);
    }
    Ok(analysis)
}
