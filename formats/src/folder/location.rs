//! Addresses of files as cells hold them: `hf://datasets/{dataset}@{revision}/{path}`, and
//! `zip://{member}::{address}` inside an archive.
//!
//! Owns their parts, which are those of the first hop, and the way from a metadata file to the files that it names. Refuses
//! names that lead out of the metadata file's directory.

use crate::error::{ErrorClass, FormatError};

/// The first hop and what follows it.
fn hops(address: &str) -> (&str, &str) {
    address.find("::").map_or((address, ""), |at| address.split_at(at))
}

/// The last part.
pub(super) fn base_name(address: &str) -> &str {
    let first = hops(address).0;
    first.rsplit('/').next().unwrap_or(first)
}

/// The directory, still with the further hops.
pub(super) fn parent(address: &str) -> String {
    let (first, rest) = hops(address);
    let directory = first.rfind('/').map_or("", |at| &first[..at]);
    if directory.ends_with(":/") { format!("{directory}/{rest}") } else { format!("{directory}{rest}") }
}

/// The name of the directory: what a file is labelled with.
pub(super) fn label(address: &str) -> String {
    base_name(&parent(address)).to_owned()
}

/// How deep the file lies.
pub(super) fn depth(address: &str) -> usize {
    address.bytes().filter(|byte| matches!(byte, b'/' | b'\\')).count()
}

/// The last extension of a name, with its dot, and the name before it; leading dots start no extension.
pub(super) fn split_extension(base_name: &str) -> (&str, &str) {
    let lead = base_name.len() - base_name.trim_start_matches('.').len();
    match base_name.rfind('.').filter(|&at| at > lead) {
        Some(at) => base_name.split_at(at),
        None => (base_name, ""),
    }
}

/// The address of the file that a metadata file in `directory` names.
///
/// # Errors
/// `ValueError` for an absolute path, a URL or a way out of the directory.
pub(super) fn named(directory: &str, file_name: &str) -> Result<String, FormatError> {
    let path = file_name.replace('\\', "/");
    let inside = if path.starts_with('/') || path.contains("://") { None } else { normalized(&path) };
    let inside = inside.ok_or_else(|| {
        let message = format!(
            "Invalid metadata file_name {}: `file_name` must be a relative path pointing inside the directory \
             containing the metadata file. Absolute paths and parent-directory ('..') traversal that escape the \
             dataset directory are not allowed.",
            crate::features::repr::quoted(file_name)
        );
        FormatError::new(ErrorClass::ValueError, message)
    })?;
    let (first, rest) = hops(directory);
    let separator = if first.ends_with('/') { "" } else { "/" };
    Ok(format!("{first}{separator}{inside}{rest}"))
}

/// The path without `.` and `..`; `None` when it leads outside.
fn normalized(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_address_are_those_of_its_first_hop() {
        let file = "hf://datasets/u/n@0/cat/1.png";
        assert_eq!((base_name(file), label(file).as_str()), ("1.png", "cat"));
        assert_eq!(label("hf://datasets/u/n@0/1.png"), "n@0");
        let member = "zip://cat/1.png::hf://datasets/u/n@0/a.zip";
        assert_eq!(parent(member), "zip://cat::hf://datasets/u/n@0/a.zip");
        assert_eq!(label("zip://1.png::hf://datasets/u/n@0/a.zip"), "");
    }

    #[test]
    fn leading_dots_start_no_extension() {
        assert_eq!(split_extension("x.nii.gz"), ("x.nii", ".gz"));
        assert_eq!(split_extension(".png"), (".png", ""));
        assert_eq!(split_extension("..a.png"), ("..a", ".png"));
        assert_eq!(split_extension("png"), ("png", ""));
    }

    #[test]
    fn names_are_relative_to_the_metadata_file() {
        let directory = "hf://datasets/u/n@0/d";
        assert_eq!(named(directory, "./a//../b/1.png").unwrap(), "hf://datasets/u/n@0/d/b/1.png");
        let archive = "zip://::hf://datasets/u/n@0/a.zip";
        assert_eq!(named(archive, "1.png").unwrap(), "zip://1.png::hf://datasets/u/n@0/a.zip");
    }

    #[test]
    fn names_that_lead_outside_are_refused() {
        for name in ["../1.png", "a/../../1.png", "/etc/passwd", "https://a/1.png", "..\\1.png", ".."] {
            let error = named("hf://datasets/u/n@0", name).unwrap_err();
            assert_eq!(error.class, ErrorClass::ValueError, "{name}");
        }
    }
}
