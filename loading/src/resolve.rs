//! From patterns to files (dataset-loading.md sections 2.4 and 2.5).
//!
//! Owns which files a pattern stands for, in order. Refuses whatever is not a file of this repository: URLs of other
//! hosts are a `ValueError`, absolute paths find nothing. A pattern without a match is a `FileNotFoundError`, which is
//! swallowed where the pattern has magic.

use std::sync::Arc;

use indexmap::IndexMap;
use outpost_hub::RepoFile;
use outpost_model::limits;

use crate::error::LoadError;
use crate::extensions::{allowed, base_name, is_allowed};
use crate::glob::{Glob, has_magic, listing_root};
use crate::guard::JobGuard;
use crate::listing::Listing;
use crate::python::repr_list;

/// Patterns by split, in order.
pub type SplitPatterns = IndexMap<String, Vec<String>>;
/// Files by split, in order; a file may come twice.
pub type DataFiles = IndexMap<String, Vec<Arc<RepoFile>>>;

/// Base names that are never data unless a pattern names them.
const IGNORED: &[&str] = &[
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
];

/// Which files count as matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extensions {
    /// Any file, as in the detection of splits.
    Any,
    /// Files with an extension that some module reads.
    Supported,
}

/// Resolves patterns in one repository at one revision.
pub struct Resolver {
    /// Its files.
    pub listing: Listing,
    /// The dataset's id.
    pub dataset: String,
    /// The revision.
    pub revision: String,
    /// Ends the work between two patterns.
    pub guard: Arc<JobGuard>,
}

impl Resolver {
    /// The repository as messages name it: `hf://datasets/{id}@{revision}`, with a folder when given.
    #[must_use]
    pub fn url(&self, folder: &str) -> String {
        let root = format!("hf://datasets/{}@{}", self.dataset, self.revision);
        if folder.is_empty() { root } else { format!("{root}/{folder}") }
    }

    /// Files of every split; the patterns are relative to `folder`.
    ///
    /// # Errors
    /// See [`Resolver::pattern`]; a pattern with magic may match nothing.
    pub fn splits(
        &self,
        patterns: &SplitPatterns,
        folder: &str,
        extensions: Extensions,
    ) -> Result<DataFiles, LoadError> {
        let mut count = 0;
        let mut resolve = |patterns: &Vec<String>| {
            let mut files = Vec::new();
            for pattern in patterns {
                match self.pattern(pattern, folder, extensions) {
                    Ok(found) => {
                        count += found.len();
                        check_count(count)?;
                        files.extend(found);
                    }
                    Err(error) if is_not_found(&error) && has_magic(pattern) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(files)
        };
        patterns.iter().map(|(split, patterns)| Ok((split.clone(), resolve(patterns)?))).collect()
    }

    /// Files that a pattern stands for, sorted by path.
    ///
    /// # Errors
    /// `FileNotFoundError` when there is none, `ValueError` when the pattern is invalid or leads out of the repository.
    pub fn pattern(
        &self,
        pattern: &str,
        folder: &str,
        extensions: Extensions,
    ) -> Result<Vec<Arc<RepoFile>>, LoadError> {
        let not_found = |pattern: &str| {
            let mut message = format!("Unable to find '{pattern}'");
            if extensions == Extensions::Supported {
                let known = repr_list(allowed().iter().copied());
                message.push_str(&format!(" with any supported extension {known}"));
            }
            LoadError::new("FileNotFoundError", message)
        };
        self.guard.check()?;
        if pattern.starts_with('/') {
            return Err(not_found(pattern));
        }
        let path = match self.inside_repository(pattern)? {
            Some(path) => path.to_owned(),
            None if folder.is_empty() => pattern.to_owned(),
            None => format!("{}/{pattern}", folder.trim_end_matches('/')),
        };
        let files = self.matches(&path)?;
        let found: Vec<_> = files
            .into_iter()
            .filter(|file| is_requested(&file.path, &path))
            .filter(|file| extensions == Extensions::Any || is_allowed(&file.path))
            .collect();
        if found.is_empty() { Err(not_found(&self.url(&path))) } else { Ok(found) }
    }

    /// Whether a pattern matches any file at all, whatever its extension.
    ///
    /// # Errors
    /// As [`Resolver::pattern`], but no match is `false`.
    pub fn is_matched(&self, pattern: &str, folder: &str) -> Result<bool, LoadError> {
        match self.pattern(pattern, folder, Extensions::Any) {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn matches(&self, path: &str) -> Result<Vec<Arc<RepoFile>>, LoadError> {
        // No path of a repository has such parts, and the Hub is not asked for them.
        if listing_root(path).split('/').any(|part| matches!(part, "." | "..")) || path.contains("//") {
            return Ok(Vec::new());
        }
        if has_magic(path) {
            let glob = Glob::new(path)?;
            let files = self.listing.under(listing_root(path))?;
            return Ok(files.iter().filter(|file| glob.matches(&file.path)).cloned().collect());
        }
        let path = path.trim_end_matches('/');
        let files = self.listing.under(listing_root(path))?;
        let place = files.binary_search_by(|file| file.path.as_str().cmp(path));
        Ok(place.map(|place| Arc::clone(&files[place])).into_iter().collect())
    }

    /// The path inside this repository that a URL stands for, `None` for a relative pattern.
    fn inside_repository<'a>(&self, pattern: &'a str) -> Result<Option<&'a str>, LoadError> {
        let Some((scheme, rest)) = pattern.split_once("://") else { return Ok(None) };
        let after = |prefix: String| rest.strip_prefix(prefix.as_str());
        let at_revision = match scheme {
            "hf" => after(format!("datasets/{}@", self.dataset)),
            "https" => after(format!("huggingface.co/datasets/{}/resolve/", self.dataset)),
            _ => None,
        };
        at_revision
            .and_then(|rest| rest.split_once('/'))
            .filter(|(revision, _)| *revision == "main" || *revision == self.revision)
            .map(|(_, path)| Some(path))
            .ok_or_else(|| foreign_files(&self.dataset))
    }
}

/// The error of data files outside of the repository.
fn foreign_files(dataset: &str) -> LoadError {
    LoadError::new(
        "ValueError",
        format!(
            "Data files don't belong to {dataset}. Make sure the dataset `data_files` (e.g. in the config README.md) \
             are valid. They should be relative paths to the dataset repository root."
        ),
    )
}

/// Refuses more files than a config may have; a file counts each time that it is matched.
fn check_count(count: usize) -> Result<(), LoadError> {
    if count <= limits::DATA_FILES_MAX {
        return Ok(());
    }
    let message = format!(
        "the patterns of a config match more than {} files. Merge small files, or match each file once.",
        limits::DATA_FILES_MAX
    );
    Err(LoadError::new("LimitExceeded", message))
}

/// Whether an error says that a pattern stands for no file.
#[must_use]
pub fn is_not_found(error: &LoadError) -> bool {
    error.class == "FileNotFoundError" && !error.transient
}

/// Whether a match is data that the pattern asked for: special and hidden parts only when the pattern has as many,
/// metadata files only by name.
fn is_requested(path: &str, pattern: &str) -> bool {
    let base = base_name(path);
    if IGNORED.contains(&base) && base_name(pattern) != base {
        return false;
    }
    special_parts(path) == special_parts(pattern) && hidden_parts(path) == hidden_parts(pattern)
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

fn special_parts(path: &str) -> usize {
    parts(path).rev().skip(1).filter(|part| part.starts_with("__")).count()
}

fn hidden_parts(path: &str) -> usize {
    parts(path).filter(|part| part.starts_with('.') && part.chars().any(|c| c != '.')).count()
}

#[cfg(test)]
pub(crate) fn resolver_of(paths: &[&str]) -> Resolver {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3_600);
    Resolver {
        listing: crate::listing::listing_of(paths),
        dataset: "u/n".to_owned(),
        revision: "abc".to_owned(),
        guard: Arc::new(JobGuard::new(deadline)),
    }
}

#[cfg(test)]
mod tests {
    use super::resolver_of as resolver;
    use super::*;

    fn find(resolver: &Resolver, pattern: &str, folder: &str) -> Result<Vec<String>, LoadError> {
        resolver
            .pattern(pattern, folder, Extensions::Supported)
            .map(|files| files.iter().map(|file| file.path.clone()).collect())
    }

    const TREE: &[&str] = &[
        ".h/a.csv",
        ".hidden.csv",
        "README.md",
        "__d/b.csv",
        "__file.csv",
        "a.bin",
        "a.csv",
        "config.json",
        "d/.x.csv",
        "d/c.csv",
    ];

    #[test]
    fn hidden_and_special_files_are_found_only_when_asked_for() {
        let resolver = resolver(TREE);
        for (pattern, expected) in [
            ("**", vec!["__file.csv", "a.csv", "d/c.csv"]),
            (".h/*", vec![".h/a.csv"]),
            (".*", vec![".hidden.csv"]),
            ("__*/*", vec!["__d/b.csv"]),
            ("__d/b.csv", vec!["__d/b.csv"]),
            ("d/.x.csv", vec!["d/.x.csv"]),
            ("config.json", vec!["config.json"]),
        ] {
            assert_eq!(find(&resolver, pattern, "").unwrap(), expected, "{pattern}");
        }
        assert_eq!(find(&resolver, "*.csv", "d").unwrap(), ["d/c.csv"]);
    }

    #[test]
    fn paths_out_of_the_repository_are_refused() {
        let resolver = resolver(TREE);
        for (pattern, class) in [
            ("/etc/passwd", "FileNotFoundError"),
            ("../a.csv", "FileNotFoundError"),
            ("./a.csv", "FileNotFoundError"),
            ("https://example.com/a.csv", "ValueError"),
            ("hf://datasets/other/n@main/a.csv", "ValueError"),
            ("hf://datasets/u/n@refs/a.csv", "ValueError"),
            ("zip://a.csv::a.zip", "ValueError"),
            ("file:///etc/passwd", "ValueError"),
        ] {
            assert_eq!(find(&resolver, pattern, "").unwrap_err().class, class, "{pattern}");
        }
        assert_eq!(find(&resolver, "hf://datasets/u/n@main/a.csv", "").unwrap(), ["a.csv"]);
        assert_eq!(
            find(&resolver, "https://huggingface.co/datasets/u/n/resolve/abc/d/*", "").unwrap(),
            ["d/c.csv"]
        );
    }

    #[test]
    fn a_missing_path_names_what_was_looked_for() {
        let error = find(&resolver(TREE), "nope.csv", "d").unwrap_err();
        assert!(
            error.message.starts_with(
                "Unable to find 'hf://datasets/u/n@abc/d/nope.csv' with any supported extension ['.csv', '.tsv', "
            ),
            "{}",
            error.message
        );
    }

    #[test]
    fn patterns_of_a_split_add_up_and_keep_duplicates() {
        let resolver = resolver(TREE);
        let patterns: SplitPatterns = [
            ("train".to_owned(), vec!["a.csv".to_owned(), "*.csv".to_owned(), "no*".to_owned()]),
            ("test".to_owned(), vec!["no*".to_owned()]),
        ]
        .into();
        let files = resolver.splits(&patterns, "", Extensions::Supported).unwrap();
        let train: Vec<&str> = files["train"].iter().map(|file| file.path.as_str()).collect();
        assert_eq!(train, ["a.csv", "__file.csv", "a.csv"]);
        assert!(files["test"].is_empty());
    }

    #[test]
    fn a_cancelled_job_resolves_nothing() {
        let resolver = resolver(TREE);
        resolver.guard.cancel();
        assert!(find(&resolver, "**", "").unwrap_err().transient);
    }

    #[test]
    fn files_that_are_matched_again_and_again_are_refused() {
        let paths: Vec<String> = (0..2_000).map(|at| format!("{at}.csv")).collect();
        let resolver = resolver(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let patterns = |count| SplitPatterns::from([("train".to_owned(), vec!["*".to_owned(); count])]);
        let splits = |count| resolver.splits(&patterns(count), "", Extensions::Any);
        assert_eq!(splits(2).unwrap()["train"].len(), 4_000);
        assert_eq!(splits(limits::DATA_FILES_MAX / 2_000 + 1).unwrap_err().class, "LimitExceeded");
    }
}
