//! The Hub over HTTP: `huggingface.co` or anything that speaks its API.
//!
//! Owns the requests of dataset-loading.md section 6 and http-api.md sections 3.2 and 3.3, their retries, redirects
//! and bounds. Refuses to send the node's token to another host than the Hub, to follow a listing to another host,
//! and to hold more of an answer than its bound. Failures are [`HubError`]s; transient ones were retried before they
//! are returned, except those of access checks, for which a reader waits.

mod client;
mod link;
mod locations;
mod options;
mod resolve;
mod retry;
mod status;
mod tls;
mod tree;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::{DatasetName, Revision};
use url::Url;

use crate::listing::{Listing, ListingCache};
use crate::repo_path::{is_plain, quote};
use crate::{Access, DatasetHead, Hub, HubError, RepoFile, RepoInfo};

use client::Client;
use status::Target;

pub use options::{HttpHubOptions, InvalidOptions};
pub use retry::{Backoff, Sleep};

/// A builder of HTTP clients for `address` that trust what a Hub client trusts: the system's CA certificates.
///
/// # Errors
/// [`InvalidOptions::Tls`] when `address` is `https` and there are none.
pub fn client_builder(address: &Url) -> Result<reqwest::ClientBuilder, InvalidOptions> {
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls::config(address)?))
}

/// A remote Hub. Cheap to clone; clones share connections and cached file lists.
#[derive(Clone)]
pub struct HttpHub {
    client: Arc<Client>,
    listings: Arc<ListingCache>,
}

impl HttpHub {
    /// Prepares a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidOptions`] when the endpoint, the token or the access check's path cannot be used, or when the
    /// system's CA certificates cannot be loaded for an `https` endpoint.
    pub fn new(options: HttpHubOptions) -> Result<Self, InvalidOptions> {
        Ok(Self { client: Arc::new(Client::new(options)?), listings: Arc::default() })
    }

    async fn listing(&self, dataset: &DatasetName, revision: &Revision) -> Result<Arc<Listing>, HubError> {
        let client = Arc::clone(&self.client);
        let (dataset, revision) = (dataset.clone(), revision.clone());
        if !is_commit(&revision) {
            return tree::list(&client, &dataset, &revision).await.map(Arc::new);
        }
        let key = (dataset.clone(), revision.clone());
        self.listings.get(key, || async move { tree::list(&client, &dataset, &revision).await }).await
    }
}

/// Whether a revision names a commit, whose content never changes, and not a branch.
fn is_commit(revision: &Revision) -> bool {
    revision.as_str().len() == 40 && revision.as_str().bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[async_trait]
impl Hub for HttpHub {
    fn describe(&self) -> String {
        self.client.endpoint().to_string()
    }

    async fn list_datasets(&self, limit: usize) -> Result<Vec<DatasetName>, HubError> {
        tree::list_datasets(&self.client, limit).await
    }

    async fn repo_info(
        &self,
        dataset: &DatasetName,
        revision: Option<&Revision>,
    ) -> Result<RepoInfo, HubError> {
        let mut path = format!("/api/datasets/{dataset}");
        if let Some(revision) = revision {
            path.push_str("/revision/");
            path.push_str(&quote(revision.as_str()));
        }
        // Without `expand` the answer names every file of the repository.
        path.push_str("?expand=sha&expand=private&expand=gated&expand=disabled&expand=tags&expand=cardData");
        let target = Target { dataset: Some(dataset), revision, path: None };
        let info: wire::Info = self.client.json(&path, target).await?.value;
        info.read()
    }

    async fn list_files(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        folder: &str,
    ) -> Result<Vec<RepoFile>, HubError> {
        if !folder.is_empty() && !is_plain(folder) {
            return Err(HubError::EntryNotFound(folder.to_owned()));
        }
        self.listing(dataset, revision).await?.under(folder)
    }

    async fn read_range(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, HubError> {
        resolve::read_range(&self.client, dataset, revision, path, offset, length).await
    }

    async fn read_file(
        &self,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, HubError> {
        resolve::read_file(&self.client, dataset, revision, path, bytes_max).await
    }

    fn resolve_url(&self, dataset: &DatasetName, revision: &Revision, path: &str) -> Option<String> {
        resolve::public_url(&self.client, dataset, revision, path)
    }

    async fn auth_check(
        &self,
        dataset: &DatasetName,
        authorization: Option<&str>,
    ) -> Result<Access, HubError> {
        self.client.auth_check(dataset, authorization).await
    }

    async fn whoami(&self) -> Result<Option<String>, HubError> {
        if !self.client.has_token() {
            return Ok(None);
        }
        let account: wire::Account = self.client.json("/api/whoami-v2", Target::default()).await?.value;
        Ok(Some(account.name))
    }

    /// Never returns: the Hub tells of changes by webhook.
    async fn changes(&self) -> Result<Vec<DatasetHead>, HubError> {
        std::future::pending().await
    }
}
