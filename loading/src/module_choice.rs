//! Which module reads a config's files (dataset-loading.md sections 1.2 and 1.3).
//!
//! Owns the vote of the extensions. Fails with a `ValueError` when splits disagree and with a
//! `DataFilesNotFoundError` when no file is supported.

use std::cmp::Reverse;

use indexmap::IndexMap;
use outpost_hub::RepoFile;

use crate::error::LoadError;
use crate::extensions::{METADATA_FILE_NAMES, ModuleChoice, base_name, module_of, suffixes};
use crate::resolve::DataFiles;
use outpost_formats::features::repr::quoted;

/// Files of a split that vote.
const VOTERS_MAX: usize = 200_000;
/// Archives of a split that are looked into.
const ARCHIVES_MAX: usize = 10;

/// Paths of an archive that vote.
pub const ARCHIVE_PATHS_MAX: usize = 200;

/// Lists the first [`ARCHIVE_PATHS_MAX`] files and folders of a zip archive by path.
pub type ListArchive<'a> = &'a dyn Fn(&RepoFile) -> Result<Vec<String>, LoadError>;

/// The module of a dataset, the same for all splits. `place` is what the error without one names.
///
/// # Errors
/// `ValueError`, `DataFilesNotFoundError`, or what looking into an archive raises.
pub fn choose(files: &DataFiles, place: &str, archive: ListArchive) -> Result<ModuleChoice, LoadError> {
    let mut choices: IndexMap<&str, Option<ModuleChoice>> = IndexMap::new();
    for (split, files) in files {
        let files: Vec<&RepoFile> = files.iter().map(AsRef::as_ref).collect();
        choices.insert(split, choose_for_split(&files, archive)?);
    }
    let first = choices.values().next().cloned().flatten();
    if choices.values().any(|choice| *choice != first) {
        let message = format!(
            "Couldn't infer the same data file format for all splits. Got {}",
            repr_choices(&choices)
        );
        return Err(LoadError::new("ValueError", message));
    }
    first.ok_or_else(|| {
        LoadError::new("DataFilesNotFoundError", format!("No (supported) data files found in {place}"))
    })
}

fn choose_for_split(files: &[&RepoFile], archive: ListArchive) -> Result<Option<ModuleChoice>, LoadError> {
    let mut votes: IndexMap<(String, bool), usize> = IndexMap::new();
    for file in files.iter().take(VOTERS_MAX) {
        let is_metadata = METADATA_FILE_NAMES.contains(&base_name(&file.path));
        for suffix in suffixes(&file.path) {
            *votes.entry((suffix.to_lowercase(), is_metadata)).or_default() += 1;
        }
    }
    let mut ranked: Vec<_> = votes.into_iter().collect();
    ranked.sort_by_cached_key(|((suffix, is_metadata), count)| {
        let tie = [".parquet", ".lance", ".arrow", ".jsonl", ".json", ".csv"].map(|first| suffix == first);
        Reverse((!is_metadata, *count, tie, suffix.clone()))
    });
    for ((suffix, _), _) in ranked {
        if let Some(choice) = module_of(&suffix) {
            return Ok(Some(choice.clone()));
        }
        if suffix == ".zip" {
            return choose_for_archives(files, archive);
        }
    }
    Ok(None)
}

/// The most common extension inside the first archives; of equally common ones the first that was seen.
fn choose_for_archives(files: &[&RepoFile], archive: ListArchive) -> Result<Option<ModuleChoice>, LoadError> {
    let mut votes: IndexMap<String, usize> = IndexMap::new();
    for file in files.iter().filter(|file| file.path.ends_with(".zip")).take(ARCHIVES_MAX) {
        for member in archive(file)? {
            for suffix in suffixes(member.trim_end_matches('/')) {
                *votes.entry(suffix.to_lowercase()).or_default() += 1;
            }
        }
    }
    let winner = votes.iter().rev().max_by_key(|(_, count)| **count);
    Ok(winner.and_then(|(suffix, _)| module_of(suffix)).cloned())
}

fn repr_choices(choices: &IndexMap<&str, Option<ModuleChoice>>) -> String {
    let repr_choice = |choice: &Option<ModuleChoice>| match choice {
        None => "(None, {})".to_owned(),
        Some(choice) => {
            let params: Vec<String> = choice
                .params
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), quoted(value.as_str().unwrap_or(""))))
                .collect();
            format!("({}, {{{}}})", quoted(choice.module), params.join(", "))
        }
    };
    let entries: Vec<String> =
        choices.iter().map(|(split, choice)| format!("{}: {}", quoted(split), repr_choice(choice))).collect();
    format!("{{{}}}", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::test_tables::table;

    fn files(splits: &[(&str, &[&str])]) -> DataFiles {
        let file = |path: &&str| Arc::new(RepoFile { path: (*path).to_owned(), size: 1 });
        splits.iter().map(|(split, paths)| ((*split).to_owned(), paths.iter().map(file).collect())).collect()
    }

    fn no_archive(_: &RepoFile) -> Result<Vec<String>, LoadError> {
        Err(LoadError::new("BadZipFile", "File is not a zip file"))
    }

    fn as_json(choice: Option<ModuleChoice>) -> serde_json::Value {
        choice
            .map_or(serde_json::json!([null, {}]), |choice| serde_json::json!([choice.module, choice.params]))
    }

    #[test]
    fn votes_choose_the_module_of_the_library() {
        for row in table("infer_module").as_array().unwrap() {
            let paths: Vec<RepoFile> = row["files"]
                .as_array()
                .unwrap()
                .iter()
                .map(|path| RepoFile { path: path.as_str().unwrap().to_owned(), size: 1 })
                .collect();
            let paths: Vec<&RepoFile> = paths.iter().collect();
            assert_eq!(as_json(choose_for_split(&paths, &no_archive).unwrap()), row["out"], "{paths:?}");
        }
    }

    #[test]
    fn splits_must_agree() {
        let error =
            choose(&files(&[("train", &["a.csv"]), ("test", &["b.tsv"])]), "u/n", &no_archive).unwrap_err();
        assert_eq!(
            error.message,
            "Couldn't infer the same data file format for all splits. Got {'train': ('csv', {}), 'test': ('csv', \
             {'sep': '\\t'})}"
        );
        let error = choose(&files(&[("train", &["a.csv"]), ("test", &[])]), "u/n", &no_archive).unwrap_err();
        assert!(error.message.ends_with("'test': (None, {})}"), "{}", error.message);
    }

    #[test]
    fn without_a_supported_file_the_place_is_named() {
        let error = choose(&files(&[("train", &["a.md"])]), "u/n", &no_archive).unwrap_err();
        assert_eq!(error.class, "DataFilesNotFoundError");
        assert_eq!(error.message, "No (supported) data files found in u/n");
    }

    #[test]
    fn archives_are_looked_into() {
        let members =
            |_: &RepoFile| Ok(vec!["d.x/".to_owned(), "a.txt".into(), "b.csv".into(), "c.csv".into()]);
        let zip = files(&[("train", &["a.zip"])]);
        assert_eq!(choose(&zip, "u/n", &members).unwrap().module, "csv");
        let tied = |_: &RepoFile| Ok(vec!["a.txt".to_owned(), "b.csv".into()]);
        assert_eq!(choose(&zip, "u/n", &tied).unwrap().module, "text");
        assert_eq!(choose(&zip, "u/n", &no_archive).unwrap_err().class, "BadZipFile");
    }
}
