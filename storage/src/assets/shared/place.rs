//! Where a shared store is: a folder or a bucket, as text and as something to talk to.
//!
//! Owns the form of `--assets` (design section 2) and how a bucket is reached: by the standard `AWS_` variables, which
//! the caller passes in. A folder is written durably: file synced, renamed, directory synced. Opening a place proves
//! that it can be written, read and deleted from, or says what to do.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, RetryConfig};
use outpost_model::limits;

use super::objects::Objects;
use crate::error::StorageError;

const BUCKET_SCHEME: &str = "s3://";
const BUCKET_CHARS: std::ops::RangeInclusive<usize> = 3..=63;
const PREFIX_BYTES_MAX: usize = 256;
const VARIABLE_PREFIX: &str = "AWS_";

/// A place for assets that several nodes can share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetPlace {
    /// A folder, created when it does not exist.
    Folder(PathBuf),
    /// A bucket that speaks S3.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of all objects start with; may be empty.
        prefix: String,
    },
}

/// A text that names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place for assets: {0}")]
pub struct InvalidAssetPlace(pub &'static str);

impl AssetPlace {
    /// Reads `s3://BUCKET`, `s3://BUCKET/PREFIX` or the path of a folder.
    ///
    /// # Errors
    /// [`InvalidAssetPlace`] with the broken rule.
    pub fn parse(text: &str) -> Result<Self, InvalidAssetPlace> {
        let Some(rest) = text.strip_prefix(BUCKET_SCHEME) else {
            return match text {
                "" => Err(InvalidAssetPlace("it is empty")),
                _ if text.contains("://") => Err(InvalidAssetPlace("of URLs only s3:// is known")),
                _ => Ok(Self::Folder(PathBuf::from(text))),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-".contains(&c);
        if !BUCKET_CHARS.contains(&bucket.len()) || !bucket.bytes().all(is_name) {
            return Err(InvalidAssetPlace(
                "a bucket's name has 3 to 63 lower-case letters, digits, '.' and '-'",
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-=".contains(&c))
        };
        if prefix.len() > PREFIX_BYTES_MAX || (!prefix.is_empty() && !prefix.split('/').all(is_part)) {
            return Err(InvalidAssetPlace(
                "a prefix is names of letters, digits, '.', '_', '-' and '=', separated by '/'",
            ));
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// Connects to the place and proves that it can be used. `variables` are the environment's; of them those that
    /// start with `AWS_` say how a bucket is reached.
    pub(super) fn connect(&self, variables: &[(String, String)]) -> Result<Objects, StorageError> {
        let objects = match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|error| self.unusable(&format!("it cannot be created: {error}")))?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| self.explain(&error))?;
                Objects::new(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)), false)?
            }
            Self::Bucket { bucket, prefix } => {
                let store = bucket_client(bucket, variables).map_err(|error| self.explain(&error))?;
                let store: Arc<dyn ObjectStore> = match prefix.as_str() {
                    "" => Arc::new(store),
                    prefix => Arc::new(PrefixStore::new(store, Path::from(prefix))),
                };
                Objects::new(store, true)?
            }
        };
        objects.probe().map_err(|error| self.explain(&error))?;
        Ok(objects)
    }

    fn explain(&self, error: &Error) -> StorageError {
        let what = match (self, error) {
            (Self::Folder(_), _) => "this process needs to be able to write to it",
            (_, Error::NotFound { .. }) => "the bucket must exist; check its name and AWS_REGION",
            (_, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that they may read, write, list and delete"
            }
            _ => {
                "check AWS_ENDPOINT_URL, AWS_REGION and the credentials; an http:// endpoint needs AWS_ALLOW_HTTP=true"
            }
        };
        self.unusable(&format!("{what} ({error})"))
    }

    fn unusable(&self, why: &str) -> StorageError {
        StorageError::Engine(format!("assets cannot be kept in {self}: {why}"))
    }
}

impl fmt::Display for AssetPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "{BUCKET_SCHEME}{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "{BUCKET_SCHEME}{bucket}/{prefix}"),
        }
    }
}

fn bucket_client(bucket: &str, variables: &[(String, String)]) -> Result<object_store::aws::AmazonS3, Error> {
    // The client takes the process's provider; another part of the program may have chosen one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = ClientOptions::new()
        .with_connect_timeout(Duration::from_millis(limits::ASSET_CONNECT_TIMEOUT_MS))
        .with_timeout(Duration::from_millis(limits::ASSET_REQUEST_TIMEOUT_MS));
    let retries = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: limits::ASSET_REQUEST_RETRIES_MAX,
        retry_timeout: Duration::from_millis(limits::ASSET_REQUEST_TIMEOUT_MS),
    };
    let mut builder = AmazonS3Builder::new().with_client_options(options).with_retry(retries);
    for (name, value) in variables {
        let key = name.strip_prefix(VARIABLE_PREFIX).and_then(|_| name.to_ascii_lowercase().parse().ok());
        if let Some(key) = key {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_told_apart() {
        for (text, expected) in [
            ("./assets", AssetPlace::Folder("./assets".into())),
            ("s3", AssetPlace::Folder("s3".into())),
            ("s3://abc", AssetPlace::Bucket { bucket: "abc".into(), prefix: String::new() }),
            ("s3://abc/", AssetPlace::Bucket { bucket: "abc".into(), prefix: String::new() }),
            ("s3://a.b-3/x/y/", AssetPlace::Bucket { bucket: "a.b-3".into(), prefix: "x/y".into() }),
        ] {
            assert_eq!(AssetPlace::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(AssetPlace::parse("s3://abc/x/y").unwrap().to_string(), "s3://abc/x/y");
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            "s3://",
            "s3:///x",
            "s3://AB/x",
            "s3://ab",
            "s3://abc//x",
            "s3://abc/../x",
            "s3://abc/x y",
            "gs://abc",
        ] {
            assert!(AssetPlace::parse(text).is_err(), "{text:?}");
        }
    }
}
