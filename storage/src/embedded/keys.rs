//! The layout of keys in the embedded store.
//!
//! Owns which prefix holds what. One tree holds everything that must commit together; a first byte tells the kinds
//! apart and numbers are big-endian, so that order in the tree is order in time. The prefix `g` is that of
//! [`crate::blob::GARBAGE`], `x` that of the reconciliation index; `r` and `b` are in [`super::budgets`], `v` and `w` in
//! [`super::webhooks`].

use outpost_model::{ArtifactKey, DatasetName, ErrorCode, JobId, StepKind};

use super::core::EntryClass;

/// The format version, outside any record so that every version of the code can read it.
pub(super) const FORMAT: &[u8] = b"f";
/// The [`super::records::Meta`] record.
pub(super) const META: &[u8] = b"m";
/// Prefix of entry heads.
pub(super) const ENTRIES: u8 = b'e';
/// Prefix of dataset records.
pub(super) const DATASETS: u8 = b'd';
/// Prefix of jobs.
pub(super) const JOBS: u8 = b'j';
/// Prefix of the change log.
pub(super) const LOG: u8 = b'l';

/// Prefix of counts of entries.
pub(super) const COUNTS: u8 = b'c';

fn with_prefix(prefix: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}

pub(super) fn entry(key: &ArtifactKey) -> Vec<u8> {
    with_prefix(ENTRIES, &key.to_bytes())
}

/// The prefix of the entry heads of one dataset.
pub(super) fn entries_of(dataset: &DatasetName) -> Vec<u8> {
    with_prefix(ENTRIES, &ArtifactKey::dataset_prefix(dataset))
}

pub(super) fn dataset(dataset: &DatasetName) -> Vec<u8> {
    with_prefix(DATASETS, dataset.as_str().as_bytes())
}

pub(super) fn job(id: JobId) -> Vec<u8> {
    with_prefix(JOBS, &job_number(id).to_be_bytes())
}

/// A job's id as this store counts it.
pub(super) fn job_number(id: JobId) -> u64 {
    u64::try_from(id.0).expect("the embedded store counts its jobs in 64 bits")
}

pub(super) fn log(seq: u64) -> Vec<u8> {
    with_prefix(LOG, &seq.to_be_bytes())
}

pub(super) fn count((kind, status, error_code): &EntryClass) -> Vec<u8> {
    let text = format!("{kind},{status},{}", error_code.map_or("", ErrorCode::as_str));
    with_prefix(COUNTS, text.as_bytes())
}

/// The class that a count is of.
pub(super) fn class_of_count(key: &[u8]) -> Option<EntryClass> {
    let mut parts = std::str::from_utf8(key.get(1..)?).ok()?.split(',');
    let kind = StepKind::from_name(parts.next()?)?;
    let status = parts.next()?.parse().ok()?;
    let error_code = match parts.next()? {
        "" => None,
        name => Some(ErrorCode::from_name(name)?),
    };
    Some((kind, status, error_code))
}

/// The number behind the prefix of a job or log key.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}
