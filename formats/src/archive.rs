//! Zip archives: their members, the order in which they are read, and each of them as a data file of its own.
//!
//! Owns the rules of dataset-loading.md section 1.5 for archives. Listing reads the central directory only, a member only its
//! own bytes. Refuses archives inside of archives, passwords and names that lead out of the archive. Archives are hostile:
//! everything that they claim is checked against [`limits`], and broken ones end in `BadZipFile`.

mod directory;
mod member;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::module::DataFile;

/// A member of an archive, as the archive's directory describes it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Path inside of the archive; ends with `/` for a folder.
    pub name: String,
    /// Length in bytes when decompressed, as claimed.
    pub size: u64,
    packed_size: u64,
    crc32: u32,
    method: Method,
    is_encrypted: bool,
    header_start: u64,
    /// Where the next entry of the archive starts.
    end_max: u64,
    budget: Budget,
}

impl Member {
    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Whether no part of its path starts with `.` or `__`.
    fn is_visible(&self) -> bool {
        !self.name.split('/').any(|part| part.starts_with('.') || part.starts_with("__"))
    }
}

/// How the bytes of a member are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflate,
    Bzip2,
    Zstd,
    Xz,
    Other,
}

/// Decompressed bytes that may still be read from an archive, shared by its members.
#[derive(Debug, Clone)]
struct Budget(Arc<AtomicU64>);

impl Budget {
    fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Takes bytes; false when fewer are left.
    fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Atomic::Relaxed, Atomic::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// The members of a zip archive, files and folders, in the order of its directory. A name that stands twice counts once, with
/// what stands last.
///
/// # Errors
/// `BadZipFile` for what is no zip archive or a broken one, `LimitExceeded`, or that of the source.
pub fn members(archive: &DataFile) -> Result<Vec<Member>, FormatError> {
    directory::members(archive)
}

/// Files in the order in which they are read: those of a folder by name, then those of its folders by name. Hidden ones (a
/// part of the path starts with `.` or `__`) are left out.
#[must_use]
pub fn reading_order(members: Vec<Member>) -> Vec<Member> {
    let mut files: Vec<Member> =
        members.into_iter().filter(|member| !member.is_folder() && member.is_visible()).collect();
    files.sort_by(|left, right| compare_paths(&left.name, &right.name));
    files
}

fn compare_paths(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('/').peekable(), right.split('/').peekable());
    loop {
        let (Some(left_part), Some(right_part)) = (left.next(), right.next()) else {
            return left.count().cmp(&right.count());
        };
        let order = left.peek().is_some().cmp(&right.peek().is_some()).then(left_part.cmp(right_part));
        if order.is_ne() {
            return order;
        }
    }
}

/// A member as a data file named `zip://{member}::{archive}`. Nothing is read yet: a member that is broken fails when it
/// is read.
///
/// # Errors
/// `RuntimeError` for an encrypted member, `NotImplementedError` for an unknown compression, `LimitExceeded` for one that
/// claims too many bytes.
pub fn open_member(archive: &DataFile, member: &Member) -> Result<DataFile, FormatError> {
    let path = format!("zip://{}::{}", member.name, archive.path);
    if member.is_encrypted {
        let message = format!(
            "File '{}' is encrypted, password required for extraction. Upload it without a password.",
            member.name
        );
        return Err(FormatError::new(ErrorClass::RuntimeError, message));
    }
    if member.method == Method::Other {
        let message = format!(
            "That compression method is not supported: '{path}'. Pack the archive with deflate, or not at all."
        );
        return Err(FormatError::new(ErrorClass::NotImplementedError, message));
    }
    if member.size > limits::ARCHIVE_MEMBER_BYTES_MAX {
        let message = format!(
            "'{path}' has {} bytes when decompressed, more than {}; split it into smaller files",
            member.size,
            limits::ARCHIVE_MEMBER_BYTES_MAX
        );
        return Err(FormatError::new(ErrorClass::LimitExceeded, message));
    }
    if member.size == 0 && member.crc32 != 0 {
        let message = format!("Bad CRC-32 for file '{}'", member.name);
        return Err(FormatError::new(ErrorClass::BadZipFile, message));
    }
    let source = member::MemberSource::new(Arc::clone(&archive.source), member.clone());
    let url = format!("zip://{}::{}", member.name, archive.url);
    Ok(DataFile { path, url, source: Arc::new(source) })
}

/// Folders and files of an archive by path, the first `count` of them, folders without an entry of their own included.
#[must_use]
pub fn first_paths(members: &[Member], count: usize) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for member in members {
        let path = member.name.trim_end_matches('/');
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            paths.insert(&path[..end]);
            if paths.len() > count {
                paths.pop_last();
            }
        }
    }
    paths.into_iter().map(str::to_owned).collect()
}
