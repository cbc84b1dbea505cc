//! When it is worth while to open a store again that failed.
//!
//! Owns the wait, during which the node answers with what can be read: a pause, so that a disk on which every write fails
//! does not make the node start over and over; then, if the disk was full, until there is room.

use std::path::PathBuf;
use std::time::Duration;

use outpost_model::limits;
use outpost_storage::{DiskRoom, Room, StorageError};

use super::room;

/// Returns the failure once opening the store again may help; `data_dir` is where it is.
pub(super) async fn worth_while(
    failed: impl Future<Output = StorageError>,
    data_dir: PathBuf,
) -> StorageError {
    let cause = failed.await;
    tokio::time::sleep(Duration::from_millis(limits::STORE_REOPEN_PAUSE_MS)).await;
    if let StorageError::DiskFull(_) = cause {
        until_there_is_room(&data_dir).await;
    }
    cause
}

async fn until_there_is_room(data_dir: &std::path::Path) {
    let mut period = tokio::time::interval(room::LOOK_PERIOD);
    loop {
        period.tick().await;
        // Asks the file system for two numbers.
        if DiskRoom::look(data_dir, 0, u64::MAX).is_ok_and(|found| found.verdict() == Room::Fine) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use outpost_harness::SmallDisk;

    use super::*;

    async fn is_worth_while(cause: StorageError, data_dir: PathBuf, within: Duration) -> bool {
        tokio::time::timeout(within, worth_while(async { cause }, data_dir)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_waited_out_and_a_full_disk_until_there_is_room() {
        let pause = Duration::from_millis(limits::STORE_REOPEN_PAUSE_MS);
        let engine = StorageError::Engine("broken".to_owned());
        assert!(!is_worth_while(engine.clone(), PathBuf::new(), pause / 2).await);
        assert!(is_worth_while(engine, PathBuf::new(), pause * 2).await);
        let Some(disk) = SmallDisk::new(4).unwrap() else { return };
        let full = StorageError::DiskFull("full".to_owned());
        disk.fill(0).unwrap();
        assert!(!is_worth_while(full.clone(), disk.path().to_owned(), pause * 10).await);
        disk.relieve().unwrap();
        assert!(is_worth_while(full, disk.path().to_owned(), pause * 2).await);
    }
}
