//! The witness: a small file beside the engine that remembers how far acknowledged history went.
//!
//! Owns the detection of lost history. A truncated or half-restored engine opens at an older state without an error;
//! followers that saw more would then confuse two histories. The file is written after each flush and not flushed
//! itself, so it survives a killed process and is never ahead of an honest disk. When it is ahead, missing or
//! unreadable, the store mints a new epoch over the data that survived.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::StorageError;

const BYTES: usize = 28;

/// The open file.
pub(super) struct Witness {
    file: File,
    epoch: u128,
}

impl Witness {
    /// Opens the file under `root`; returns it with what it remembers, `None` when that cannot be read.
    pub(super) fn open(root: &Path) -> Result<(Self, Option<(u128, u64)>), StorageError> {
        let path = root.join("witness");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed(&error))?;
        let mut bytes = Vec::with_capacity(BYTES + 1);
        (&mut file).take(BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        let remembered = parse(&bytes);
        Ok((Self { file, epoch: 0 }, remembered))
    }

    /// Starts to witness a history, and makes sure that the file itself is on disk.
    pub(super) fn begin(&mut self, epoch: u128, seq: u64) -> Result<(), StorageError> {
        self.epoch = epoch;
        self.write(seq)?;
        self.file.set_len(BYTES as u64).and_then(|()| self.file.sync_all()).map_err(|error| failed(&error))
    }

    /// Notes that everything up to `seq` is on disk.
    pub(super) fn write(&mut self, seq: u64) -> Result<(), StorageError> {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[16..24].copy_from_slice(&seq.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&checksum.to_be_bytes());
        self.file.rewind().and_then(|()| self.file.write_all(&bytes)).map_err(|error| failed(&error))
    }
}

fn parse(bytes: &[u8]) -> Option<(u128, u64)> {
    let (content, checksum) = bytes.split_at_checked(24)?;
    if checksum != crc32c::crc32c(content).to_be_bytes() {
        return None;
    }
    let (epoch, seq) = content.split_at(16);
    Some((u128::from_be_bytes(epoch.try_into().ok()?), u64::from_be_bytes(seq.try_into().ok()?)))
}

fn failed(error: &std::io::Error) -> StorageError {
    StorageError::Engine(format!("the witness file failed: {error}"))
}
