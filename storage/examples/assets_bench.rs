//! Ten thousand assets, a third of them equal: what they take on disk, and how long a store of them takes to open.
//!
//! `cargo run --release -p outpost-storage --example assets_bench` prints a row for the store under the data directory
//! and one for a shared folder. The files are noise of 2 to 200 kB; 100 splits have 100 each.

#![expect(clippy::print_stdout, reason = "it prints its table")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use outpost_model::{AssetPath, AssetSplit, ConfigName, DatasetName, Revision, SplitName};
use outpost_storage::{AssetPlace, AssetStore, FolderAssets, SharedAssets};

const SPLITS: u64 = 100;
const ASSETS_PER_SPLIT: u64 = 100;
/// Of every three files, the last has the bytes of one that all splits share.
const EQUAL_EVERY: u64 = 3;
const LENGTHS: [usize; 4] = [2_000, 20_000, 70_000, 200_000];

fn main() -> Result<(), Box<dyn Error>> {
    println!("| store | put | bytes of the assets | on disk | files | inodes | open |");
    println!("|---|---|---|---|---|---|---|");
    measure("under the data directory", |directory| Ok(Box::new(FolderAssets::open(directory)?)))?;
    measure("shared folder", |directory| {
        Ok(Box::new(SharedAssets::open(&AssetPlace::Folder(directory.to_owned()), &[])?))
    })
}

fn measure(
    name: &str,
    open: impl Fn(&Path) -> Result<Box<dyn AssetStore>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = open(directory.path())?;
    let started = Instant::now();
    let mut bytes_put = 0;
    for number in 0..SPLITS {
        let split = split(number)?;
        let mut batch = store.replacing(&split);
        for row in 0..ASSETS_PER_SPLIT {
            let bytes = bytes_of(number * ASSETS_PER_SPLIT + row);
            batch.put(&AssetPath::new(split.clone(), row, "image", "image.jpg")?, "image/jpeg", &bytes)?;
            bytes_put += bytes.len();
        }
        batch.commit()?;
    }
    let put = started.elapsed();
    drop(store);
    let mut opened = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        let store = open(directory.path())?;
        opened = opened.min(started.elapsed());
        assert_eq!(store.stats()?.assets, SPLITS * ASSETS_PER_SPLIT);
    }
    let (mut files, mut inodes, mut blocks) = (0, 0, 0);
    count(directory.path(), &mut files, &mut inodes, &mut blocks)?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "| {name} | {:.1} s | {:.1} MB | {:.1} MB | {files} | {inodes} | {:.0} ms |",
        put.as_secs_f64(),
        megabytes(bytes_put as u64),
        megabytes(blocks * 512),
        opened.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn split(number: u64) -> Result<AssetSplit, Box<dyn Error>> {
    Ok(AssetSplit {
        dataset: DatasetName::new(&format!("bench/d{number}"))?,
        config: ConfigName::new("default")?,
        split: SplitName::new("train")?,
        revision: Revision::new("1111111111111111111111111111111111111111")?,
    })
}

fn bytes_of(asset: u64) -> Vec<u8> {
    let is_equal = asset % EQUAL_EVERY == EQUAL_EVERY - 1;
    let mut random = fastrand::Rng::with_seed(if is_equal { u64::MAX } else { asset });
    let length = if is_equal { LENGTHS[2] } else { LENGTHS[asset as usize % LENGTHS.len()] };
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn count(path: &Path, files: &mut u64, inodes: &mut u64, blocks: &mut u64) -> std::io::Result<()> {
    let metadata = fs::metadata(path)?;
    *inodes += 1;
    *blocks += metadata.blocks();
    if metadata.is_file() {
        *files += 1;
        return Ok(());
    }
    fs::read_dir(path)?.try_for_each(|entry| count(&entry?.path(), files, inodes, blocks))
}
