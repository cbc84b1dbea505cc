//! Endpoints for operators and load balancers, and what is answered outside the routes (http-api.md sections 0.2
//! and 7).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use outpost_storage::{Authority, QueueStats};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::http::response::{text, text_no_store};
use crate::http::{App, Readiness};
use crate::metrics::StoreReading;

/// Type of the Prometheus text.
pub(in crate::http) const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const SIZE_AGE: Duration = Duration::from_secs(10);
/// How long a scrape waits for the authority, below the 10 seconds that Prometheus waits for a node.
const STATS_WAIT: Duration = Duration::from_secs(2);

/// What `/metrics` reads from the stores when scraped.
pub struct StoreGauges {
    authority: Option<Arc<dyn Authority>>,
    data_dir: PathBuf,
    /// Walking the directory is kept rare however often someone scrapes.
    size: Mutex<Option<(Instant, u64)>>,
}

impl StoreGauges {
    /// Over the authority, of a node that has one, and the directory that holds its files.
    #[must_use]
    pub fn new(authority: Option<Arc<dyn Authority>>, data_dir: PathBuf) -> Self {
        Self { authority, data_dir, size: Mutex::new(None) }
    }

    /// `None` of a node without an authority, or when it does not tell.
    async fn stats(&self) -> Option<QueueStats> {
        match timeout(STATS_WAIT, self.authority.as_ref()?.stats()).await {
            Ok(Ok(stats)) => Some(stats),
            Ok(Err(error)) => {
                tracing::error!(%error, "failed to count what is stored, metrics are sent without it");
                None
            }
            Err(_) => {
                tracing::error!("counting what is stored takes too long, metrics are sent without it");
                None
            }
        }
    }

    async fn store_bytes(&self) -> u64 {
        let mut size = self.size.lock().await;
        match *size {
            Some((at, bytes)) if at.elapsed() < SIZE_AGE => bytes,
            _ => {
                let data_dir = self.data_dir.clone();
                let walk = tokio::task::spawn_blocking(move || directory_bytes(data_dir));
                let bytes = walk.await.unwrap_or(0);
                *size = Some((Instant::now(), bytes));
                bytes
            }
        }
    }
}

/// Bytes of all files below a directory; what cannot be read counts as nothing.
fn directory_bytes(root: PathBuf) -> u64 {
    let mut bytes = 0;
    let mut pending = vec![root];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(kind) if kind.is_file() => bytes += entry.metadata().map_or(0, |data| data.len()),
                _ => {}
            }
        }
    }
    bytes
}

/// `GET /healthcheck`: the process answers.
pub async fn healthcheck() -> Response<Body> {
    text_no_store(StatusCode::OK, "ok")
}

/// `GET /ready`: whether a load balancer should send requests here.
pub async fn ready(State(app): State<App>) -> Response<Body> {
    if let Some(cause) = app.read.vantage().unready() {
        return text_no_store(StatusCode::SERVICE_UNAVAILABLE, cause);
    }
    readiness_text(&app.readiness)
}

/// What `/ready` answers.
pub(in crate::http) fn readiness_text(readiness: &Readiness) -> Response<Body> {
    if readiness.is_draining() {
        text_no_store(StatusCode::SERVICE_UNAVAILABLE, "shutting down")
    } else {
        text_no_store(StatusCode::OK, "ready")
    }
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(State(app): State<App>) -> Response<Body> {
    let stats = app.gauges.stats().await;
    let reading = StoreReading {
        stats,
        store_bytes: app.gauges.store_bytes().await,
        position_seq: app.read.position().seq,
        ready_bytes: app.read.cache().bytes(),
        feed: app.feed.as_ref().and_then(|feed| feed.look()),
        replica: app.admin.look_at_replica().await,
    };
    let mut response = text(StatusCode::OK, app.metrics.render(Some(&reading)));
    response.headers_mut().insert(CONTENT_TYPE, EXPOSITION);
    response
}

/// Any path that is not routed.
pub async fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "Not Found")
}

/// A routed path with a method that it does not have; the router adds `Allow`.
pub async fn method_not_allowed() -> Response<Body> {
    text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
