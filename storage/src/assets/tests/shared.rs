//! What only a shared place promises: several stores over it are right together, and damage is found.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use outpost_harness::moto::Bucket;
use outpost_model::limits;

use super::super::{AssetForm, AssetPlace, AssetScope, AssetStore, SharedAssets};
use super::{Backend, LATER, noise, path, path_in, read, rows, shared};
use crate::error::StorageError;

/// Every file under a folder that has its final name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.retain(|path| !path.to_string_lossy().contains('#'));
    found.sort();
    found
}

fn contents(directory: &Path) -> Vec<PathBuf> {
    files(&directory.join("v1/content"))
}

/// Makes a file as old as a scrub wants it.
fn age(file: &Path) {
    let old = SystemTime::now() - Duration::from_millis(limits::ASSET_ORPHAN_AGE_MS_MIN + 60_000);
    File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
}

fn flip_last_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

fn stores_see_each_other(backend: &Backend) {
    let (one, other) = (backend.open(), backend.open());
    assert!(other.open(&path(0)).unwrap().is_none());
    one.put(&path(0), "image/png", b"first").unwrap();
    // What was not there is looked for at once.
    assert_eq!(read(&*other, &path(0)).unwrap().unwrap(), b"first");
    let mut batch = one.replacing(path(0).rows());
    batch.put(&path(0), "image/png", b"second").unwrap();
    batch.put(&path(1), "image/png", b"more").unwrap();
    batch.commit().unwrap();
    eventually("the recompute", || read(&*other, &path(0)).unwrap().unwrap() == b"second");
    assert_eq!(read(&*other, &path(1)).unwrap().unwrap(), b"more");
    assert_eq!(other.rows(None, None, 10).unwrap(), [path(0).rows().clone()]);
    other.delete(&AssetScope::Rows(path(0).rows().clone()), &[], LATER).unwrap();
    eventually("the deletion", || one.open(&path(0)).unwrap().is_none());
    // The first store's memory of what was there does no harm.
    one.put(&path(2), "image/png", b"third").unwrap();
    assert_eq!(read(&*other, &path(2)).unwrap().unwrap(), b"third");
    assert!(other.open(&path(0)).unwrap().is_none());
}

super::on_every_backend! { @ shared_folder stores_see_each_other jobs_of_the_same_rows_leave_one_of_them }
super::on_every_backend! { @ bucket stores_see_each_other jobs_of_the_same_rows_leave_one_of_them }

fn jobs_of_the_same_rows_leave_one_of_them(backend: &Backend) {
    let split = rows("u/d", "train", "r1");
    std::thread::scope(|scope| {
        for job in 0..4_u64 {
            let (store, split) = (backend.open(), &split);
            scope.spawn(move || {
                for _ in 0..5 {
                    let mut batch = store.replacing(split);
                    // Each job has another number of assets.
                    for row in 0..=job {
                        batch.put(&path(row), "image/png", &noise(500, job)).unwrap();
                    }
                    batch.commit().unwrap();
                }
            });
        }
    });
    let store = backend.open();
    let count = store.stats().unwrap().assets;
    for row in 0..4 {
        let expected = (row < count).then(|| noise(500, count - 1));
        assert_eq!(read(&*store, &path(row)).unwrap(), expected, "row {row} of {count}");
    }
}

#[test]
fn equal_files_are_one_object_and_go_after_the_grace_period() {
    let directory = tempfile::tempdir().unwrap();
    let store = shared(directory.path());
    let mut batch = store.batch();
    for row in 0..3 {
        batch.put(&path(row), "image/png", &noise(100_000, 1)).unwrap();
    }
    batch.commit().unwrap();
    assert_eq!(contents(directory.path()).len(), 1);
    store.delete(&AssetScope::Rows(path(0).rows().clone()), &[], LATER).unwrap();
    assert_eq!(files(&directory.path().join("v1/rows")), Vec::<PathBuf>::new());
    // A job may be about to refer to it.
    assert_eq!(store.scrub().unwrap().orphans_deleted, 0);
    let content = &contents(directory.path())[0];
    age(content);
    store.put(&path(0), "image/png", &noise(100_000, 1)).unwrap();
    let refreshed = content.metadata().unwrap().modified().unwrap();
    assert!(refreshed.elapsed().unwrap() < Duration::from_secs(3_600), "a job made it young again");
    age(content);
    assert_eq!(store.scrub().unwrap().orphans_deleted, 0, "what is referred to stays");
    store.delete(&AssetScope::Rows(path(0).rows().clone()), &[], LATER).unwrap();
    assert_eq!(store.scrub().unwrap().orphans_deleted, 1);
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_batch_that_is_given_up_shows_nothing_and_its_contents_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = shared(directory.path());
    let mut batch = store.batch();
    // More than are in flight at once, so that some are written for sure.
    for row in 0..20 {
        batch.put(&path(row), "image/png", &noise(1_000, row)).unwrap();
    }
    drop(batch);
    assert!(store.open(&path(0)).unwrap().is_none());
    eventually("the writing", || contents(directory.path()).len() == 20);
    contents(directory.path()).iter().for_each(|file| age(file));
    assert_eq!(store.scrub().unwrap().orphans_deleted, 20);
}

#[test]
fn a_part_is_read_without_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let store = shared(directory.path());
    let bytes = noise(3_000_000, 1);
    store.put(&path(0), "video/mp4", &bytes).unwrap();
    let content = &contents(directory.path())[0];
    File::options().write(true).open(content).unwrap().set_len(200_000).unwrap();
    let asset = store.open(&path(0)).unwrap().unwrap();
    let mut part = Vec::new();
    asset.body.read(AssetForm::Identity, 1_000..150_000).unwrap().read_to_end(&mut part).unwrap();
    assert_eq!(part, bytes[1_000..150_000]);
    assert!(matches!(read(&store, &path(0)), Err(StorageError::Damaged(_))));
}

#[test]
fn damaged_and_missing_contents_end_in_an_error_and_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = shared(directory.path());
    let lost = path_in(rows("u/d", "test", "r1"), 0);
    store.put(&path(0), "image/png", &noise(2_000_000, 1)).unwrap();
    store.put(&lost, "image/png", &noise(2_000_000, 1)).unwrap();
    store.put(&path(1), "image/png", &noise(1_000, 2)).unwrap();
    flip_last_byte(
        &contents(directory.path()).into_iter().find(|file| file.metadata().unwrap().len() > 1_000).unwrap(),
    );
    assert!(matches!(read(&store, &path(0)), Err(StorageError::Damaged(_))));
    let report = store.scrub().unwrap();
    assert_eq!((report.contents_checked, report.contents_damaged, report.assets_dropped), (2, 1, 2));
    assert_eq!(report.rows_damaged, [lost.rows().clone(), path(0).rows().clone()]);
    assert!(store.open(&path(0)).unwrap().is_none());
    assert_eq!(read(&store, &path(1)).unwrap().unwrap(), noise(1_000, 2));
    assert_eq!(store.scrub().unwrap().contents_damaged, 0);
    // What is computed again is there again.
    store.put(&lost, "image/png", &noise(2_000_000, 1)).unwrap();
    assert_eq!(read(&store, &lost).unwrap().unwrap(), noise(2_000_000, 1));
    contents(directory.path()).iter().for_each(|file| fs::remove_file(file).unwrap());
    let asset = store.open(&lost).unwrap().unwrap();
    let missing = asset.body.read(AssetForm::Identity, 0..2_000_000);
    assert!(matches!(missing, Err(StorageError::Damaged(_))), "noticed before a byte is sent");
    assert_eq!(store.scrub().unwrap().rows_damaged.len(), 2);
}

#[test]
fn a_damaged_manifest_is_reported_with_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let store = shared(directory.path());
    store.put(&path(0), "image/png", b"x").unwrap();
    files(&directory.path().join("v1/rows")).iter().for_each(|file| flip_last_byte(file));
    let store = shared(directory.path());
    assert!(matches!(store.open(&path(0)), Err(StorageError::Damaged(_))));
    let report = store.scrub().unwrap();
    assert_eq!((report.assets_dropped, report.rows_damaged), (1, vec![path(0).rows().clone()]));
    assert!(store.open(&path(0)).unwrap().is_none());
    store.put(&path(0), "image/png", b"x").unwrap();
    assert_eq!(read(&store, &path(0)).unwrap().unwrap(), b"x");
}

#[test]
fn names_that_are_too_long_for_a_file_system_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = shared(directory.path());
    let split = rows("u/d", &"é".repeat(100), "r1");
    store.put(&path_in(split.clone(), 0), "image/png", b"x").unwrap();
    store.put(&path_in(rows("u/d", "z", "r1"), 0), "image/png", b"x").unwrap();
    let found = store.rows(None, None, 10).unwrap();
    assert!(found.len() == 2 && found.contains(&split), "{found:?}");
    assert_eq!(store.rows(None, Some(&found[0]), 10).unwrap(), found[1..]);
    assert_eq!(read(&store, &path_in(split, 0)).unwrap().unwrap(), b"x");
}

#[test]
fn a_store_may_be_used_and_dropped_on_an_async_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let store = shared(directory.path());
        store.put(&path(0), "image/png", b"x").unwrap();
        assert_eq!(read(&store, &path(0)).unwrap().unwrap(), b"x");
    });
}

#[test]
fn a_place_that_cannot_be_used_says_what_to_do() {
    let said = |place: &str, variables: &[(String, String)]| {
        let place = AssetPlace::parse(place).unwrap();
        SharedAssets::open(&place, variables).err().expect("it cannot be used").to_string()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("assets");
    assert!(said(folder.to_str().unwrap(), &[]).contains("cannot be created"));
    // Nothing listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut variables = vec![
        ("AWS_ENDPOINT_URL".to_owned(), format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID".to_owned(), "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "test".to_owned()),
    ];
    assert!(said("s3://bucket/x", &variables).contains("AWS_ALLOW_HTTP"));
    variables.push(("AWS_ALLOW_HTTP".to_owned(), "true".to_owned()));
    assert!(said("s3://bucket/x", &variables).contains("AWS_ENDPOINT_URL"));
    if let Some(bucket) = Bucket::create() {
        assert!(said("s3://no-such-bucket", &bucket.variables).contains("the bucket must exist"));
    }
}
