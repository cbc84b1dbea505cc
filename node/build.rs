//! Puts the sample datasets into the binary, for `node demo` where there is no checkout.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let variable =
        |name: &str| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name.to_owned()));
    let sample = variable("CARGO_MANIFEST_DIR")?.join("../examples/hub").canonicalize()?;
    println!("cargo::rerun-if-changed={}", sample.display());
    let mut files = Vec::new();
    collect(&sample, &mut files)?;
    files.sort();
    let mut table = "&[\n".to_owned();
    for file in &files {
        let name = file.strip_prefix(&sample).map_err(io::Error::other)?.display().to_string();
        writeln!(table, "({name:?}, include_bytes!({:?})),", file.display().to_string())
            .map_err(io::Error::other)?;
    }
    table.push(']');
    fs::write(variable("OUT_DIR")?.join("sample_hub.rs"), table)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
