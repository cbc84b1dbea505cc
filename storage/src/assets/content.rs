//! Contents on their way to the disk: hashed, compressed where that pays, in chunks or in files.
//!
//! Owns the folder of files: `tmp/` for those being written, emptied when the store opens, and `files/`, in 256
//! folders by hash. A file gets its final name only when its bytes are on disk. Refuses to know what refers to them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use outpost_model::limits;

use super::keys;
use crate::error::StorageError;
use crate::kv::{Batch, Tree};

/// Below this compression costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 256;
const ZSTD_LEVEL: i32 = 3;
/// Files above this are first tried on samples.
const SAMPLED_BYTES_MIN: usize = 256 * 1024;
const SAMPLE_BYTES: usize = 16 * 1024;

/// Bytes ready to be stored.
pub(super) struct Prepared<'a> {
    pub(super) stored: Cow<'a, [u8]>,
    pub(super) compressed: bool,
    pub(super) stored_hash: [u8; 32],
}

/// Compresses `raw` when that saves at least one part in [`limits::ASSET_SAVED_PART_MIN`].
pub(super) fn prepare<'a>(raw: &'a [u8], hash: &[u8; 32]) -> Result<Prepared<'a>, StorageError> {
    let packed =
        if is_worth_a_try(raw)? { Some(compress(raw)?).filter(|packed| pays(raw, packed)) } else { None };
    Ok(match packed {
        Some(packed) => {
            let stored_hash = *blake3::hash(&packed).as_bytes();
            Prepared { stored: Cow::Owned(packed), compressed: true, stored_hash }
        }
        None => Prepared { stored: Cow::Borrowed(raw), compressed: false, stored_hash: *hash },
    })
}

/// Most large files are compressed by their format; three samples tell them from the others at a small price.
fn is_worth_a_try(raw: &[u8]) -> Result<bool, StorageError> {
    if !(COMPRESS_BYTES_MIN..=limits::ASSET_COMPRESSED_BYTES_MAX).contains(&raw.len()) {
        return Ok(false);
    }
    if raw.len() < SAMPLED_BYTES_MIN {
        return Ok(true);
    }
    for start in [SAMPLE_BYTES, raw.len() / 2, raw.len() - SAMPLE_BYTES] {
        let sample = &raw[start..start + SAMPLE_BYTES.min(raw.len() - start)];
        if pays(sample, &compress(sample)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compress(raw: &[u8]) -> Result<Vec<u8>, StorageError> {
    zstd::bulk::compress(raw, ZSTD_LEVEL)
        .map_err(|error| StorageError::Engine(format!("compression failed: {error}")))
}

fn pays(raw: &[u8], packed: &[u8]) -> bool {
    packed.len() + raw.len().div_ceil(limits::ASSET_SAVED_PART_MIN) <= raw.len()
}

/// Writes a small content under `id`.
pub(super) fn write_chunks(id: u64, stored: &[u8], chunks: &Tree) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    for (index, piece) in (0u32..).zip(stored.chunks(limits::STORE_CHUNK_BYTES)) {
        batch.put(keys::chunk(id, index), piece.to_vec());
    }
    chunks.apply(batch)
}

/// Reads a small content; `None` when a chunk is missing.
pub(super) fn read_chunks(
    id: u64,
    stored_bytes: u64,
    chunks: &Tree,
) -> Result<Option<Vec<u8>>, StorageError> {
    let stored_bytes = usize::try_from(stored_bytes).unwrap_or(usize::MAX);
    if stored_bytes > limits::ASSET_CHUNKED_BYTES_MAX {
        return Err(StorageError::Damaged("asset: too long for its place".to_owned()));
    }
    let mut stored = Vec::with_capacity(stored_bytes);
    for index in 0..stored_bytes.div_ceil(limits::STORE_CHUNK_BYTES) as u32 {
        let Some(piece) = chunks.get(&keys::chunk(id, index))? else { return Ok(None) };
        stored.extend_from_slice(&piece);
    }
    Ok(Some(stored))
}

/// Deletes every chunk of the value `id`, whatever their number.
pub(super) fn delete_chunks(id: u64, chunks: &Tree) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    for pair in chunks.prefix(&id.to_be_bytes()) {
        batch.delete(pair?.0.to_vec());
    }
    chunks.apply(batch)
}

/// A file with a final name: where it is, and the hash and id in its name when it has that form.
pub(super) type NamedFile = (PathBuf, Option<([u8; 32], u64)>);

/// The files of large contents.
#[derive(Debug, Clone)]
pub(super) struct Files {
    tmp: PathBuf,
    files: PathBuf,
}

impl Files {
    /// Creates the folders and deletes what a crash left half written. The caller holds the store's lock.
    pub(super) fn open(root: &Path) -> Result<Self, StorageError> {
        let this = Self { tmp: root.join("tmp"), files: root.join("files") };
        match fs::remove_dir_all(&this.tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("clean", &this.tmp, &error));
            }
            _ => {}
        }
        for folder in [&this.tmp, &this.files] {
            fs::create_dir_all(folder).map_err(|error| failed("create", folder, &error))?;
        }
        sync_folder(root)?;
        Ok(this)
    }

    /// Writes a file that has no name of its own yet.
    pub(super) fn write(&self, id: u64, stored: &[u8]) -> Result<PathBuf, StorageError> {
        let path = self.tmp.join(format!("{id:016x}"));
        let written = File::create(&path).and_then(|mut file| file.write_all(stored));
        written.map_err(|error| {
            // On a full disk, what was written of it takes the room of others.
            let _ = fs::remove_file(&path);
            failed("write", &path, &error)
        })?;
        Ok(path)
    }

    /// Gives written and synced files their names, and waits until these are on disk.
    pub(super) fn publish<'a>(
        &self,
        written: impl Iterator<Item = (&'a Path, [u8; 32], u64)>,
    ) -> Result<(), StorageError> {
        let mut folders = BTreeSet::new();
        for (path, hash, id) in written {
            let target = self.path(&hash, id);
            let folder = target.parent().unwrap_or(&self.files).to_owned();
            if !folders.contains(&folder) {
                fs::create_dir_all(&folder).map_err(|error| failed("create", &folder, &error))?;
            }
            fs::rename(path, &target).map_err(|error| failed("name", &target, &error))?;
            folders.insert(folder);
        }
        if !folders.is_empty() {
            sync_folder(&self.files)?;
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// The name of a content's file.
    pub(super) fn path(&self, hash: &[u8; 32], id: u64) -> PathBuf {
        let hash = blake3::Hash::from_bytes(*hash).to_hex();
        self.files.join(&hash[..2]).join(format!("{hash}-{id:016x}"))
    }

    /// Deletes a file; one that is not there is deleted already.
    pub(super) fn delete(&self, hash: &[u8; 32], id: u64) -> Result<(), StorageError> {
        remove(&self.path(hash, id))
    }

    /// Every file with a final name.
    pub(super) fn list(&self) -> Result<Vec<NamedFile>, StorageError> {
        let mut found = Vec::new();
        for folder in entries(&self.files)? {
            if folder.is_dir() {
                found.extend(entries(&folder)?.into_iter().map(|path| {
                    let named = path.file_name().and_then(|name| parse_name(name.to_str()?));
                    (path, named)
                }));
            } else {
                found.push((folder, None));
            }
        }
        Ok(found)
    }
}

/// Waits until the bytes of these files are on disk, some at a time: disks take several at the price of one.
pub(super) fn sync_files(paths: &[&Path]) -> Result<(), StorageError> {
    let per_thread = paths.len().div_ceil(limits::ASSET_SYNCS_IN_FLIGHT_MAX).max(1);
    std::thread::scope(|scope| {
        let sync = |path: &Path| {
            File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed("sync", path, &error))
        };
        let threads: Vec<_> = paths
            .chunks(per_thread)
            .map(|part| scope.spawn(move || part.iter().try_for_each(|path| sync(path))))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(StorageError::Engine("a sync panicked".to_owned())))
        })
    })
}

/// Deletes a file; one that is not there is deleted already.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", path, &error)),
        _ => Ok(()),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    list().map_err(|error| failed("list", folder, &error))
}

fn parse_name(name: &str) -> Option<([u8; 32], u64)> {
    let (hash, id) = name.split_once('-')?;
    Some((*blake3::Hash::from_hex(hash).ok()?.as_bytes(), u64::from_str_radix(id, 16).ok()?))
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| failed("sync", folder, &error))
}

pub(super) fn failed(verb: &str, path: &Path, error: &io::Error) -> StorageError {
    StorageError::Engine(format!("failed to {verb} {}: {error}", path.display()))
}
