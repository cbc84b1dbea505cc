//! What every store of assets promises, told through the trait.

use std::io::Read;

use outpost_model::{AssetSplit, limits};

use super::super::{AssetForm, AssetScope, AssetStats};
use super::{Backend, LATER, noise, on_every_backend, path, path_in, read, rows};

on_every_backend! {
    what_was_put_is_read_back_also_after_a_restart,
    every_range_of_every_form_is_exact,
    a_file_is_compressed_when_that_saves_a_twentieth,
    equal_files_are_stored_once_and_stay_until_the_last_goes,
    a_later_put_replaces_an_earlier_one,
    an_opened_asset_can_be_read_although_it_is_deleted,
    a_scope_deletes_its_own_assets_only,
    only_what_was_put_before_the_moment_is_deleted,
    thousands_of_assets_go_at_once,
    writers_of_the_same_bytes_do_not_hurt_each_other,
    limits_are_refused_and_change_nothing,
    a_replacing_batch_leaves_its_own_assets_only,
    a_replacing_batch_refuses_the_assets_of_other_rows,
}

/// One length for each place: none, in the record, in chunks, in a file.
const LENGTHS: [usize; 6] = [0, 1, 900, 4_001, 60_000, 300_000];

fn what_was_put_is_read_back_also_after_a_restart(backend: &Backend) {
    let mut store = backend.open();
    let mut batch = store.batch();
    for (index, length) in LENGTHS.into_iter().enumerate() {
        batch.put(&path(index as u64), "image/jpeg", &noise(length, 1)).unwrap();
    }
    batch.commit().unwrap();
    for _ in 0..2 {
        for (index, length) in LENGTHS.into_iter().enumerate() {
            let found = store.open(&path(index as u64)).unwrap().unwrap();
            assert_eq!((found.head.bytes, found.head.zstd_bytes), (length as u64, None));
            assert_eq!(found.head.content_type, "image/jpeg");
            assert_eq!(found.head.hash, *blake3::hash(&noise(length, 1)).as_bytes());
            assert_eq!(read(&*store, &path(index as u64)).unwrap().unwrap(), noise(length, 1));
        }
        assert!(store.open(&path(99)).unwrap().is_none());
        drop(store);
        store = backend.open();
    }
}

fn every_range_of_every_form_is_exact(backend: &Backend) {
    let store = &*backend.open();
    for (row, length, text) in
        [(0, 5_000, false), (1, 300_000, false), (2, 5_000, true), (3, 3_000_000, true)]
    {
        let bytes = if text { half_compressible(length) } else { noise(length, 7) };
        store.put(&path(row), "text/plain", &bytes).unwrap();
        let length = length as u64;
        for range in [0..length, 0..0, 0..1, length - 1..length, length..length, 17..4_321] {
            let asset = store.open(&path(row)).unwrap().unwrap();
            let mut part = Vec::new();
            let mut reader = asset.body.read(AssetForm::Identity, range.clone()).unwrap();
            reader.read_to_end(&mut part).unwrap();
            assert_eq!(part, bytes[range.start as usize..range.end as usize], "{range:?}");
        }
        let beyond = store.open(&path(row)).unwrap().unwrap();
        assert!(beyond.body.read(AssetForm::Identity, 1..length + 1).is_err());
    }
}

fn a_file_is_compressed_when_that_saves_a_twentieth(backend: &Backend) {
    let store = &*backend.open();
    for (row, length) in [(0, 1_000), (1, 100_000), (2, 3_000_000)] {
        let text = half_compressible(length);
        store.put(&path(row), "text/plain", &text).unwrap();
        let asset = store.open(&path(row)).unwrap().unwrap();
        let packed = asset.head.zstd_bytes.expect("it compresses");
        assert!(packed * 20 <= 19 * length as u64);
        let mut stored = Vec::new();
        asset.body.read(AssetForm::Zstd, 0..packed).unwrap().read_to_end(&mut stored).unwrap();
        assert_eq!(zstd::bulk::decompress(&stored, length).unwrap(), text);
        // A compressible tail of a thirtieth is not worth it.
        let mut mostly_noise = noise(length, 3);
        let tail = length - length / 30;
        mostly_noise[tail..].fill(b'x');
        store.put(&path(row + 10), "text/plain", &mostly_noise).unwrap();
        assert_eq!(store.open(&path(row + 10)).unwrap().unwrap().head.zstd_bytes, None);
        assert!(store.open(&path(row + 10)).unwrap().unwrap().body.read(AssetForm::Zstd, 0..1).is_err());
    }
}

fn equal_files_are_stored_once_and_stay_until_the_last_goes(backend: &Backend) {
    let store = &*backend.open();
    for length in [500, 50_000, 500_000] {
        let bytes = noise(length, 5);
        let mut batch = store.batch();
        for row in 0..3 {
            batch.put(&path(row), "image/png", &bytes).unwrap();
        }
        batch.commit().unwrap();
        store.put(&path_in(rows("u/other", "train", "r1"), 0), "image/png", &bytes).unwrap();
        let length = length as u64;
        let stats = AssetStats { assets: 4, asset_bytes: 4 * length, contents: 1, stored_bytes: length };
        assert_eq!(store.stats().unwrap(), stats);
        let first = AssetScope::Rows(rows("u/d", "train", "r1"));
        assert_eq!(store.delete(&first, &[], LATER).unwrap(), 3);
        let other = path_in(rows("u/other", "train", "r1"), 0);
        assert_eq!(read(store, &other).unwrap().unwrap(), bytes);
        assert_eq!(store.stats().unwrap().contents, 1);
        let dataset = AssetScope::Dataset(other.rows().dataset.clone());
        assert_eq!(store.delete(&dataset, &[], LATER).unwrap(), 1);
        assert_eq!(store.stats().unwrap(), AssetStats::default());
        assert_eq!(store.scrub().unwrap(), Default::default());
    }
}

fn a_later_put_replaces_an_earlier_one(backend: &Backend) {
    let store = &*backend.open();
    for (round, length) in [70_000, 10, 90_000, 3_000, 90_000].into_iter().enumerate() {
        let bytes = noise(length, round as u64);
        store.put(&path(0), &format!("image/x{round}"), &bytes).unwrap();
        assert_eq!(read(store, &path(0)).unwrap().unwrap(), bytes);
        let head = store.open(&path(0)).unwrap().unwrap().head;
        assert_eq!(head.content_type, format!("image/x{round}"));
        let length = length as u64;
        let stats = AssetStats { assets: 1, asset_bytes: length, contents: 1, stored_bytes: length };
        assert_eq!(store.stats().unwrap(), stats);
    }
    // The same bytes again, under another type.
    store.put(&path(0), "image/png", &noise(90_000, 4)).unwrap();
    assert_eq!(store.open(&path(0)).unwrap().unwrap().head.content_type, "image/png");
    assert_eq!(store.stats().unwrap().contents, 1);
}

fn an_opened_asset_can_be_read_although_it_is_deleted(backend: &Backend) {
    let store = &*backend.open();
    for length in [100, 50_000, 500_000] {
        store.put(&path(0), "image/png", &noise(length, 2)).unwrap();
        let asset = store.open(&path(0)).unwrap().unwrap();
        store.delete(&AssetScope::Rows(rows("u/d", "train", "r1")), &[], LATER).unwrap();
        let mut bytes = Vec::new();
        asset.body.read(AssetForm::Identity, 0..length as u64).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, noise(length, 2));
        assert!(store.open(&path(0)).unwrap().is_none());
    }
}

fn a_scope_deletes_its_own_assets_only(backend: &Backend) {
    let store = &*backend.open();
    let all = [
        rows("u/d", "train", "r1"),
        rows("u/d", "train", "r2"),
        rows("u/d", "train2", "r1"),
        rows("u/d2", "train", "r1"),
    ];
    let put_all = || {
        for rows in &all {
            store.put(&path_in(rows.clone(), 0), "image/png", b"x").unwrap();
        }
        assert_eq!(store.rows(None, None, 10).unwrap(), all);
        assert_eq!(store.rows(None, Some(&all[0]), 2).unwrap(), all[1..3]);
    };
    let left = || store.rows(None, None, 10).unwrap();
    let AssetSplit { dataset, config, split, revision } = all[0].clone();
    put_all();
    assert_eq!(store.delete(&AssetScope::Rows(all[0].clone()), &[], LATER).unwrap(), 1);
    assert_eq!(left(), all[1..]);
    put_all();
    let scope = AssetScope::Split(dataset.clone(), config, split);
    assert_eq!(store.rows(Some(&scope), None, 10).unwrap(), all[..2]);
    assert_eq!(store.delete(&scope, std::slice::from_ref(&revision), LATER).unwrap(), 1);
    assert_eq!(left(), [all[0].clone(), all[2].clone(), all[3].clone()]);
    put_all();
    assert_eq!(store.delete(&AssetScope::Dataset(dataset), &[], LATER).unwrap(), 3);
    assert_eq!(left(), all[3..]);
}

fn only_what_was_put_before_the_moment_is_deleted(backend: &Backend) {
    let store = &*backend.open();
    let before = super::super::folder::now();
    store.put(&path(0), "image/png", b"x").unwrap();
    let scope = AssetScope::Rows(rows("u/d", "train", "r1"));
    assert_eq!(store.delete(&scope, &[], before).unwrap(), 0);
    assert!(store.open(&path(0)).unwrap().is_some());
    assert_eq!(store.delete(&scope, &[], LATER).unwrap(), 1);
}

fn thousands_of_assets_go_at_once(backend: &Backend) {
    let store = &*backend.open();
    let mut batch = store.batch();
    let count = backend.often(2_500);
    for row in 0..count {
        batch.put(&path(row), "image/png", &row.to_be_bytes()).unwrap();
    }
    batch.commit().unwrap();
    assert_eq!(store.delete(&AssetScope::Rows(rows("u/d", "train", "r1")), &[], LATER).unwrap(), count);
    assert_eq!(store.stats().unwrap(), AssetStats::default());
}

fn writers_of_the_same_bytes_do_not_hurt_each_other(backend: &Backend) {
    let store = &*backend.open();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let split = rows(&format!("u/d{writer}"), "train", "r1");
                for round in 0..backend.often(20) / 2 * 2 {
                    let mut batch = store.batch();
                    for (row, length) in [(0, 200), (1, 20_000), (2, 100_000)] {
                        batch
                            .put(&path_in(split.clone(), row), "image/png", &noise(length, round % 3))
                            .unwrap();
                    }
                    batch.commit().unwrap();
                    for (row, length) in [(0, 200), (1, 20_000), (2, 100_000)] {
                        let bytes = read(*store, &path_in(split.clone(), row)).unwrap().unwrap();
                        assert_eq!(bytes, noise(length, round % 3));
                    }
                    if round % 2 == 0 {
                        store.delete(&AssetScope::Rows(split.clone()), &[], LATER).unwrap();
                    }
                }
            });
        }
        // Scrubs go on beside them and find nothing wrong.
        for _ in 0..10 {
            let report = store.scrub().unwrap();
            assert_eq!((report.contents_damaged, report.assets_dropped), (0, 0), "{report:?}");
        }
    });
    assert_eq!((store.stats().unwrap().assets, store.stats().unwrap().contents), (12, 3));
    assert_eq!(store.scrub().unwrap().orphans_deleted, 0);
}

fn limits_are_refused_and_change_nothing(backend: &Backend) {
    let store = &*backend.open();
    let long = "x".repeat(limits::ASSET_CONTENT_TYPE_BYTES_MAX + 1);
    for content_type in ["", "image/png\r\nx: y", "é", &long] {
        assert!(store.put(&path(0), content_type, b"x").is_err(), "{content_type:?}");
    }
    let too_long = vec![0; limits::ASSET_BYTES_MAX + 1];
    assert!(store.put(&path(0), "image/png", &too_long).is_err());
    assert_eq!(store.stats().unwrap(), AssetStats::default());
    assert!(store.put(&path(0), "image/png", b"x").is_ok());
}

fn a_replacing_batch_leaves_its_own_assets_only(backend: &Backend) {
    let store = &*backend.open();
    let split = rows("u/d", "train", "r1");
    let others = [path_in(rows("u/d", "train", "r2"), 0), path_in(rows("u/d", "test", "r1"), 0)];
    for other in &others {
        store.put(other, "image/png", b"x").unwrap();
    }
    // Each round has fewer, of every size; the last has none.
    for count in [4, 2, 3, 1, 0, 0, 2] {
        let mut batch = store.replacing(&split);
        for row in 0..count {
            batch.put(&path(row), "image/png", &noise(LENGTHS[row as usize + 2], count)).unwrap();
        }
        batch.commit().unwrap();
        for row in 0..5 {
            let expected = (row < count).then(|| noise(LENGTHS[row as usize + 2], count));
            assert_eq!(read(store, &path(row)).unwrap(), expected, "row {row} of {count}");
        }
        assert_eq!(store.stats().unwrap().assets, count + 2);
    }
    for other in &others {
        assert_eq!(read(store, other).unwrap().unwrap(), b"x");
    }
    assert_eq!(store.scrub().unwrap().assets_dropped, 0);
}

fn a_replacing_batch_refuses_the_assets_of_other_rows(backend: &Backend) {
    let store = &*backend.open();
    let mut batch = store.replacing(&rows("u/d", "train", "r1"));
    assert!(batch.put(&path_in(rows("u/d", "train", "r2"), 0), "image/png", b"x").is_err());
}

/// Text of which about half is noise.
fn half_compressible(length: usize) -> Vec<u8> {
    let mut bytes = noise(length, 11);
    for piece in bytes.chunks_mut(64) {
        let half = piece.len() / 2;
        piece[..half].fill(b' ');
    }
    bytes
}
