//! File bytes: `/datasets/{id}/resolve/{rev}/{path}`, whole and in ranges.
//!
//! Owns checking that an answer is what was asked for: its commit, its range, its length. Bytes of another revision
//! or range are [`HubError::Protocol`]; a body that ends early is read again.

use bytes::{Bytes, BytesMut};
use outpost_model::limits::RANGE_BYTES_MAX;
use outpost_model::{DatasetName, Revision};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::HubError;
use crate::repo_path::{is_plain, quote, quote_path};

use super::client::{Answer, Client, Hosts, Request, read_body};
use super::is_commit;
use super::retry::Failed;
use super::status::{Target, shown};

/// Bytes asked for.
#[derive(Debug, Clone, Copy)]
struct Span {
    offset: u64,
    length: u64,
}

impl Span {
    /// Offset of the last byte.
    fn last(self) -> u64 {
        self.offset.saturating_add(self.length - 1)
    }
}

/// Bytes of a file, none when `offset` is at or after its end.
pub(super) async fn read_range(
    client: &Client,
    dataset: &DatasetName,
    revision: &Revision,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<Bytes, HubError> {
    if length > RANGE_BYTES_MAX {
        return Err(HubError::TooLarge { path: path.to_owned(), size: length, limit: RANGE_BYTES_MAX });
    }
    if length == 0 {
        return Ok(Bytes::new());
    }
    let span = Span { offset, length };
    let range = format!("bytes={}-{}", span.offset, span.last());
    let url = file_url(client, dataset, revision, path)?;
    let target = Target { dataset: Some(dataset), revision: Some(revision), path: Some(path) };
    let request = Request { url, target, hosts: Hosts::Any, range: Some(&range), bytes_max: length };
    if let Some(bytes) = read_where_found(client, &request, span).await {
        return Ok(bytes);
    }
    let file = &request.url;
    let read = client.retried(&request, |answer| async move {
        check_commit(&answer.hub_headers, revision)?;
        if answer.is_elsewhere {
            client.locations.remember(file, answer.response.url().clone());
        }
        read_span(answer.response, span).await
    });
    match read.await {
        Err(HubError::Status { status: 416, .. }) => Ok(Bytes::new()),
        outcome => outcome,
    }
}

/// Reads straight from the file store when the Hub sent us there a moment ago; `None` means to ask the Hub.
async fn read_where_found(client: &Client, request: &Request<'_>, span: Span) -> Option<Bytes> {
    let location = client.locations.get(&request.url)?;
    let at_store = Request { url: location, ..request.clone() };
    let read = async {
        let answer = client.get(&at_store).await?;
        read_span(answer.response, span).await
    };
    match client.in_time(&at_store, read).await {
        Ok(bytes) => Some(bytes),
        Err(Failed { error: HubError::Status { status: 416, .. }, .. }) => Some(Bytes::new()),
        Err(failed) => {
            tracing::debug!("asking the Hub again for a file's address: {}", failed.error);
            client.locations.forget(&request.url);
            None
        }
    }
}

/// A whole file, `None` when there is none.
pub(super) async fn read_file(
    client: &Client,
    dataset: &DatasetName,
    revision: &Revision,
    path: &str,
    bytes_max: u64,
) -> Result<Option<Bytes>, HubError> {
    let url = match file_url(client, dataset, revision, path) {
        Err(HubError::EntryNotFound(_)) => return Ok(None),
        url => url?,
    };
    let target = Target { dataset: Some(dataset), revision: Some(revision), path: Some(path) };
    let request = Request { url, target, hosts: Hosts::Any, range: None, bytes_max };
    let too_large =
        |size| Failed::for_good(HubError::TooLarge { path: path.to_owned(), size, limit: bytes_max });
    let read = client.retried(&request, |answer: Answer| async move {
        check_commit(&answer.hub_headers, revision)?;
        let linked = number(&answer.hub_headers, "x-linked-size");
        let sent = number(answer.response.headers(), CONTENT_LENGTH.as_str());
        if let Some(size) = linked.or(sent).filter(|&size| size > bytes_max) {
            return Err(too_large(size));
        }
        let body = read_body(answer.response, bytes_max).await?;
        if body.is_complete { Ok(body.bytes) } else { Err(too_large(bytes_max.saturating_add(1))) }
    });
    match read.await {
        Err(HubError::EntryNotFound(_)) => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Where readers of the API find a file.
pub(super) fn public_url(
    client: &Client,
    dataset: &DatasetName,
    revision: &Revision,
    path: &str,
) -> Option<String> {
    file_url(client, dataset, revision, path).ok().map(String::from)
}

fn file_url(
    client: &Client,
    dataset: &DatasetName,
    revision: &Revision,
    path: &str,
) -> Result<Url, HubError> {
    if !is_plain(path) {
        return Err(HubError::EntryNotFound(path.to_owned()));
    }
    let revision = quote(revision.as_str());
    client.url(&format!("/datasets/{dataset}/resolve/{revision}/{}", quote_path(path)))
}

/// The Hub names the commit that it answers for.
fn check_commit(headers: &HeaderMap, revision: &Revision) -> Result<(), Failed> {
    let commit = headers.get("x-repo-commit").and_then(|value| value.to_str().ok());
    match commit {
        Some(commit) if is_commit(revision) && commit != revision.as_str() => Err(Failed::for_good(
            HubError::Protocol(format!("the Hub answered for another commit than '{revision}'")),
        )),
        _ => Ok(()),
    }
}

async fn read_span(response: Response, span: Span) -> Result<Bytes, Failed> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        return read_partial(response, span).await;
    }
    read_from_start(response, span).await
}

async fn read_partial(response: Response, span: Span) -> Result<Bytes, Failed> {
    let url = shown(response.url());
    let protocol = || Failed::for_good(HubError::Protocol(format!("{url}: the answer holds another range")));
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let range = range.and_then(ContentRange::parse).ok_or_else(protocol)?;
    if range.first != span.offset || range.last > span.last() {
        return Err(protocol());
    }
    let expected = range.last - range.first + 1;
    let body = read_body(response, expected).await?;
    let is_end = range.total.is_none_or(|total| range.last + 1 >= total);
    if body.bytes.len() as u64 != expected || !(range.last == span.last() || is_end) {
        return Err(Failed::unreachable(format!("{url}: the answer ended early")));
    }
    Ok(body.bytes)
}

/// Takes a span from a whole body, of a server that does not know ranges or of an empty file.
async fn read_from_start(mut response: Response, span: Span) -> Result<Bytes, Failed> {
    if span.offset > RANGE_BYTES_MAX {
        let url = shown(response.url());
        return Err(Failed::for_good(HubError::Protocol(format!("{url}: ranges are not supported"))));
    }
    let mut to_skip = span.offset;
    let mut bytes = BytesMut::new();
    while let Some(mut chunk) = response.chunk().await? {
        let skipped = to_skip.min(chunk.len() as u64);
        to_skip -= skipped;
        let chunk = chunk.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
        let wanted = usize::try_from(span.length).unwrap_or(usize::MAX) - bytes.len();
        bytes.extend_from_slice(&chunk[..wanted.min(chunk.len())]);
        if bytes.len() as u64 == span.length {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// `Content-Range: bytes 0-15/100`; the total may be `*`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (span, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()?, total: total.parse().ok() };
        let is_sane =
            range.first <= range.last && range.last < u64::MAX && (range.total.is_some() || total == "*");
        is_sane.then_some(range)
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_or_refused() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        assert_eq!(ContentRange::parse("bytes 0-15/100"), range(0, 15, Some(100)));
        assert_eq!(ContentRange::parse("bytes 5-5/*"), range(5, 5, None));
        for bad in
            ["", "bytes", "bytes */100", "bytes 5-4/100", "items 0-1/2", "bytes 0-18446744073709551615/*"]
        {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }
}
