//! How a repository becomes configs, splits, features and rows (dataset-loading.md sections 0 to 5).
//!
//! Owns the loading semantics of Python's `datasets`: README YAML, split patterns, globs, module choice, ordering,
//! features. Refuses caching and HTTP: bytes come through [`outpost_hub::Hub`], results are returned. Failures are
//! [`LoadError`]s with the chain of Python classes and messages that users know.

mod card;
mod configs;
mod data_files;
pub mod error;
mod extensions;
mod features;
mod glob;
pub mod guard;
mod infos;
mod listing;
mod media_archives;
mod module_choice;
mod patterns;
mod python;
pub mod repository;
mod resolve;
mod source;
mod yaml;

#[cfg(test)]
mod test_tables;

pub use error::LoadError;
pub use guard::JobGuard;
pub use media_archives::MediaArchives;
pub use repository::{LoadContext, Repository, RepositoryCache, RowsError, SplitHead};
