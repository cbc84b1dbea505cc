//! Room on the disk of a data directory.
//!
//! Owns the verdict when a node must stop taking in more. Knows nothing of what is stored.

use std::path::{Path, PathBuf};

use outpost_model::limits;
use tokio::sync::watch;

use crate::error::StorageError;

/// What a data directory takes and what is left, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// Taken by us.
    pub used: u64,
    /// Left on the disk for anybody.
    pub free: u64,
    /// We take no more than this.
    pub used_max: u64,
    /// We leave at least this.
    pub free_min: u64,
}

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Fine,
    /// A high-water mark is reached: nothing more may be taken in.
    High,
}

impl DiskRoom {
    /// Looks at the disk of `directory`, of which `used` bytes are ours; leaves [`limits::DISK_FREE_BYTES_MIN`], or a
    /// share of a disk that is small.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk does not say.
    pub fn look(directory: &Path, used: u64, used_max: u64) -> Result<Self, StorageError> {
        let found = rustix::fs::statvfs(directory).map_err(|error| {
            StorageError::Engine(format!("failed to ask for the room at {}: {error}", directory.display()))
        })?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let share = found.f_blocks.saturating_mul(found.f_frsize) / limits::DISK_FREE_SHARE_MIN;
        Ok(Self { used, free, used_max, free_min: share.min(limits::DISK_FREE_BYTES_MIN) })
    }

    /// Whether more may be taken in.
    #[must_use]
    pub fn verdict(&self) -> Room {
        if self.used >= self.used_max || self.free < self.free_min { Room::High } else { Room::Fine }
    }
}

/// The disk that a store writes to.
#[derive(Debug, Clone)]
pub struct Disk {
    /// A directory on it.
    pub directory: PathBuf,
    /// Whether who looks at it now and then found room.
    pub has_room: watch::Receiver<bool>,
}

impl Disk {
    /// Whether so many bytes more leave what is to be left free, by that and by a look of its own: disks fill up in
    /// between, and a store that a full one stopped in the middle of a write cannot be read whole. A disk that does not
    /// say has room: writing tells.
    #[must_use]
    pub fn takes(&self, bytes: u64) -> bool {
        let look = || DiskRoom::look(&self.directory, 0, u64::MAX);
        *self.has_room.borrow()
            && look().map_or(true, |room| room.free.saturating_sub(bytes) >= room.free_min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_mark_ends_the_room() {
        let room = |used, free| DiskRoom { used, free, used_max: 100, free_min: 10 }.verdict();
        assert_eq!((room(99, 10), room(100, 10), room(99, 9)), (Room::Fine, Room::High, Room::High));
    }

    #[test]
    fn a_directory_has_a_disk_and_a_missing_one_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let room = DiskRoom::look(directory.path(), 1, 2).unwrap();
        assert!(room.free > 0 && room.used == 1);
        assert!(DiskRoom::look(&directory.path().join("missing"), 1, 2).is_err());
    }
}
