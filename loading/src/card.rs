//! The dataset card: front matter of `README.md`, overlaid by `.huggingface.yaml`
//! (dataset-loading.md sections 0 and 3.1).
//!
//! Owns the way from the two files' bytes to one mapping. A README without closed front matter is an empty card; YAML
//! errors are handed on.

use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use regex::Regex;

use crate::error::LoadError;
use crate::yaml::{self, Yaml};

static FRONT_MATTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*---(?:\r\n|\r|\n)([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")
        .expect("the pattern is constant and valid")
});

/// Reads a card from its files, each when it exists.
///
/// # Errors
/// PyYAML's classes, `UnicodeDecodeError`, `ValueError` when the front matter is no mapping, `TypeError` when the
/// overlay is none or a key is not text.
pub fn read(readme: Option<&[u8]>, overlay: Option<&[u8]>) -> Result<Yaml, LoadError> {
    let block = match readme.map(decode).transpose()?.and_then(front_matter) {
        None => Yaml::Null,
        Some(block) => yaml::load(block)?,
    };
    let mut card = match block {
        Yaml::Null => IndexMap::new(),
        Yaml::Map(entries) => by_name(entries)?,
        _ => return Err(LoadError::new("ValueError", "repo card metadata block should be a dict")),
    };
    match overlay.map(decode).transpose()?.map(yaml::load).transpose()? {
        Some(Yaml::Map(entries)) => card.extend(by_name(entries)?),
        Some(other) if other.is_truthy() => {
            let message = format!("'{}' object is not a mapping in .huggingface.yaml", other.type_name());
            return Err(LoadError::new("TypeError", message));
        }
        _ => {}
    }
    Ok(Yaml::Map(card.into_iter().map(|(name, value)| (Yaml::Str(name), value)).collect()))
}

/// The YAML between the two `---` lines at the start of a README.
fn front_matter(readme: &str) -> Option<&str> {
    let readme = readme.strip_prefix('\u{feff}').unwrap_or(readme);
    FRONT_MATTER.captures(readme)?.get(1).map(|block| block.as_str())
}

fn by_name(entries: Vec<(Yaml, Yaml)>) -> Result<IndexMap<Arc<str>, Yaml>, LoadError> {
    let named = |(key, value)| match key {
        Yaml::Str(name) => Ok((name, value)),
        other => {
            let message = format!("keywords must be strings, but a key is {}", other.repr());
            Err(LoadError::new("TypeError", message))
        }
    };
    entries.into_iter().map(named).collect()
}

/// Decodes a metadata file.
///
/// # Errors
/// `UnicodeDecodeError` with the place of the first bad byte.
pub fn decode(bytes: &[u8]) -> Result<&str, LoadError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let reason =
            if error.error_len().is_some() { "invalid start byte" } else { "unexpected end of data" };
        let message =
            format!("'utf-8' codec can't decode byte {:#04x} in position {at}: {reason}", bytes[at]);
        LoadError::new("UnicodeDecodeError", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(readme: &str, overlay: Option<&str>) -> String {
        read(Some(readme.as_bytes()), overlay.map(str::as_bytes)).unwrap().to_json().to_string()
    }

    #[test]
    fn the_block_between_the_first_two_rulers_is_the_card() {
        assert_eq!(json("---\na: 1\n---\n# card\n---\nb: 2\n---\n", None), r#"{"a":1}"#);
        assert_eq!(json("\n ---\r\na: 1\r\n--- \t", None), r#"{"a":1}"#);
        assert_eq!(json("\u{feff}---\na: 1\n---\n", None), r#"{"a":1}"#);
        assert_eq!(json("---\na: >-\n  x\n  ---\n---x: 1\n---\n", None), r#"{"a":"x ---","---x":1}"#);
    }

    #[test]
    fn a_readme_without_closed_front_matter_is_an_empty_card() {
        for readme in ["", "# card", "---\na: 1\n", "x\n---\na: 1\n---\n", "---\n---\n", "---\n\n---\n"] {
            assert_eq!(json(readme, None), "{}", "{readme:?}");
        }
        assert_eq!(read(None, None).unwrap(), Yaml::Map(Vec::new()));
    }

    #[test]
    fn the_overlay_replaces_top_level_keys() {
        assert_eq!(json("---\na: {x: 1}\nb: 2\n---\n", Some("a: 3\nc: 4")), r#"{"a":3,"b":2,"c":4}"#);
        assert_eq!(json("---\na: 1\n---\n", Some("")), r#"{"a":1}"#);
    }

    #[test]
    fn cards_that_are_no_mapping_of_texts_are_refused() {
        let class = |readme: &[u8]| read(Some(readme), None).unwrap_err().class;
        assert_eq!(class(b"---\n- a\n---\n"), "ValueError");
        assert_eq!(class(b"---\n1: a\n---\n"), "TypeError");
        assert_eq!(class(b"---\na: b: c\n---\n"), "ScannerError");
        assert_eq!(class(b"---\na: \xff\n---\n"), "UnicodeDecodeError");
        assert_eq!(read(None, Some(b"- a")).unwrap_err().class, "TypeError");
    }
}
