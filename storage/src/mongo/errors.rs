//! From the driver's errors to ours.

use mongodb::bson::Bson;
use mongodb::error::{Error, ErrorKind, WriteFailure};

use super::documents::Misfit;
use super::documents::content::Unstorable;
use crate::error::StorageError;

/// Server codes that a start distinguishes.
pub(super) const UNAUTHORIZED: i32 = 13;
pub(super) const AUTHENTICATION_FAILED: i32 = 18;
pub(super) const NAMESPACE_EXISTS: i32 = 48;
const DUPLICATE_KEY: i32 = 11_000;
const OUT_OF_DISK_SPACE: i32 = 14_031;

/// A failed call to the database.
#[expect(clippy::needless_pass_by_value, reason = "used as the argument of map_err")]
pub(super) fn storage_error(error: Error) -> StorageError {
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Io(_)
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::ConnectionPoolCleared { .. } => StorageError::Unreachable(format!("MongoDB: {error}")),
        _ if is_disk_full(&error) => StorageError::Engine(format!(
            "the disk of the database server is full; make room there, work goes on by itself after that: MongoDB: {error}"
        )),
        _ => StorageError::Engine(format!("MongoDB: {error}")),
    }
}

impl From<Misfit> for StorageError {
    fn from(misfit: Misfit) -> Self {
        Self::Damaged(misfit.to_string())
    }
}

impl From<Unstorable> for StorageError {
    fn from(unstorable: Unstorable) -> Self {
        match unstorable {
            Unstorable::Form(reason) => Self::Unstorable(reason),
            Unstorable::Size(reason) => Self::TooLarge(reason),
        }
    }
}

/// Failed statements of a write that was sent as a command; the driver does not look for them there.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct WriteErrors {
    /// Of the first one.
    code: i32,
    text: String,
}

impl WriteErrors {
    /// From the array `writeErrors` of a reply.
    pub(super) fn new(errors: &[Bson]) -> Self {
        let first = errors.first().and_then(Bson::as_document);
        let code = first.and_then(|error| error.get_i32("code").ok()).unwrap_or(0);
        Self { code, text: format!("{errors:?}") }
    }
}

impl From<WriteErrors> for Error {
    fn from(errors: WriteErrors) -> Self {
        Self::custom(errors)
    }
}

/// The server's code of a failed command or write.
pub(super) fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::InsertMany(insert) => insert.write_errors.as_ref()?.first().map(|write| write.code),
        ErrorKind::Custom(_) => error.get_custom::<WriteErrors>().map(|errors| errors.code),
        _ => None,
    }
}

/// Whether the server has no room to write: it has a code for that, and where its engine fails only that one's text.
pub(super) fn is_disk_full(error: &Error) -> bool {
    code(error) == Some(OUT_OF_DISK_SPACE) || error.to_string().contains("No space left on device")
}

/// Whether a unique index refused a write.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    code(error) == Some(DUPLICATE_KEY)
}
