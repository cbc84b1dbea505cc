//! Whether there is room on the disk of a replica.
//!
//! Owns the look every few seconds. Above the high-water mark the follower stops mirroring and reads go on; below it, it
//! goes on by itself. A disk that does not say counts as one with room: writing tells.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outpost_storage::{DiskRoom, MirrorStore, Room, StorageError};
use tokio::sync::watch;

/// Time between two looks.
pub(super) const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// Looks for ever and tells `has_room`.
pub async fn watch_loop(data_dir: PathBuf, mirror: MirrorStore, has_room: watch::Sender<bool>) {
    let mut period = tokio::time::interval(LOOK_PERIOD);
    loop {
        period.tick().await;
        let (data_dir, mirror) = (data_dir.clone(), mirror.clone());
        let look = tokio::task::spawn_blocking(move || look(&data_dir, &mirror)).await;
        let found = match look {
            Ok(Ok(room)) => room,
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to look for room on the disk");
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "looking for room on the disk panicked");
                continue;
            }
        };
        let is_fine = found.verdict() == Room::Fine;
        let changed = has_room.send_if_modified(|known| std::mem::replace(known, is_fine) != is_fine);
        match (changed, is_fine) {
            (true, false) => {
                tracing::error!(
                    free_bytes = found.free,
                    "the disk is almost full: nothing more is mirrored, reads go on; leave at least {} bytes free",
                    found.free_min
                );
            }
            (true, true) => {
                tracing::info!(free_bytes = found.free, "the disk has room again, mirroring goes on");
            }
            (false, _) => {}
        }
    }
}

fn look(data_dir: &Path, mirror: &MirrorStore) -> Result<DiskRoom, StorageError> {
    DiskRoom::look(data_dir, mirror.size_on_disk()?, u64::MAX)
}
