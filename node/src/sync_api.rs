//! The listener for other nodes (PROTOCOL.md section 2).
//!
//! Owns what a call passes before anything is done for it: path, token, version, a body that is one frame and comes in
//! time. The feed answers what is about the mirror, the desk the rest. A refusal is a status, words and a code; what it
//! costs is bounded by the limits, whatever the caller sends. Answers end when the node stops.

mod desk;
mod node_desk;
mod reading;
mod relays;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use futures::{FutureExt, StreamExt};
use outpost_model::limits;
use outpost_sync::frame::{self, VERSION};
use outpost_sync::http;
use outpost_sync::server::Frames;
use outpost_sync::wire::Message;
use outpost_sync::{Call, Refusal, RefusalCode, Server};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use desk::Desk;
pub use node_desk::{NodeDesk, RelayTaker};
pub use relays::{OriginRelays, PassingRelays};
pub use token::SyncToken;

use crate::http::response::{X_ERROR_CODE, error_without_code, text_no_store};
use crate::http::server::Handle;

const VERSIONS: HeaderName = HeaderName::from_static(http::VERSIONS_HEADER);
const CHOSEN_VERSION: HeaderName = HeaderName::from_static(http::VERSION_HEADER);
const FRAMES: HeaderValue = HeaderValue::from_static(http::CONTENT_TYPE);
const PREFIX: &str = "/sync/";

/// See the module.
pub struct SyncApi {
    token: Option<SyncToken>,
    server: Arc<Server>,
    desk: Arc<dyn Desk>,
    bodies: Semaphore,
    body_time: Duration,
    desk_calls: Arc<Semaphore>,
    stop: CancellationToken,
}

impl SyncApi {
    /// Answers callers that show `token`, everyone when there is none, until `stop`.
    #[must_use]
    pub fn new(
        token: Option<SyncToken>,
        server: Arc<Server>,
        desk: Arc<dyn Desk>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            token,
            server,
            desk,
            bodies: Semaphore::new(limits::SYNC_REQUESTS_READ_MAX),
            body_time: reading::TIME,
            desk_calls: Arc::new(Semaphore::new(limits::SYNC_DESK_CALLS_MAX)),
            stop,
        }
    }

    /// Gives bodies this much time instead of [`limits::SYNC_REQUEST_TIMEOUT_MS`].
    #[must_use]
    pub fn with_body_time(self, body_time: Duration) -> Self {
        Self { body_time, ..self }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/healthcheck" && matches!(*request.method(), Method::GET | Method::HEAD) {
            return text_no_store(StatusCode::OK, "ok");
        }
        let name = path.strip_prefix(PREFIX);
        let Some(call) = Call::ALL.into_iter().find(|call| name == Some(call.name())) else {
            return error_without_code(
                StatusCode::NOT_FOUND,
                "this address is for other nodes; readers find the API at the address of --listen",
            );
        };
        if *request.method() != Method::POST {
            return error_without_code(StatusCode::METHOD_NOT_ALLOWED, "a call is a POST");
        }
        match self.take(call, request).await {
            Ok(frames) => respond(frames.take_until(self.stop.clone().cancelled_owned()).boxed()),
            Err(refusal) => refuse(&refusal),
        }
    }

    async fn take(&self, call: Call, request: Request<Body>) -> Result<Frames, Refusal> {
        let (parts, body) = request.into_parts();
        self.check_token(&parts.headers)?;
        check_version(&parts.headers)?;
        let body = reading::read(&self.bodies, &parts.headers, body, self.body_time).await?;
        let message = frame::decode_one(&body)
            .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
        drop(body);
        match (call, message) {
            (Call::Lookup, Message::Lookup(lookup)) => {
                let _permit = self.desk_permit()?;
                Ok(once(&self.desk.lookup(lookup).await?.into()))
            }
            (Call::Webhook, Message::Relay(relay)) => {
                let _permit = self.desk_permit()?;
                Ok(once(&self.desk.webhook(relay).await?.into()))
            }
            (Call::Asset, Message::Asset(asset)) => {
                let permit = self.desk_permit()?;
                let frames = self.desk.asset(asset).await?;
                Ok(frames.inspect(move |_| _ = &permit).boxed())
            }
            (call, message) => self.server.answer(call, message).await,
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.token {
            Some(token) if !token.is_shown(headers.get(AUTHORIZATION)) => Err(Refusal::new(
                RefusalCode::Unauthorized,
                "the token is missing or wrong: give both nodes the same --sync-token",
            )),
            _ => Ok(()),
        }
    }

    fn desk_permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(&self.desk_calls).try_acquire_owned();
        permit.map_err(|_| Refusal::new(RefusalCode::Busy, "too many nodes ask at once"))
    }
}

impl Handle for SyncApi {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let answer = std::panic::AssertUnwindSafe(self.answer(request)).catch_unwind();
        answer.await.unwrap_or_else(|_| {
            tracing::error!("answering another node panicked");
            refuse(&Refusal::new(RefusalCode::Failed, "this node failed; its log says why"))
        })
    }
}

/// Names in the order of the caller's preference; there is one version so far.
fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let spoken = headers.get(VERSIONS).and_then(|versions| versions.to_str().ok()).unwrap_or_default();
    if spoken.split(',').any(|version| version.trim().parse() == Ok(VERSION)) {
        return Ok(());
    }
    let shown: String = spoken.chars().take(40).collect();
    Err(Refusal::new(
        RefusalCode::Version,
        format!(
            "this node speaks version {VERSION} of the sync protocol, the caller {shown:?}; upgrade the older one"
        ),
    ))
}

fn once(message: &Message) -> Frames {
    let frame = frame::encode(message);
    futures::stream::once(async move { frame }).boxed()
}

fn respond(frames: Frames) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(frames.map(Ok::<_, std::convert::Infallible>)));
    response.headers_mut().insert(CONTENT_TYPE, FRAMES);
    response.headers_mut().insert(CHOSEN_VERSION, HeaderValue::from(u16::from(VERSION)));
    response
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let status =
        StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = error_without_code(status, &refusal.words);
    response.headers_mut().insert(X_ERROR_CODE, HeaderValue::from_static(refusal.code.as_str()));
    response
}
