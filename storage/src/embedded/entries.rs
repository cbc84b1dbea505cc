//! Entries on their way in and out of the store.
//!
//! Owns the split of an entry into a small head and blobs. Preparing (hashing, compressing) needs no lock and happens
//! in the caller; reading looks again when the entry was replaced under it.

use bytes::Bytes;
use outpost_model::planning::EntrySummary;
use outpost_model::{ArtifactKey, Entry, Revision, TimestampMs};

use super::keys;
use super::records::{Head, Names};
use crate::blob::{self, Blob, Prepared, Read, missing};
use crate::error::StorageError;
use crate::kv::{Kv, Tree};
use crate::mirror::MirrorEntry;
use crate::mirror_store::{EntryPut, PackedBody};
use crate::record;

/// An entry ready to be stored.
#[derive(Debug)]
pub(super) struct PreparedEntry {
    pub(super) key: ArtifactKey,
    pub(super) revision: Revision,
    pub(super) summary: EntrySummary,
    entry: Entry,
    version: [u8; 32],
    body: Prepared,
    details: Option<Prepared>,
    names: Option<Prepared>,
}

impl PreparedEntry {
    /// Does the work on an entry that needs no lock.
    pub(super) fn new(mut entry: Entry) -> Result<Self, StorageError> {
        let version = entry.version();
        let body = blob::prepare(&std::mem::take(&mut entry.body))?;
        let details = entry.details.take().map(|details| blob::prepare(&details)).transpose()?;
        let names = (!entry.names.is_empty())
            .then(|| blob::prepare(&record::encode(&Names(entry.names.clone()))))
            .transpose()?;
        let summary = EntrySummary {
            key: entry.key.clone(),
            error_code: entry.error_code,
            revision: entry.revision.clone(),
            names: std::mem::take(&mut entry.names),
            job_runner_version: entry.job_runner_version,
            failed_runs: entry.failed_runs,
        };
        let (key, revision) = (entry.key.clone(), entry.revision.clone());
        Ok(Self { key, revision, summary, entry, version, body, details, names })
    }

    /// Writes the chunks and returns the head that makes them the entry.
    pub(super) fn write(self, next_blob: &mut u64, chunks: &Tree) -> Result<Head, StorageError> {
        let mut write = |prepared| blob::write(prepared, next_blob, chunks);
        let body = write(self.body)?;
        let details = self.details.map(&mut write).transpose()?;
        let names = self.names.map(&mut write).transpose()?;
        Ok(Head {
            http_status: self.entry.http_status,
            error_code: self.entry.error_code.map(|code| code.as_str().to_owned()),
            revision: self.entry.revision.as_str().to_owned(),
            version: self.version,
            body,
            details,
            names,
            progress: self.entry.progress,
            job_runner_version: self.entry.job_runner_version,
            failed_runs: self.summary.failed_runs,
            updated_at_ms: self.entry.updated_at.0,
            duration_ms: self.entry.duration_ms,
        })
    }
}

/// The head of an entry.
pub(super) fn head(key: &ArtifactKey, kv: &Kv) -> Result<Option<Head>, StorageError> {
    kv.state.get(&keys::entry(key))?.map(|bytes| record::decode(&bytes)).transpose()
}

/// What planning needs of an entry.
pub(super) fn summary(key: ArtifactKey, head: &Head, kv: &Kv) -> Result<EntrySummary, StorageError> {
    let names = match &head.names {
        None => Vec::new(),
        // Only the writer replaces entries and only the writer plans, so nothing changes under this read.
        Some(blob) => names(&whole(blob, kv)?.ok_or_else(missing)?)?,
    };
    Ok(EntrySummary {
        key,
        error_code: head.error_code()?,
        revision: head.revision()?,
        names,
        job_runner_version: head.job_runner_version,
        failed_runs: head.failed_runs,
    })
}

/// A whole entry.
pub(super) fn read(key: &ArtifactKey, kv: &Kv) -> Result<Option<Entry>, StorageError> {
    blob::read_consistently(
        key,
        || head(key, kv),
        |head: &Head| {
            let Some(body) = whole(&head.body, kv)? else { return Ok(None) };
            let details = match &head.details {
                None => None,
                Some(blob) => match whole(blob, kv)? {
                    None => return Ok(None),
                    Some(details) => Some(Bytes::from(details)),
                },
            };
            let names = match &head.names {
                None => Vec::new(),
                Some(blob) => match whole(blob, kv)? {
                    None => return Ok(None),
                    Some(bytes) => names(&bytes)?,
                },
            };
            Ok(Some(Entry {
                key: key.clone(),
                http_status: head.http_status,
                error_code: head.error_code()?,
                revision: head.revision()?,
                body: body.into(),
                details,
                names,
                progress: head.progress,
                job_runner_version: head.job_runner_version,
                failed_runs: head.failed_runs,
                updated_at: TimestampMs(head.updated_at_ms),
                duration_ms: head.duration_ms,
            }))
        },
    )
}

/// What a reader of the response needs.
pub(super) fn read_response(key: &ArtifactKey, kv: &Kv) -> Result<Option<MirrorEntry>, StorageError> {
    blob::read_consistently(
        key,
        || head(key, kv),
        |head: &Head| {
            let Some(body) = whole(&head.body, kv)? else { return Ok(None) };
            Ok(Some(MirrorEntry {
                http_status: head.http_status,
                error_code: head.error_code()?,
                revision: head.revision()?,
                version: head.version,
                body: body.into(),
            }))
        },
    )
}

/// The entry as it is stored, for another node.
pub(super) fn read_packed(key: &ArtifactKey, kv: &Kv) -> Result<Option<EntryPut>, StorageError> {
    blob::read_consistently(
        key,
        || head(key, kv),
        |head: &Head| {
            let Read::Whole(body) = head.body.read_packed(&kv.chunks)? else { return Ok(None) };
            Ok(Some(EntryPut {
                key: key.clone(),
                http_status: head.http_status,
                error_code: head.error_code()?,
                revision: head.revision()?,
                updated_at: TimestampMs(head.updated_at_ms),
                version: head.version,
                body: PackedBody(body),
                source: None,
            }))
        },
    )
}

fn whole(blob: &Blob, kv: &Kv) -> Result<Option<Vec<u8>>, StorageError> {
    Ok(match blob.read(&kv.chunks)? {
        Read::Whole(bytes) => Some(bytes),
        Read::Missing => None,
    })
}

fn names(bytes: &[u8]) -> Result<Vec<String>, StorageError> {
    Ok(record::decode::<Names>(bytes)?.0)
}
