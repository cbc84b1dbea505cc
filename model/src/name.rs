//! Checked names: dataset, config, split, revision.
//!
//! Owns the only constructors of these ids; a value of these types is safe to use as a key, in a log line and,
//! percent-encoded, in an asset path. Refuses empty, oversized, control-character and path-escaping names with
//! [`InvalidName`], which says which rule was broken.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits;

/// A name that breaks the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} name {name:?}: {rule}")]
pub struct InvalidName {
    /// Which kind of name was being read: `dataset`, `config`, `split` or `revision`.
    pub kind: &'static str,
    /// The rejected text, cut to a length that is safe to log.
    pub name: String,
    /// The rule that it breaks, as a short sentence.
    pub rule: &'static str,
}

fn reject(kind: &'static str, name: &str, rule: &'static str) -> InvalidName {
    InvalidName { kind, name: name.chars().take(120).collect(), rule }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `name` and wraps it.
            ///
            /// # Errors
            /// [`InvalidName`] with the broken rule.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                match $check(name) {
                    Ok(()) => Ok(Self(name.into())),
                    Err(rule) => Err(reject($kind, name, rule)),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// A Hub dataset id: `namespace/name`, or a bare legacy `name`.
    ///
    /// Each part is 1 to 96 characters of `[A-Za-z0-9_.-]`, starts and ends with a letter, a digit or `_`, holds
    /// neither `--` nor `..` and does not end with `.git` (dataset-loading.md section 6).
    DatasetName, "dataset", check_dataset
}

name_type! {
    /// A config (subset) of a dataset. Any text without the characters `< > : / \ | ? *` and without control
    /// characters, at most [`limits::CONFIG_NAME_BYTES_MAX`] bytes, other than `.` and `..`
    /// (dataset-loading.md section 3.2).
    ConfigName, "config", check_config
}

name_type! {
    /// A split of a config: `\w+(\.\w+)*` with Unicode word characters, at most
    /// [`limits::SPLIT_NAME_BYTES_MAX`] bytes (dataset-loading.md section 2.1).
    SplitName, "split", check_split
}

name_type! {
    /// The commit that an artifact was computed for: 1 to 64 characters of `[0-9A-Za-z]`, on the Hub a 40-digit
    /// hexadecimal sha.
    Revision, "revision", check_revision
}

impl DatasetName {
    /// The namespace, or the whole name of a legacy dataset without one (worker-and-store.md section 1.3).
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// The last path segment: the repository's own name.
    #[must_use]
    pub fn repo_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

fn check_dataset(name: &str) -> Result<(), &'static str> {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 {
        return Err("at most one '/' is allowed");
    }
    parts.into_iter().try_for_each(check_repo_part)
}

fn check_repo_part(part: &str) -> Result<(), &'static str> {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let bytes = part.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return Err("each part needs at least one character");
    };
    if bytes.len() > 96 {
        return Err("each part has at most 96 characters");
    }
    if !bytes.iter().all(|&c| is_word(c) || c == b'-' || c == b'.') {
        return Err("only letters, digits, '_', '-' and '.' are allowed");
    }
    if !is_word(first) || !is_word(last) {
        return Err("each part starts and ends with a letter, a digit or '_'");
    }
    if part.contains("--") || part.contains("..") {
        return Err("'--' and '..' are not allowed");
    }
    if part.ends_with(".git") {
        return Err("a name cannot end with '.git'");
    }
    Ok(())
}

fn check_config(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > limits::CONFIG_NAME_BYTES_MAX {
        return Err("it is too long");
    }
    if name == "." || name == ".." {
        return Err("'.' and '..' are not allowed");
    }
    if name.chars().any(|c| "<>:/\\|?*".contains(c)) {
        return Err("the characters < > : / \\ | ? * are not allowed");
    }
    if name.chars().any(char::is_control) {
        return Err("control characters are not allowed");
    }
    Ok(())
}

fn check_split(name: &str) -> Result<(), &'static str> {
    if name.len() > limits::SPLIT_NAME_BYTES_MAX {
        return Err("it is too long");
    }
    // Python's `\w` is alphanumeric or underscore in the Unicode sense.
    let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    if name.split('.').all(is_word) { Ok(()) } else { Err("it must match \\w+(\\.\\w+)*") }
}

fn check_revision(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 64 {
        return Err("it has 1 to 64 characters");
    }
    if name.bytes().all(|c| c.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err("only letters and digits are allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dataset_names_follow_the_hub() {
        for good in ["squad", "user/name", "a/b.c-d_e", "_x/y_"] {
            assert!(DatasetName::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a/", "/a", "a/b/c", "a/..", "a/b--c", "-a/b", "a/b.git", "a/b c", "a/é", "a/b\0"]
        {
            assert!(DatasetName::new(bad).is_err(), "{bad}");
        }
        assert!(DatasetName::new(&"x".repeat(97)).is_err());
    }

    #[test]
    fn namespace_is_the_text_before_the_slash() {
        assert_eq!(DatasetName::new("user/name").unwrap().namespace(), "user");
        assert_eq!(DatasetName::new("squad").unwrap().namespace(), "squad");
        assert_eq!(DatasetName::new("user/name").unwrap().repo_name(), "name");
    }

    #[test]
    fn config_names_refuse_path_characters() {
        for good in ["default", "en US", "v1.0", "é中", "a--b"] {
            assert!(ConfigName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "a*b", "a?b", "a\nb"] {
            assert!(ConfigName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn split_names_are_dotted_words() {
        for good in ["train", "train.clean.100", "é_1"] {
            assert!(SplitName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", "a-b", "a b", "a/b"] {
            assert!(SplitName::new(bad).is_err(), "{bad:?}");
        }
    }
}
