//! Content hashes of a folder Hub, kept in a file between runs.
//!
//! Owns its format: a JSON header line, then one JSON line per file. It is only a saving: a missing, foreign, oversized
//! or damaged file means that datasets are read again. Written beside and renamed, so that a crash leaves the old one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use outpost_model::DatasetName;
use outpost_model::limits::FOLDER_HASHES_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::scan::Identity;
use super::snapshot::{Known, KnownFiles};

const HEADER: &str = r#"{"format":"outpost folder hashes","version":1}"#;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    dataset: &'a str,
    // Owned, because JSON escapes quotes and control characters.
    path: String,
    size: u64,
    modified_ns: i64,
    changed_ns: i64,
    inode: u64,
    blake3: &'a str,
}

/// Reads a file written by [`save`].
pub(super) fn load(path: &Path) -> HashMap<DatasetName, KnownFiles> {
    match try_load(path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
        Err(error) => {
            tracing::warn!("'{}' is not used, all datasets are read again: {error}", path.display());
            HashMap::new()
        }
    }
}

fn try_load(path: &Path) -> io::Result<HashMap<DatasetName, KnownFiles>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > FOLDER_HASHES_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    let mut lines = BufReader::new(file).lines();
    if lines.next().transpose()?.as_deref() != Some(HEADER) {
        return Err(io::Error::other("it has another format"));
    }
    let mut known: HashMap<DatasetName, KnownFiles> = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((dataset, path, entry)) = parse(&line) else { break };
        known.entry(dataset).or_default().insert(path, entry);
    }
    Ok(known)
}

fn parse(line: &str) -> Option<(DatasetName, String, Known)> {
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    let identity = Identity {
        size: line.size,
        modified_ns: line.modified_ns,
        changed_ns: line.changed_ns,
        inode: line.inode,
    };
    let content = blake3::Hash::from_hex(line.blake3).ok()?;
    Some((DatasetName::new(line.dataset).ok()?, line.path, Known { identity, content }))
}

/// Replaces the file.
pub(super) fn save<'a>(
    path: &Path,
    known: impl Iterator<Item = (&'a DatasetName, &'a str, Known)>,
) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mut out = BufWriter::new(File::create(&beside)?);
    writeln!(out, "{HEADER}")?;
    for (dataset, path, Known { identity, content }) in known {
        let line = Line {
            dataset: dataset.as_str(),
            path: path.to_owned(),
            size: identity.size,
            modified_ns: identity.modified_ns,
            changed_ns: identity.changed_ns,
            inode: identity.inode,
            blake3: &content.to_hex(),
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(size: u64) -> Known {
        let identity = Identity { size, modified_ns: -1, changed_ns: i64::MAX, inode: u64::MAX };
        Known { identity, content: blake3::hash(&size.to_le_bytes()) }
    }

    #[test]
    fn what_is_saved_is_loaded_and_a_torn_line_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/hashes");
        let dataset = DatasetName::new("u/d").unwrap();
        let files = [("a \"quoted\"\n.csv", known(1)), ("b/é.csv", known(2))];
        save(&path, files.iter().map(|(path, known)| (&dataset, *path, *known))).unwrap();
        let loaded = load(&path);
        assert_eq!(
            loaded[&dataset],
            files.iter().map(|(path, known)| ((*path).to_owned(), *known)).collect()
        );

        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 10]).unwrap();
        assert_eq!(load(&path)[&dataset].len(), 1);
    }

    #[test]
    fn a_foreign_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hashes");
        assert!(load(&path).is_empty());
        fs::write(&path, b"\xff\xfe{}\n").unwrap();
        assert!(load(&path).is_empty());
    }
}
