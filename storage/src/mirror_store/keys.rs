//! The layout of keys in the mirror's store.
//!
//! Owns which prefix holds what. One tree holds everything that must switch together; a first byte tells the kinds
//! apart and numbers are big-endian, so that order in the tree is order in time. The prefix `g` is that of
//! [`crate::blob::GARBAGE`], `x` that of the reconciliation index.

use outpost_model::items::subject_bytes;
use outpost_model::{ArtifactKey, DatasetName};

pub(super) use crate::items::{INDEX, index_key as index, item_of_key as item};
use crate::mirror::Changed;

/// The format version, outside any record so that every version of the code can read it.
pub(super) const FORMAT: &[u8] = b"f";
/// The [`super::records::Meta`] record.
pub(super) const META: &[u8] = b"m";
/// Prefix of entry heads.
pub(super) const ENTRIES: u8 = b'e';
/// Prefix of dataset records.
pub(super) const DATASETS: u8 = b'd';
/// Prefix of the change log.
pub(super) const LOG: u8 = b'l';
/// Prefix of tombstones.
pub(super) const TOMBSTONES: u8 = b't';
/// Prefix of the way from a source to its entry.
pub(super) const SOURCES: u8 = b'i';
/// Prefix of sources that cannot be read.
pub(super) const QUARANTINE: u8 = b'q';

/// Which layer counts, see [`super::layers`].
pub(super) const LAYER: &[u8] = b"y";
/// Prefix of rows of layers.
pub(super) const LAYERS: u8 = b'o';

fn with_prefix(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix], rest].concat()
}

pub(super) fn entry(key: &ArtifactKey) -> Vec<u8> {
    with_prefix(ENTRIES, &key.to_bytes())
}

pub(super) fn dataset(dataset: &DatasetName) -> Vec<u8> {
    with_prefix(DATASETS, dataset.as_str().as_bytes())
}

pub(super) fn tombstone(subject: &Changed) -> Vec<u8> {
    with_prefix(TOMBSTONES, &subject_bytes(subject))
}

pub(super) fn source(source: &[u8]) -> Vec<u8> {
    with_prefix(SOURCES, source)
}

pub(super) fn quarantine(source: &[u8]) -> Vec<u8> {
    with_prefix(QUARANTINE, source)
}

/// The `number`th change at `seq`.
pub(super) fn log(seq: u64, number: u32) -> Vec<u8> {
    [&[LOG][..], &seq.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The seq of a log key, `None` when it is none.
pub(super) fn log_seq(key: &[u8]) -> Option<u64> {
    let (seq, _) = key.strip_prefix(&[LOG])?.split_at_checked(8)?;
    Some(u64::from_be_bytes(seq.try_into().ok()?))
}
