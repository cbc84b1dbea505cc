//! Paged listings: the files of a repository, the datasets of the Hub.
//!
//! Owns following `Link` headers with bounds on pages, entries and bytes. Refuses loops: an address seen before ends
//! the listing with [`HubError::Protocol`]. A listing is complete or an error, never cut.

use std::collections::HashSet;
use std::ops::ControlFlow;

use outpost_model::limits::{HUB_PAGES_MAX, HUB_TREE_PATH_BYTES_MAX};
use outpost_model::{DatasetName, Revision};
use serde::de::DeserializeOwned;

use crate::listing::Listing;
use crate::repo_path::{is_plain, quote};
use crate::{HubError, RepoFile};

use super::client::Client;
use super::status::{Target, shown};
use super::wire::{Listed, TreeEntry};

const DATASETS_PER_PAGE: usize = 1_000;

/// All files of a repository.
pub(super) async fn list(
    client: &Client,
    dataset: &DatasetName,
    revision: &Revision,
) -> Result<Listing, HubError> {
    let path =
        format!("/api/datasets/{dataset}/tree/{}?recursive=true&expand=false", quote(revision.as_str()));
    let target = Target { dataset: Some(dataset), revision: Some(revision), path: Some("") };
    let entries_max = client.options().tree_entries_max;
    let mut files: Vec<RepoFile> = Vec::new();
    let (mut entries, mut path_bytes) = (0, 0);
    let listed = follow(client, &path, target, |page: Vec<TreeEntry>| {
        entries += page.len();
        // Other paths cannot be in a repository and must not reach a disk or a URL.
        let plain = page.into_iter().filter(|entry| entry.is_file() && is_plain(&entry.path));
        for entry in plain {
            path_bytes += entry.path.len();
            files.push(RepoFile { path: entry.path, size: entry.size });
        }
        if entries > entries_max || path_bytes > HUB_TREE_PATH_BYTES_MAX {
            let reason =
                format!("dataset '{dataset}' has more than {entries_max} files or paths too long to list");
            return Err(HubError::Protocol(reason));
        }
        Ok(ControlFlow::Continue(()))
    })
    .await;
    match listed {
        // A repository without files has an empty root, not none.
        Ok(()) | Err(HubError::EntryNotFound(_)) => Ok(Listing::new(files)),
        Err(error) => Err(error),
    }
}

/// Names of at most `limit` public datasets. Names that no dataset can have are skipped.
pub(super) async fn list_datasets(client: &Client, limit: usize) -> Result<Vec<DatasetName>, HubError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let path = format!("/api/datasets?limit={}", limit.min(DATASETS_PER_PAGE));
    let mut names = Vec::new();
    follow(client, &path, Target::default(), |page: Vec<Listed>| {
        let public = page.iter().filter(|listed| listed.private != Some(true));
        names.extend(public.filter_map(|listed| DatasetName::new(&listed.id).ok()).take(limit - names.len()));
        Ok(if names.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .await?;
    Ok(names)
}

/// Passes page after page to `take` until it breaks or there is no next.
async fn follow<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    target: Target<'_>,
    mut take: impl FnMut(Vec<T>) -> Result<ControlFlow<()>, HubError>,
) -> Result<(), HubError> {
    let mut url = client.url(path)?;
    let mut visited = HashSet::new();
    for _ in 0..HUB_PAGES_MAX {
        if !visited.insert(url.clone()) {
            return Err(HubError::Protocol(format!(
                "{}: the pages of the listing go in a circle",
                shown(&url)
            )));
        }
        let page = client.json_at(url.clone(), target).await?;
        if take(page.value)?.is_break() {
            return Ok(());
        }
        match page.next {
            Some(next) => url = next,
            None => return Ok(()),
        }
    }
    Err(HubError::Protocol(format!("{}: the listing has more than {HUB_PAGES_MAX} pages", shown(&url))))
}
