//! `known_failures.txt`: what differs from the library, and why.
//!
//! A line is `case: reason`.

use std::collections::BTreeMap;

use crate::case::Case;

/// The listed cases with their reasons.
pub struct KnownFailures {
    reasons: BTreeMap<String, String>,
}

impl KnownFailures {
    /// Reads the list.
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/known_failures.txt");
        let text = std::fs::read_to_string(path).expect("known_failures.txt is part of the tree");
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let reasons = lines
            .map(|line| {
                let (name, reason) = line.split_once(": ").expect("a line is `name: reason`");
                (name.to_owned(), reason.to_owned())
            })
            .collect();
        Self { reasons }
    }

    /// Whether the case itself is listed.
    pub fn lists(&self, case: &Case) -> bool {
        self.reasons.contains_key(&case.name)
    }

    /// Names of the listed cases.
    pub fn case_names(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }
}
