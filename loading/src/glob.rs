//! Glob patterns as fsspec translates them (dataset-loading.md section 2.3).
//!
//! Owns the compiled form [`Glob`]. It matches whole paths, case-sensitively, with `*`, `**`, `?` and `[...]`; there
//! are no braces. Patterns that are too long or that use `**` inside a longer part are a `ValueError`.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

use crate::error::LoadError;

/// Longest pattern, in bytes. Far above any path of the Hub.
const PATTERN_BYTES_MAX: usize = 8 * 1024;
/// Memory of one compiled pattern.
const COMPILED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Glob(Regex);

/// Whether a pattern stands for more than its own text.
#[must_use]
pub fn has_magic(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The folder under which everything lies that the pattern can match; empty for the root.
#[must_use]
pub fn listing_root(pattern: &str) -> &str {
    let magic = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    pattern[..magic].rfind('/').map_or("", |slash| &pattern[..slash])
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// `ValueError` when the pattern is not one or is too long.
    pub fn new(pattern: &str) -> Result<Self, LoadError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            let message = format!("Invalid pattern: it is longer than {PATTERN_BYTES_MAX} bytes");
            return Err(LoadError::new("ValueError", message));
        }
        RegexBuilder::new(&translate(pattern)?)
            .size_limit(COMPILED_BYTES_MAX)
            .dot_matches_new_line(true)
            .build()
            .map(Self)
            .map_err(|_| LoadError::new("ValueError", "Invalid pattern: it is too complex"))
    }

    /// Whether the pattern stands for this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

fn translate(pattern: &str) -> Result<String, LoadError> {
    let mut regex = String::from("^(?:");
    let parts: Vec<&str> = pattern.split('/').collect();
    let last = parts.len() - 1;
    for (index, &part) in parts.iter().enumerate() {
        match part {
            "*" if index < last => regex.push_str("[^/]+/"),
            "*" => regex.push_str("[^/]+"),
            "**" if index == last => regex.push_str(".*"),
            "**" if parts[index + 1] == "**" => {}
            "**" => regex.push_str("(?:.+/)?"),
            _ if part.contains("**") => {
                let message = "Invalid pattern: '**' can only be an entire path component";
                return Err(LoadError::new("ValueError", message));
            }
            _ => {
                translate_part(part, &mut regex);
                if index < last {
                    regex.push('/');
                }
            }
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

fn translate_part(part: &str, regex: &mut String) {
    let chars: Vec<char> = part.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                if let Some(end) = class_end(&chars, at + 1) {
                    translate_class(&chars[at + 1..end], regex);
                    at = end;
                } else {
                    regex.push_str("\\[");
                }
            }
            c => push_char(c, regex),
        }
        at += 1;
    }
}

/// Where the class that starts at `start` is closed; a `]` in the first place is a member.
fn class_end(chars: &[char], start: usize) -> Option<usize> {
    let mut from = start;
    if chars.get(from) == Some(&'!') {
        from += 1;
    }
    if chars.get(from) == Some(&']') {
        from += 1;
    }
    (from..chars.len()).find(|&at| chars[at] == ']')
}

fn translate_class(class: &[char], regex: &mut String) {
    let (negated, members) = match class {
        ['!', members @ ..] => (true, members),
        members => (false, members),
    };
    let mut ranges = String::new();
    let mut at = 0;
    while at < members.len() {
        let (low, high) = match members[at..] {
            [low, '-', high, ..] => {
                at += 3;
                (low, high)
            }
            _ => {
                at += 1;
                (members[at - 1], members[at - 1])
            }
        };
        if low <= high {
            push_char(low, &mut ranges);
            ranges.push('-');
            push_char(high, &mut ranges);
        }
    }
    match (negated, ranges.is_empty()) {
        (false, true) => regex.push_str("[a&&b]"),
        (true, true) => regex.push('.'),
        (false, false) => {
            let _ = write!(regex, "[{ranges}]");
        }
        (true, false) => {
            let _ = write!(regex, "[^{ranges}]");
        }
    }
}

fn push_char(c: char, regex: &mut String) {
    let _ = write!(regex, "\\x{{{:x}}}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tables::table;

    #[test]
    fn patterns_match_what_fsspec_matches() {
        for row in table("glob_match").as_array().unwrap() {
            let pattern = row["pattern"].as_str().unwrap();
            match Glob::new(pattern) {
                Ok(glob) => {
                    for (path, expected) in row["matches"].as_object().unwrap() {
                        assert_eq!(glob.matches(path), expected.as_bool().unwrap(), "{pattern} on {path}");
                    }
                }
                Err(error) => assert_eq!(row["error"][0]["message"], error.message, "{pattern}"),
            }
        }
    }

    #[test]
    fn classes_take_their_members_literally() {
        for (pattern, path, expected) in [
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-]", "-", true),
            ("[z-a]", "m", false),
            ("[!z-a]", "m", true),
            ("[^a]", "^", true),
            ("[&&~]", "&", true),
            ("a[b", "a[b", true),
            ("a.c", "abc", false),
            ("{a,b}", "a", false),
            ("é?", "éé", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn oversized_patterns_are_refused() {
        assert!(Glob::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
        assert!(Glob::new(&"?".repeat(PATTERN_BYTES_MAX)).is_ok());
    }

    #[test]
    fn the_listing_root_is_the_last_folder_before_magic() {
        assert_eq!(listing_root("en/train*.csv"), "en");
        assert_eq!(listing_root("a/b/c.csv"), "a/b");
        assert_eq!(listing_root("**/x"), "");
        assert_eq!(listing_root("a.csv"), "");
    }
}
