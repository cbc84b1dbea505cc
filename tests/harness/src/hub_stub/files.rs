//! Files of the stub: trees in pages, whole and ranged reads, the second host.

use std::collections::{BTreeMap, HashMap};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use outpost_hub::{Hub, HubError, RepoFile};
use outpost_model::limits::RANGE_BYTES_MAX;
use outpost_model::{DatasetName, Revision};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::answers::Answer;
use super::routes::{decode, header, names, query};
use super::{State, lock};

/// A folder's entries, in pages. `url_parts` are the parts of the URL after the dataset.
pub(super) async fn tree(
    state: &State,
    dataset: &DatasetName,
    revision: &Revision,
    url_parts: &[&str],
    folder: &str,
    query: &HashMap<String, String>,
) -> Answer {
    let files = match state.folder.list_files(dataset, revision, folder).await {
        Ok(files) => files,
        Err(error) => return error.into(),
    };
    let is_recursive = query.get("recursive").is_some_and(|value| value == "true");
    let entries = entries(&files, folder, is_recursive);
    let quoted: Vec<String> =
        url_parts.iter().map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
    let path = format!("/api/datasets/{dataset}/{}", quoted.join("/"));
    page(state, &path, &entries, usize::MAX, query)
}

/// Files and the folders that they are in, by path.
fn entries(files: &[RepoFile], folder: &str, is_recursive: bool) -> Vec<Value> {
    let skipped = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let mut entries = BTreeMap::new();
    for file in files {
        let folders = file.path.match_indices('/').map(|(at, _)| at).filter(|at| *at > skipped);
        let mut is_child = true;
        for at in folders {
            if is_recursive || is_child {
                let path = &file.path[..at];
                let entry = json!({ "type": "directory", "path": path, "size": 0, "oid": "0".repeat(40) });
                entries.insert(path.to_owned(), entry);
            }
            is_child = false;
        }
        if is_recursive || is_child {
            let entry =
                json!({ "type": "file", "path": file.path, "size": file.size, "oid": "1".repeat(40) });
            entries.insert(file.path.clone(), entry);
        }
    }
    entries.into_values().collect()
}

/// One page of `items`, with a link to the next.
pub(super) fn page(
    state: &State,
    path: &str,
    items: &[Value],
    limit: usize,
    query: &HashMap<String, String>,
) -> Answer {
    let entries = lock(&state.settings).page_entries.min(limit.max(1));
    let start: usize = query.get("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let start = start.min(items.len());
    let end = items.len().min(start + entries);
    let answer = Answer::json(&Value::Array(items[start..end].to_vec()));
    if end == items.len() {
        return answer;
    }
    let kept = ["recursive", "expand", "limit"];
    let kept = kept.iter().filter_map(|name| Some(format!("{name}={}&", query.get(*name)?)));
    let query: String = kept.collect();
    answer.with("link", format!("<http://{}{path}?{query}cursor={end}>; rel=\"next\"", state.hub))
}

/// `/datasets/{id}/resolve/{rev}/{path}`.
pub(super) async fn resolve(
    state: &State,
    method: &Method,
    headers: &HeaderMap,
    dataset: &DatasetName,
    revision: &Revision,
    path: &str,
) -> Answer {
    let found = match find(state, dataset, revision, path).await {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let marked = |answer: Answer| {
        answer
            .with("x-repo-commit", found.commit.as_str())
            .with("x-linked-size", found.size.to_string())
            .with("etag", format!("\"{}-{}\"", found.commit, found.size))
    };
    if state.knobs(dataset.as_str()).on_cdn {
        let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
        let location = format!("http://{}/{dataset}/{}/{path}?Signature=secret", state.cdn, found.commit);
        return marked(Answer::redirect(302, location));
    }
    if method == Method::HEAD {
        return marked(Answer::of(200, Bytes::new()).with("content-length", found.size.to_string()));
    }
    marked(content(state, dataset, &found, path, headers).await)
}

/// The second host: signed addresses only, and no credentials of the Hub.
pub(super) async fn from_cdn(state: &State, uri: &Uri, headers: &HeaderMap) -> Answer {
    if headers.contains_key("authorization") {
        return Answer::of(400, "Only one auth mechanism allowed");
    }
    if query(uri).get("Signature").map(String::as_str) != Some("secret") {
        return Answer::of(403, "AccessDenied");
    }
    let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
    let [namespace, name, revision, path] = parts.as_slice() else { return Answer::of(404, "NoSuchKey") };
    let Some((dataset, revision)) = names(&format!("{namespace}/{name}"), revision) else {
        return Answer::of(404, "NoSuchKey");
    };
    let path = decode(path);
    match find(state, &dataset, &revision, &path).await {
        Ok(found) => content(state, &dataset, &found, &path, headers).await,
        Err(_) => Answer::of(404, "NoSuchKey"),
    }
}

struct FoundFile {
    commit: Revision,
    size: u64,
}

async fn find(
    state: &State,
    dataset: &DatasetName,
    revision: &Revision,
    path: &str,
) -> Result<FoundFile, HubError> {
    let commit = state.folder.repo_info(dataset, Some(revision)).await?.revision;
    let files = state.folder.list_files(dataset, &commit, "").await?;
    let file = files.iter().find(|file| file.path == path);
    let size = file.ok_or_else(|| HubError::EntryNotFound(path.to_owned()))?.size;
    Ok(FoundFile { commit, size })
}

async fn content(
    state: &State,
    dataset: &DatasetName,
    found: &FoundFile,
    path: &str,
    headers: &HeaderMap,
) -> Answer {
    let Some(range) = header(headers, "range") else {
        return match read(state, dataset, found, path, 0, found.size).await {
            Ok(bytes) => Answer::of(200, bytes),
            Err(error) => error.into(),
        };
    };
    let Some((first, last)) = parse_range(range, found.size) else {
        return Answer::error(416, "", "Requested range not satisfiable")
            .with("content-range", format!("bytes */{}", found.size));
    };
    match read(state, dataset, found, path, first, last + 1 - first).await {
        Ok(bytes) => {
            Answer::of(206, bytes).with("content-range", format!("bytes {first}-{last}/{}", found.size))
        }
        Err(error) => error.into(),
    }
}

/// First and last byte of `bytes=a-b` or `bytes=a-`, within the file.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    let last = last.min(size.checked_sub(1)?);
    (first <= last).then_some((first, last))
}

async fn read(
    state: &State,
    dataset: &DatasetName,
    found: &FoundFile,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<Bytes, HubError> {
    let mut bytes = Vec::new();
    let end = offset + length;
    let mut at = offset;
    while at < end {
        let step = (end - at).min(RANGE_BYTES_MAX);
        bytes.extend_from_slice(&state.folder.read_range(dataset, &found.commit, path, at, step).await?);
        at += step;
    }
    Ok(bytes.into())
}
