//! The files that put nodes onto machines: fly.toml, the Dockerfile, the systemd units. None of the platforms is at
//! hand where these tests run, so they assert the facts about them that the files rely on.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod dockerfile;
mod features;
mod fly;
mod operations;
mod options;
mod systemd;

use std::fs;
use std::path::PathBuf;

/// A path of the repository.
fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(relative)
}

/// A file of the repository.
fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}
