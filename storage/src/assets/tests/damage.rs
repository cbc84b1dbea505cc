//! Damaged bytes are never served as what was put; a scrub drops them, says whose they were, and leaves the rest.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{AssetStore, FolderAssets, keys};
use super::{noise, path, path_in, read, reopened, rows, store};
use crate::kv::{self, Batch};

fn files(directory: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(directory.join("files")).unwrap();
    folders
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

/// Changes the closed store's index.
fn tamper(directory: &Path, store: FolderAssets, change: impl FnOnce(&kv::Kv)) -> FolderAssets {
    drop(store);
    let (kv, _) = kv::open(directory, 10_000, 1 << 20).unwrap();
    change(&kv);
    kv.flush().unwrap();
    drop(kv);
    FolderAssets::open(directory).unwrap()
}

fn flip(bytes: &[u8]) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    flipped
}

#[test]
fn a_damaged_file_ends_in_an_error_and_is_dropped_with_all_its_assets() {
    for cut in [false, true] {
        let (directory, store) = store();
        let lost = [path(0), path_in(rows("u/e", "test", "r2"), 3)];
        for path in &lost {
            store.put(path, "image/png", &noise(200_000, 1)).unwrap();
        }
        store.put(&path(1), "image/png", &noise(200_000, 2)).unwrap();
        let hash = blake3::hash(&noise(200_000, 1)).to_hex().to_string();
        let file =
            files(directory.path()).into_iter().find(|file| file.to_string_lossy().contains(&hash)).unwrap();
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, if cut { bytes[..150_000].to_vec() } else { flip(&bytes) }).unwrap();
        assert!(read(&store, &lost[0]).is_err());
        let report = store.scrub().unwrap();
        assert_eq!((report.contents_checked, report.contents_damaged, report.assets_dropped), (2, 1, 2));
        assert_eq!(report.rows_damaged, lost.each_ref().map(|path| path.rows().clone()));
        assert!(read(&store, &lost[0]).unwrap().is_none());
        assert!(read(&store, &path(1)).unwrap().is_some());
        assert_eq!((files(directory.path()).len(), store.stats().unwrap().assets), (1, 1));
        // Putting it again heals it.
        store.put(&lost[0], "image/png", &noise(200_000, 1)).unwrap();
        assert!(read(&store, &lost[0]).unwrap().is_some());
        assert_eq!(store.scrub().unwrap().contents_damaged, 0);
    }
}

#[test]
fn a_missing_file_is_damage() {
    let (directory, store) = store();
    store.put(&path(0), "image/png", &noise(200_000, 1)).unwrap();
    fs::remove_file(&files(directory.path())[0]).unwrap();
    assert!(read(&store, &path(0)).is_err());
    assert_eq!(store.scrub().unwrap().assets_dropped, 1);
    assert!(read(&store, &path(0)).unwrap().is_none());
}

#[test]
fn damaged_and_missing_chunks_are_found() {
    for missing in [false, true] {
        let (directory, store) = store();
        store.put(&path(0), "image/png", &noise(30_000, 1)).unwrap();
        store.put(&path(1), "image/png", &noise(30_000, 2)).unwrap();
        let store = tamper(directory.path(), store, |kv| {
            let (key, value) = kv.chunks.from(&[]).next().unwrap().unwrap();
            let mut batch = Batch::new();
            match missing {
                true => batch.delete(key.to_vec()),
                false => batch.put(key.to_vec(), flip(&value)),
            }
            kv.chunks.apply(batch).unwrap();
        });
        assert!(read(&store, &path(0)).is_err());
        let report = store.scrub().unwrap();
        assert_eq!((report.contents_damaged, report.assets_dropped), (1, 1));
        assert!(read(&store, &path(0)).unwrap().is_none());
        assert!(read(&store, &path(1)).unwrap().is_some());
        assert_eq!(store.scrub().unwrap().orphans_deleted, 0);
    }
}

#[test]
fn damaged_records_are_dropped_and_everything_is_counted_again() {
    let (directory, store) = store();
    for row in 0..4 {
        store.put(&path(row), "image/png", &noise(100_000, row)).unwrap();
    }
    store.put(&path(4), "image/png", &noise(100_000, 3)).unwrap();
    let store = tamper(directory.path(), store, |kv| {
        let mut batch = Batch::new();
        let asset = keys::asset(&path(0));
        batch.put(asset.clone(), flip(&kv.state.get(&asset).unwrap().unwrap()));
        let content = keys::content(blake3::hash(&noise(100_000, 1)).as_bytes());
        batch.put(content.clone(), flip(&kv.state.get(&content).unwrap().unwrap()));
        batch.put(vec![keys::ASSETS, 0xff], vec![1, 2, 3]);
        kv.state.apply(batch).unwrap();
    });
    assert!(read(&store, &path(0)).is_err() && read(&store, &path(1)).is_err());
    let report = store.scrub().unwrap();
    assert_eq!(report.assets_dropped, 3);
    assert_eq!(report.rows_damaged, [rows("u/d", "train", "r1")]);
    // Of the damaged content nobody knows the file any more.
    assert_eq!(report.orphans_deleted, 1);
    let stats = store.stats().unwrap();
    assert_eq!((stats.assets, stats.contents, stats.stored_bytes), (3, 2, 200_000));
    assert_eq!(files(directory.path()).len(), 2);
    let again = store.scrub().unwrap();
    assert_eq!((again.contents_checked, again.assets_dropped, again.orphans_deleted), (2, 0, 0));
}

#[test]
fn strange_files_are_deleted_and_named_ones_kept() {
    let (directory, store) = store();
    store.put(&path(0), "image/png", &noise(100_000, 1)).unwrap();
    let kept = files(directory.path())[0].clone();
    let hash = blake3::hash(b"other").to_hex();
    let stray = directory.path().join("files").join(&hash[..2]);
    fs::create_dir_all(&stray).unwrap();
    fs::write(stray.join(format!("{hash}-0000000000000007")), b"other").unwrap();
    fs::write(stray.join("notes.txt"), b"notes").unwrap();
    assert_eq!(store.scrub().unwrap().orphans_deleted, 2);
    assert_eq!(files(directory.path()), [kept]);
}

#[test]
fn an_index_that_cannot_be_read_is_set_aside_and_its_files_are_deleted() {
    let (directory, store) = store();
    store.put(&path(0), "image/png", &noise(100_000, 1)).unwrap();
    store.set_bookmark(b"all of it").unwrap();
    let store = tamper(directory.path(), store, |kv| {
        let mut batch = Batch::new();
        batch.put(keys::META.to_vec(), b"garbage".to_vec());
        kv.state.apply(batch).unwrap();
    });
    assert!(store.open_report().set_aside.as_ref().is_some_and(|aside| aside.exists()));
    assert!(read(&store, &path(0)).unwrap().is_none());
    assert_eq!(store.bookmark().unwrap(), None);
    assert_eq!(store.scrub().unwrap().orphans_deleted, 1);
    store.put(&path(0), "image/png", &noise(100_000, 1)).unwrap();
    let store = reopened(directory.path(), store);
    assert!(read(&store, &path(0)).unwrap().is_some());
}
