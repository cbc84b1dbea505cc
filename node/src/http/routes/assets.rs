//! `GET /assets/…`: the files that rows point to (http-api.md section 6).
//!
//! Owns the answer from address to bytes. Deny by default: only what a public dataset's record covers is looked up, and
//! unknown datasets are refused in the same words as private ones. Files are sent block by block, checked as they go;
//! one that turns out damaged ends the connection before its last block.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use outpost_model::{AssetPath, AssetSplit, limits};
use outpost_storage::{Asset, AssetForm, AssetHead, StorageError};

use crate::http::App;
use crate::http::encoding::Encoding;
use crate::http::error::{ApiError, Caller};
use crate::http::promises::{Demand, demand_of};
use crate::http::range::Part;
use crate::http::response::{
    X_REVISION, entity_tag, error_without_code, is_listed, render_error, text_value,
};
use crate::http::router::ASSETS_PREFIX;

/// The revision is part of the path, so what is there never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Where assets come from that are not in the node's own store.
#[async_trait]
pub trait AssetSource: Send + Sync + 'static {
    /// Sees to it that an asset can be answered with. `hops` nodes passed the question on.
    ///
    /// # Errors
    /// What to tell the reader.
    async fn fetch(&self, path: &AssetPath, hops: u8) -> Result<Fetched, ApiError>;

    /// Takes note that an asset of these rows was read here.
    fn was_read(&self, rows: &AssetSplit);
}

/// What became of an asset that was not here.
pub enum Fetched {
    /// Its bytes are on their way.
    Passing(Box<dyn PassingAsset>),
    /// There is none.
    Missing,
}

/// Bytes of an asset, in order.
pub type AssetStream = BoxStream<'static, std::io::Result<Bytes>>;

/// An asset whose bytes are elsewhere, or not all here yet.
#[async_trait]
pub trait PassingAsset: Send + Sync {
    /// What is known of it.
    fn head(&self) -> &AssetHead;

    /// A range of it, as its bytes come. The stream has all of them or ends in an error.
    ///
    /// # Errors
    /// What to tell the reader, when not even the first bytes came.
    async fn read(&self, range: Range<u64>) -> Result<AssetStream, ApiError>;
}

/// What an answer depends on beside the asset.
struct AssetRequest {
    method: Method,
    headers: HeaderMap,
    path: AssetPath,
}

/// Answers with an asset or a part of it.
pub async fn asset(State(app): State<App>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let answer = answer(&app, method, &uri, headers).await;
    answer.unwrap_or_else(|error| render_error(&error, app.read.max_ages()))
}

async fn answer(
    app: &App,
    method: Method,
    uri: &Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let text = uri.path().strip_prefix(ASSETS_PREFIX).unwrap_or_default();
    let path = AssetPath::parse(text).map_err(|_| ApiError::not_found())?;
    let caller =
        if headers.contains_key(AUTHORIZATION) { Caller::WithCredentials } else { Caller::Anonymous };
    // What is there never changes, so its age is nobody's concern; who may read it does.
    let demand = Demand { age_max: None, ..demand_of(&headers)? };
    if !app.read.is_in_state(&demand).await {
        return Err(ApiError::state_not_reached());
    }
    app.read.check_public(&path.rows().dataset, caller).await?;
    let request = Arc::new(AssetRequest { method, headers, path });
    if let Some(response) = request.answer_here(app).await? {
        return Ok(response);
    }
    let Some(source) = &app.asset_source else { return Err(ApiError::not_found()) };
    match source.fetch(&request.path, 0).await? {
        Fetched::Missing => Err(ApiError::not_found()),
        Fetched::Passing(asset) => {
            source.was_read(request.path.rows());
            request.pass_through(&*asset).await
        }
    }
}

impl AssetRequest {
    /// The answer from the node's own store, `None` when the asset is not there.
    async fn answer_here(self: &Arc<Self>, app: &App) -> Result<Option<Response<Body>>, ApiError> {
        let (assets, request) = (Arc::clone(&app.assets), Arc::clone(self));
        let work = move || match assets.open(&request.path) {
            Ok(Some(asset)) => request.respond(asset).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(failed(&request.path, &error)),
        };
        let answer = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "reading an asset panicked");
            Err(ApiError::unexpected())
        })?;
        if let (Some(_), Some(source)) = (&answer, &app.asset_source) {
            source.was_read(self.path.rows());
        }
        Ok(answer)
    }

    /// The answer while the bytes come, as the reader takes them.
    async fn pass_through(&self, asset: &dyn PassingAsset) -> Result<Response<Body>, ApiError> {
        let (mut response, wanted) = self.outline(asset.head());
        if let Some((_, range)) = wanted {
            *response.body_mut() = Body::from_stream(asset.read(range).await?);
        }
        Ok(response)
    }

    /// The whole answer. Blocks.
    fn respond(&self, asset: Asset) -> Result<Response<Body>, ApiError> {
        let (mut response, wanted) = self.outline(&asset.head);
        if let Some((form, range)) = wanted {
            *response.body_mut() = body(asset, form, range).map_err(|error| failed(&self.path, &error))?;
        }
        Ok(response)
    }

    /// The answer without its body, and the bytes that belong into it.
    fn outline(&self, head: &AssetHead) -> (Response<Body>, Option<(AssetForm, Range<u64>)>) {
        let encoding = self.encoding(head);
        let tag = entity_tag(&head.hash, encoding);
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, IMMUTABLE);
        headers.insert(ETAG, tag.clone());
        headers.insert(ACCEPT_RANGES, BYTES);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(X_REVISION, text_value(self.path.rows().revision.as_str()));
        if self.headers.get(IF_NONE_MATCH).is_some_and(|known| is_listed(known, &tag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return (response, None);
        }
        let (form, length) = match (encoding, head.zstd_bytes) {
            (Encoding::Zstd, Some(length)) => (AssetForm::Zstd, length),
            _ => (AssetForm::Identity, head.bytes),
        };
        let range = match Part::of(&self.method, &self.headers, &tag, length) {
            Part::Whole => 0..length,
            Part::Beyond => return (beyond(length), None),
            Part::Bytes(range) => {
                let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                headers.insert(CONTENT_RANGE, text_value(&text));
                range
            }
        };
        headers.insert(CONTENT_TYPE, content_type(head));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        if let Some(coding) = encoding.content_coding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if headers.contains_key(CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        let wanted = (self.method != Method::HEAD).then_some((form, range));
        (response, wanted)
    }

    /// The zstd form goes to those who take it and want no range: ranges count the bytes of the file itself.
    fn encoding(&self, head: &AssetHead) -> Encoding {
        let accepted = self.headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let is_part = self.method == Method::GET && self.headers.contains_key(RANGE);
        match Encoding::negotiate(accepted) {
            Encoding::Zstd if head.zstd_bytes.is_some() && !is_part => Encoding::Zstd,
            _ => Encoding::Identity,
        }
    }
}

/// Only kinds that a browser shows without running anything keep their type: the files are those of strangers.
fn content_type(head: &AssetHead) -> HeaderValue {
    let given = head.content_type.as_str();
    let is_media = ["image/", "audio/", "video/"].iter().any(|kind| given.starts_with(kind));
    let is_passive = (is_media && !given.contains("svg")) || given == "application/pdf";
    HeaderValue::from_str(given).ok().filter(|_| is_passive).unwrap_or(OCTET_STREAM)
}

fn beyond(length: u64) -> Response<Body> {
    let message = "The requested range lies behind the end of the file.";
    let mut response = error_without_code(StatusCode::RANGE_NOT_SATISFIABLE, message);
    response.headers_mut().insert(CONTENT_RANGE, text_value(&format!("bytes */{length}")));
    response
}

/// One block is read at once, so that its damage is still an error answer; more are read as the reader takes them.
fn body(asset: Asset, form: AssetForm, range: Range<u64>) -> Result<Body, StorageError> {
    let length = range.end - range.start;
    let mut reader = asset.body.read(form, range)?;
    if length <= limits::ASSET_BLOCK_BYTES as u64 {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let read = reader.read_to_end(&mut bytes);
        return match read {
            Ok(_) => Ok(Body::from(bytes)),
            Err(error) => Err(StorageError::Damaged(error.to_string())),
        };
    }
    Ok(Body::from_stream(blocks(reader)))
}

/// What a reader has, block by block as it is taken.
pub(crate) fn blocks(reader: Reader) -> AssetStream {
    futures::stream::try_unfold(reader, next_block).boxed()
}

pub(crate) type Reader = Box<dyn Read + Send>;

async fn next_block(mut reader: Reader) -> std::io::Result<Option<(Bytes, Reader)>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut block = Vec::with_capacity(limits::ASSET_BLOCK_BYTES);
        reader.by_ref().take(limits::ASSET_BLOCK_BYTES as u64).read_to_end(&mut block)?;
        Ok::<_, std::io::Error>((block, reader))
    });
    let (block, reader) = read.await.map_err(std::io::Error::other)?.inspect_err(|error| {
        tracing::error!(%error, "failed to read an asset to its end; a scrub drops it when it is damaged");
    })?;
    Ok((!block.is_empty()).then(|| (Bytes::from(block), reader)))
}

fn failed(path: &AssetPath, error: &StorageError) -> ApiError {
    tracing::error!(%path, %error, "failed to read an asset; a scrub drops it when it is damaged");
    ApiError::unexpected()
}
