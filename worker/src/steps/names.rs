//! Rows of the listings, shared by the steps that write them.
//!
//! Owns the key order of `/splits` items (http-api.md section 1.3) and the check of names that a repository chose.

use std::collections::HashSet;

use outpost_model::InvalidName;
use serde::Serialize;

/// `{"dataset","config"}`.
#[derive(Serialize)]
pub(super) struct ConfigItem<'a> {
    pub(super) dataset: &'a str,
    pub(super) config: &'a str,
}

/// `{"dataset","config","split"}`.
#[derive(Serialize)]
pub(super) struct SplitItem<'a> {
    pub(super) dataset: &'a str,
    pub(super) config: &'a str,
    pub(super) split: &'a str,
}

/// Checks each name and drops repeated ones: a name is listed once, whatever the repository says.
pub(super) fn checked<T>(
    names: Vec<String>,
    check: impl Fn(&str) -> Result<T, InvalidName>,
) -> Result<Vec<String>, InvalidName> {
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        check(&name)?;
        if seen.insert(name.clone()) {
            kept.push(name);
        }
    }
    Ok(kept)
}
