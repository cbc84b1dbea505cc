//! Default detection of splits from file names (dataset-loading.md sections 2.1 and 2.2).
//!
//! Owns the keywords and the order of detection: shards under `data/`, logs, folder names, file names, everything.
//! No file at all is an `EmptyDatasetError`.

use outpost_model::SplitName;

use crate::error::LoadError;
use crate::extensions::base_name;
use crate::resolve::{Extensions, Resolver, SplitPatterns, is_not_found};
use outpost_formats::features::repr::quoted;

/// Default splits in their order, with the words that mark them.
const KEYWORDS: &[(&str, &[&str])] = &[
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// What may stand beside a keyword, as a glob class.
const SEPARATORS: &str = "[-._ 0-9]";

const SHARD_SUFFIX: &str = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*";

/// Patterns of the splits of `folder` (`""` for the root).
///
/// # Errors
/// `EmptyDatasetError` without a data file, `ValueError` when shards have an invalid split name.
pub fn detect(resolver: &Resolver, folder: &str) -> Result<SplitPatterns, LoadError> {
    if let Some(patterns) = sharded(resolver, folder)? {
        return Ok(patterns);
    }
    for candidates in [logs(), by_folder_name(), by_file_name(), everything()] {
        let mut found = SplitPatterns::new();
        for (split, patterns) in candidates {
            if any_matches(resolver, &patterns, folder)? {
                found.insert(split, patterns);
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let base = resolver.url(folder);
    Err(LoadError::new(
        "EmptyDatasetError",
        format!("The directory at {base} doesn't contain any data files"),
    ))
}

fn any_matches(resolver: &Resolver, patterns: &[String], folder: &str) -> Result<bool, LoadError> {
    for pattern in patterns {
        if resolver.is_matched(pattern, folder)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `data/{split}-00000-of-00001.*`, for any split.
fn sharded(resolver: &Resolver, folder: &str) -> Result<Option<SplitPatterns>, LoadError> {
    let pattern = shard_pattern("*");
    let files = match resolver.pattern(&pattern, folder, Extensions::Any) {
        Ok(files) => files,
        Err(error) if is_not_found(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut splits: Vec<&str> =
        files.iter().filter_map(|file| split_of_shard(base_name(&file.path))).collect();
    splits.sort_unstable();
    splits.dedup();
    if splits.iter().any(|split| SplitName::new(split).is_err()) {
        let names: Vec<String> = splits.iter().map(|split| quoted(split)).collect();
        let message =
            format!("Split name should match '^\\w+(\\.\\w+)*$'' but got '{{{}}}'.", names.join(", "));
        return Err(LoadError::new("ValueError", message));
    }
    let defaults = KEYWORDS.iter().map(|(split, _)| *split).filter(|split| splits.contains(split));
    let others = splits.iter().copied().filter(|split| KEYWORDS.iter().all(|(default, _)| default != split));
    Ok(Some(defaults.chain(others).map(|split| (split.to_owned(), vec![shard_pattern(split)])).collect()))
}

fn shard_pattern(split: &str) -> String {
    format!("data/{split}{SHARD_SUFFIX}")
}

/// The text before the last `-ddddd-of-ddddd` of a shard's name.
fn split_of_shard(name: &str) -> Option<&str> {
    name.rmatch_indices("-of-").find_map(|(at, _)| {
        let (before, after) = (&name[..at], &name[at + 4..]);
        let is_number = |text: &[u8]| text.len() == 5 && text.iter().all(u8::is_ascii_digit);
        let start = before.len().checked_sub(6)?;
        let numbered = before.as_bytes()[start] == b'-'
            && is_number(&before.as_bytes()[start + 1..])
            && is_number(after.as_bytes().get(..5)?);
        (numbered && start > 0).then(|| &name[..start])
    })
}

fn logs() -> SplitPatterns {
    [("logs".to_owned(), vec!["**/*.eval".to_owned()])].into()
}

fn everything() -> SplitPatterns {
    [("train".to_owned(), vec!["**".to_owned()])].into()
}

fn by_folder_name() -> SplitPatterns {
    keyword_patterns(&["**/K/**", "**/KS*/**", "**/*SK/**", "**/*SKS*/**"])
}

fn by_file_name() -> SplitPatterns {
    keyword_patterns(&["**/KS*", "**/*SKS*"])
}

/// Fills the keyword in for `K` and the separators for `S`.
fn keyword_patterns(templates: &[&str]) -> SplitPatterns {
    let fill = |template: &str, keyword: &str| template.replace('S', SEPARATORS).replace('K', keyword);
    let patterns = |keywords: &[&str]| -> Vec<String> {
        keywords
            .iter()
            .flat_map(|keyword| templates.iter().map(move |template| fill(template, keyword)))
            .collect()
    };
    KEYWORDS.iter().map(|(split, keywords)| ((*split).to_owned(), patterns(keywords))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::resolver_of as resolver;
    use crate::test_tables::{object, table};

    #[test]
    fn layouts_give_the_splits_of_the_library() {
        for row in table("split_layouts").as_array().unwrap() {
            let paths: Vec<&str> =
                row["files"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
            let resolver = resolver(&paths);
            match detect(&resolver, "") {
                Ok(patterns) => {
                    assert_eq!(object(&patterns).to_string(), row["patterns"].to_string(), "{paths:?}");
                    let files = resolver.splits(&patterns, "", Extensions::Supported).unwrap();
                    let files = object(files.iter().map(|(split, files)| {
                        (split, files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>())
                    }));
                    assert_eq!(files.to_string(), row["data_files"].to_string(), "{paths:?}");
                }
                Err(error) => assert_eq!(row["error"][0]["class"], *error.class, "{paths:?}"),
            }
        }
    }

    #[test]
    fn shards_with_an_invalid_split_name_fail() {
        let error = detect(&resolver(&["data/a-b-00000-of-00001.csv"]), "").unwrap_err();
        assert_eq!(error.class, "ValueError");
        assert_eq!(error.message, r"Split name should match '^\w+(\.\w+)*$'' but got '{'a-b'}'.");
    }

    #[test]
    fn a_shard_name_splits_at_its_last_numbering() {
        assert_eq!(split_of_shard("train-00000-of-00001.csv"), Some("train"));
        assert_eq!(split_of_shard("x-00000-of-00001-00000-of-00002.a"), Some("x-00000-of-00001"));
        assert_eq!(split_of_shard("train-0000-of-00001.csv"), None);
        assert_eq!(split_of_shard("-00000-of-00001.csv"), None);
    }

    #[test]
    fn nothing_at_all_is_an_empty_dataset() {
        let error = detect(&resolver(&["README.md", "d/.x"]), "").unwrap_err();
        assert_eq!(error.class, "EmptyDatasetError");
        assert_eq!(error.message, "The directory at hf://datasets/u/n@abc doesn't contain any data files");
    }
}
