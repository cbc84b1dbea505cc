//! What only the folder promises: where files are, and what a given-up batch leaves.

use outpost_harness::SmallDisk;

use super::super::AssetStore;
use super::{file_count, noise, path, read, reopened, store};
use crate::assets::{AssetScope, FolderAssets};
use crate::error::StorageError;

#[test]
fn large_files_are_files_and_equal_ones_are_one() {
    let (directory, store) = store();
    let files = directory.path().join("files");
    let mut batch = store.batch();
    for row in 0..3 {
        batch.put(&path(row), "image/png", &noise(100_000, 1)).unwrap();
    }
    batch.put(&path(3), "image/png", &noise(1_000, 1)).unwrap();
    batch.commit().unwrap();
    assert_eq!((file_count(&files), file_count(&directory.path().join("tmp"))), (1, 0));
    let scope = AssetScope::Rows(path(0).rows().clone());
    store.delete(&scope, &[], super::LATER).unwrap();
    assert_eq!(file_count(&files), 0);
}

#[test]
fn a_batch_that_is_given_up_leaves_no_file() {
    let (directory, store) = store();
    let mut batch = store.batch();
    batch.put(&path(0), "image/png", &noise(100_000, 1)).unwrap();
    drop(batch);
    assert!(read(&store, &path(0)).unwrap().is_none());
    assert_eq!(file_count(&directory.path().join("tmp")), 0);
    store.put(&path(0), "image/png", &noise(100_000, 1)).unwrap();
    assert!(read(&store, &path(0)).unwrap().is_some());
}

#[test]
fn a_second_process_is_refused_while_the_first_holds_the_folder() {
    let (directory, store) = store();
    let second = crate::kv::open(directory.path(), 50, 1 << 20).map(|_| ());
    assert!(matches!(second, Err(StorageError::InUse(_))), "{second:?}");
    drop(reopened(directory.path(), store));
    assert!(FolderAssets::open(directory.path()).is_ok());
}

#[test]
fn a_bookmark_is_there_again_when_the_store_is_opened_again() {
    let (directory, store) = store();
    assert_eq!(store.bookmark().unwrap(), None);
    store.set_bookmark(b"page 1").unwrap();
    store.set_bookmark(b"page 2").unwrap();
    let store = reopened(directory.path(), store);
    assert_eq!(store.bookmark().unwrap().as_deref(), Some(&b"page 2"[..]));
}

#[test]
fn a_file_that_the_disk_has_no_room_for_leaves_nothing_behind_and_the_store_goes_on() {
    let Some(disk) = SmallDisk::new(12).unwrap() else { return };
    let directory = disk.path().join("assets");
    let store = FolderAssets::open(&directory).unwrap();
    let refused = store.put(&path(0), "image/png", &noise(20_000_000, 1));
    assert!(matches!(refused, Err(StorageError::Engine(_))), "{refused:?}");
    assert_eq!(file_count(&directory.join("tmp")), 0);
    store.put(&path(1), "image/png", &noise(1_000_000, 2)).unwrap();
    assert_eq!(
        (read(&store, &path(0)).unwrap().is_some(), read(&store, &path(1)).unwrap().is_some()),
        (false, true)
    );
}
