//! What the names of all files tell: labels, metadata files, and what each split therefore yields.
//!
//! Owns the vote (dataset-loading.md section 1.10). Labels and metadata files add up over the splits: what a split yields
//! depends on the splits before it.

use std::collections::{BTreeMap, BTreeSet};

use super::options::Options;
use super::{Folder, location};
use crate::archive::{self, Member};
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
    /// Index among the files of its split: its own, or that of the archive that holds it.
    file: usize,
    member: Option<Member>,
}

impl MetadataFile {
    pub(super) fn open(&self, files: &SplitFiles, split: usize) -> Result<DataFile, FormatError> {
        let file = (files.open)(split, self.file);
        match &self.member {
            None => Ok(file),
            Some(member) => archive::open_member(&file, member),
        }
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
    /// A zip archive: its members are files of the split.
    Archive,
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
    } else if extension.eq_ignore_ascii_case(".zip") {
        Role::Archive
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
    let mut votes = Votes::default();
    let mut splits = Vec::with_capacity(files.splits.len());
    let mut has_metadata = false;
    let looks = options.drop_labels != Some(true) || !options.drop_metadata;
    for index in 0..files.splits.len() {
        let mut split = SplitAnalysis::default();
        if looks {
            split.metadata = votes.count_split(folder, files, index, options)?;
        }
        has_metadata |= !split.metadata.is_empty();
        split.adds_metadata = has_metadata && !options.drop_metadata;
        split.adds_labels = looks
            && !has_metadata
            && match options.drop_labels {
                None => votes.labels.len() > 1 && votes.depths.len() == 1,
                Some(drop_labels) => !drop_labels,
            };
        splits.push(split);
    }
    Ok(Analysis { labels: votes.labels, splits })
}

/// What the media of the splits so far tell.
#[derive(Default)]
struct Votes {
    labels: BTreeSet<String>,
    depths: BTreeSet<usize>,
}

impl Votes {
    fn count(&mut self, address: &str) {
        self.labels.insert(location::label(address));
        self.depths.insert(location::depth(address));
    }

    /// Counts the media of a split; its metadata files by address.
    fn count_split(
        &mut self,
        folder: &Folder,
        files: &SplitFiles,
        split: usize,
        options: &Options,
    ) -> Result<BTreeMap<String, MetadataFile>, FormatError> {
        let mut metadata = BTreeMap::new();
        for (file, path) in files.splits[split].iter().enumerate() {
            match role(folder, path, options) {
                Role::Media => self.count(&files.address(path)),
                Role::Metadata => {
                    metadata.insert(files.address(path), MetadataFile { file, member: None });
                }
                Role::Archive => {
                    for member in members(files, split, file)? {
                        let address = member_address(&member, &files.address(path));
                        let base_name = location::base_name(&member.name);
                        // The case of extensions matters inside of archives.
                        if folder.has_extension(location::split_extension(base_name).1) {
                            self.count(&address);
                        } else if options.is_metadata(base_name) {
                            metadata.insert(address, MetadataFile { file, member: Some(member) });
                        }
                    }
                }
                Role::PackedMedia | Role::Other => {}
            }
        }
        Ok(metadata)
    }
}

/// The members of an archive in reading order.
///
/// # Errors
/// `BadZipFile` and others, see [`archive::members`].
pub(super) fn members(files: &SplitFiles, split: usize, file: usize) -> Result<Vec<Member>, FormatError> {
    Ok(archive::reading_order(archive::members(&(files.open)(split, file))?))
}

/// The address of a member of the archive at `address`.
pub(super) fn member_address(member: &Member, address: &str) -> String {
    format!("zip://{}::{address}", member.name)
}
