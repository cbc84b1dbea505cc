//! Where the authority and the assets are.
//!
//! Owns which names mean MongoDB: `--store`, else dataset-viewer's variables. Credentials are never part of what is shown.

use std::fmt;

use outpost_storage::AssetPlace;

use super::values::{ConfigError, Environment};
use crate::cli::Cli;

/// Where cache and queue live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// In the data directory.
    Embedded,
    /// In a database.
    Mongo(MongoPlace),
}

/// A MongoDB replica set and the databases there.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoPlace {
    /// The connection string, with its credentials.
    pub url: String,
    /// `CACHE_MONGO_DATABASE`.
    pub cache_database: String,
    /// `QUEUE_MONGO_DATABASE`.
    pub queue_database: String,
}

impl StorePlace {
    pub(super) fn resolve(cli: &Cli, environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let url = match cli.store.as_deref() {
            Some("embedded") => return Ok(Self::Embedded),
            Some(url) => check_url("--store", url)?,
            None => match url_of_variables(environment)? {
                None => return Ok(Self::Embedded),
                Some(url) => url,
            },
        };
        let database =
            |name: &str, default: &str| environment.text(name).unwrap_or_else(|| default.to_owned());
        Ok(Self::Mongo(MongoPlace {
            url,
            cache_database: database("CACHE_MONGO_DATABASE", "dataset_viewer_cache"),
            queue_database: database("QUEUE_MONGO_DATABASE", "dataset_viewer_queue"),
        }))
    }
}

/// One database server holds both here: a result and the jobs that follow it are one transaction.
fn url_of_variables(environment: &Environment<'_>) -> Result<Option<String>, ConfigError> {
    let [cache, queue] = ["CACHE_MONGO_URL", "QUEUE_MONGO_URL"].map(|name| environment.text(name));
    match (cache, queue) {
        (Some(cache), Some(queue)) if cache != queue => Err(ConfigError::sentence(
            "CACHE_MONGO_URL and QUEUE_MONGO_URL name different servers: cache and queue must be on one replica set, \
             because a result and the jobs that follow it are written in one transaction",
        )),
        (Some(url), _) => check_url("CACHE_MONGO_URL", &url).map(Some),
        (None, Some(url)) => check_url("QUEUE_MONGO_URL", &url).map(Some),
        (None, None) => Ok(None),
    }
}

fn check_url(option: &str, url: &str) -> Result<String, ConfigError> {
    if url.starts_with("mongodb://") || url.starts_with("mongodb+srv://") {
        return Ok(url.to_owned());
    }
    Err(ConfigError::wrong(option, &without_credentials(url), "`embedded` or a mongodb:// URL"))
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Mongo(place) => f.write_str(&without_credentials(&place.url)),
        }
    }
}

impl fmt::Debug for MongoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoPlace")
            .field("url", &without_credentials(&self.url))
            .field("cache_database", &self.cache_database)
            .field("queue_database", &self.queue_database)
            .finish()
    }
}

/// A connection string as it may be shown: its scheme and hosts. Options may hold secrets too.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{hosts}")
}

/// Where `--assets` says that assets are kept; `None` for under the data directory.
pub(super) fn resolve_assets(cli: &Cli) -> Result<Option<AssetPlace>, ConfigError> {
    cli.assets.as_deref().map(parse_assets).transpose()
}

fn parse_assets(text: &str) -> Result<AssetPlace, ConfigError> {
    let expected = |rule: &str| format!("a folder or s3://BUCKET/PREFIX: {rule}");
    let place =
        AssetPlace::parse(text).map_err(|error| ConfigError::wrong("--assets", text, &expected(error.0)))?;
    match &place {
        AssetPlace::Folder(folder) if folder.is_file() => {
            Err(ConfigError::wrong("--assets", text, &expected("there is a file of that name")))
        }
        _ => Ok(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (url, shown) in [
            ("mongodb://user:p%40ss@a:1,b:2/db?authSource=x", "mongodb://a:1,b:2"),
            ("mongodb+srv://u:p@cluster.example", "mongodb+srv://cluster.example"),
            ("mongodb://u:p@ss/word@host/", "mongodb://ss"),
            ("mongodb://localhost", "mongodb://localhost"),
            ("user:secret@host", "(not a URL)"),
        ] {
            assert_eq!(without_credentials(url), shown, "{url}");
        }
    }
}
