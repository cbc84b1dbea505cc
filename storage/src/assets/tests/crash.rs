//! Real processes killed with SIGKILL: what was committed is there, and nothing else is left over.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::{AssetScope, AssetStore, FolderAssets};
use super::{LATER, noise, path_in, read, rows};

const DIRECTORY: &str = "OUTPOST_CRASH_DIRECTORY";
const ROUND: &str = "OUTPOST_CRASH_ROUND";
const ROUNDS: u64 = 8;
const LENGTHS: [usize; 4] = [300, 9_000, 70_000, 90_000];

#[test]
fn committed_assets_survive_kill_9_and_nothing_leaks() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(21);
    let mut committed = Vec::new();
    let mut deleted = Vec::new();
    for round in 0..ROUNDS {
        for line in run_and_kill(directory.path(), round, random.usize(1..40)) {
            let (what, number) = line.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            match what {
                "put" => committed.push((round, number)),
                _ => deleted.push((round, number)),
            }
        }
        let store = FolderAssets::open(directory.path()).unwrap();
        assert!(store.open_report().set_aside.is_none());
        for (round, number) in &committed {
            let is_gone = deleted.contains(&(*round, *number));
            for row in 0..LENGTHS.len() as u64 {
                let found = read(&store, &path_in(rows_of(*round, *number), row)).unwrap();
                // A deletion that was under way may have been carried out.
                if is_gone {
                    assert!(found.is_none(), "{round} {number} {row}");
                } else if let Some(found) = found {
                    assert_eq!(found, bytes_of(*number, row));
                } else {
                    assert!(number.is_multiple_of(3), "{round} {number} {row} is lost");
                }
            }
        }
        let report = store.scrub().unwrap();
        assert_eq!((report.contents_damaged, report.assets_dropped), (0, 0), "{report:?}");
        assert_eq!(store.scrub().unwrap().orphans_deleted, 0);
    }
    assert!(committed.len() > 30);
}

fn rows_of(round: u64, number: u64) -> outpost_model::AssetSplit {
    rows(&format!("u/r{round}n{number}"), "train", "r1")
}

/// Some files are equal over batches, others are not.
fn bytes_of(number: u64, row: u64) -> Vec<u8> {
    noise(LENGTHS[row as usize], if row.is_multiple_of(2) { number % 5 } else { 1_000 + number })
}

fn run_and_kill(directory: &Path, round: u64, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "assets::tests::crash::writer_process", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let Some(line) = line.ok().and_then(|line| String::from_utf8(line).ok()) else { break };
        if let Some(line) = line.strip_prefix("ack ").and_then(|line| line.strip_suffix(" .")) {
            output.push(line.to_owned());
            if output.len() == lines {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(output.len() >= lines, "the writer ended early in round {round}");
    output
}

/// The process that is killed: puts and deletes, and says what was done.
#[test]
#[ignore = "runs only as the child of committed_assets_survive_kill_9_and_nothing_leaks"]
fn writer_process() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = FolderAssets::open(Path::new(&directory)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let store = &store;
            scope.spawn(move || {
                for number in (writer..).step_by(2) {
                    let mut batch = store.batch();
                    for row in 0..LENGTHS.len() as u64 {
                        batch
                            .put(&path_in(rows_of(round, number), row), "image/png", &bytes_of(number, row))
                            .unwrap();
                    }
                    batch.commit().unwrap();
                    say(&format!("put {number}"));
                    if number.is_multiple_of(3) {
                        store.delete(&AssetScope::Rows(rows_of(round, number)), &[], LATER).unwrap();
                        say(&format!("deleted {number}"));
                    }
                }
            });
        }
    });
}

/// Writes one line at once: what is in the pipe survives the kill.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("ack {line} .\n").as_bytes()).unwrap();
}
