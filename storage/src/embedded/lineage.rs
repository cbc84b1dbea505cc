//! The lineage: a small file beside the engine that remembers which histories this store has left, and the current one.
//!
//! Owns that it outlives the engine: a store that is set aside and rebuilt knows from it what it was. It is on disk
//! before a new history is told to anybody. A file that cannot be read is made anew, with what the witness remembers;
//! replicas of a history that was forgotten that way are refused by other replicas and taken by the authority itself.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use bincode::{Decode, Encode};

use crate::error::StorageError;
use crate::lineage;
use crate::record::{self, Record};

/// More than the list can take.
const BYTES_MAX: u64 = 64 * 1024;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Lineage {
    /// See [`crate::lineage`].
    left: Vec<u128>,
    current: u128,
}

impl Record for Lineage {
    const TAG: u8 = b'h';
    const VERSION: u8 = 1;
}

/// Takes note that the store under `root` is in the history `current`; returns those that it has left. `witnessed` is
/// the history that the witness remembers.
pub(super) fn enter(root: &Path, current: u128, witnessed: Option<u128>) -> Result<Vec<u128>, StorageError> {
    let known = read(root)?;
    let mut left = known.as_ref().map(|known| known.left.clone()).unwrap_or_default();
    if let Some(witnessed) = witnessed.filter(|epoch| *epoch != current && !left.contains(epoch)) {
        lineage::leave(&mut left, witnessed, current);
    }
    if let Some(before) = known.as_ref().map(|known| known.current).filter(|epoch| *epoch != current) {
        lineage::leave(&mut left, before, current);
    }
    let lineage = Lineage { left, current };
    if known.as_ref() != Some(&lineage) {
        write(root, &lineage).map_err(|error| failed(&error))?;
    }
    Ok(lineage.left)
}

fn read(root: &Path) -> Result<Option<Lineage>, StorageError> {
    let file = match File::open(root.join("lineage")) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    match record::decode(&bytes) {
        Ok(lineage) => Ok(Some(lineage)),
        Err(error) => {
            tracing::error!(%error, "the list of histories that this store has left is damaged and is made anew");
            Ok(None)
        }
    }
}

fn write(root: &Path, lineage: &Lineage) -> std::io::Result<()> {
    let temporary = root.join("lineage.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&record::encode(lineage))?;
    file.sync_all()?;
    fs::rename(&temporary, root.join("lineage"))?;
    File::open(root)?.sync_all()
}

fn failed(error: &std::io::Error) -> StorageError {
    StorageError::Engine(format!("the lineage file failed: {error}"))
}
