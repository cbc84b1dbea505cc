//! `POST /webhook`: news from the Hub (http-api.md section 4).
//!
//! Owns the order of the checks and the secret. Answers `ok` only when the store said that the news is on disk.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use outpost_model::webhook::WebhookEvent;
use outpost_model::{ErrorCode, Position, limits};
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::http::App;
use crate::http::response::{X_ERROR_CODE, json_no_store, set_position};
use crate::intake::{Intake, Taken};

/// What the handler needs.
pub struct WebhookState {
    /// Expected in `X-Webhook-Secret`; without one every call is refused.
    pub secret: Option<String>,
    /// Takes the events.
    pub taker: Arc<dyn WebhookTaker>,
}

/// Where webhooks go.
#[async_trait]
pub trait WebhookTaker: Send + Sync + 'static {
    /// Takes an event; when this returns, it is on disk. `body` is what the event was read from.
    ///
    /// # Errors
    /// [`NotTaken`]; the sender should try again.
    async fn take(&self, event: WebhookEvent, body: Bytes) -> Result<Taken, NotTaken>;
}

/// Why an event was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// Too many wait already.
    Full,
    /// There is no room on the disk to keep it.
    NoDisk,
    /// Something failed, which the log tells.
    Failed(String),
}

#[async_trait]
impl WebhookTaker for Intake {
    async fn take(&self, event: WebhookEvent, _body: Bytes) -> Result<Taken, NotTaken> {
        Self::take(self, event).await.map_err(|error| NotTaken::Failed(error.to_string()))
    }
}

/// A call that was not taken.
struct Refused {
    status: StatusCode,
    error: String,
    position: Option<Position>,
}

impl Refused {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), position: None }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Takes one event.
pub async fn webhook(State(app): State<App>, request: Request<Body>) -> Response<Body> {
    let (status, error, position) = match receive(&app.webhook, request).await {
        Ok(position) => (StatusCode::OK, None, position),
        Err(refused) => (refused.status, Some(refused.error), refused.position),
    };
    let word = if error.is_none() { "ok" } else { "error" };
    let mut response = json_no_store(status, &Answer { status: word, error: error.as_deref() });
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = HeaderValue::from(limits::REPLICA_RETRY_AFTER_S);
        response.headers_mut().insert(RETRY_AFTER, seconds);
        response.headers_mut().insert(X_ERROR_CODE, HeaderValue::from_static(ErrorCode::OutboxFull.as_str()));
    }
    if let Some(position) = position {
        set_position(response.headers_mut(), position);
    }
    response
}

async fn receive(state: &WebhookState, request: Request<Body>) -> Result<Option<Position>, Refused> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body).await?;
    let event = WebhookEvent::parse(&body)
        .map_err(|invalid| Refused::new(StatusCode::BAD_REQUEST, invalid.to_string()))?;
    if !is_trusted(state.secret.as_deref(), &parts.headers) {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "The sender is not trusted. Retry with a valid secret in the X-Webhook-Secret header.",
        ));
    }
    match state.taker.take(event, body).await {
        Ok(Taken::Ignored | Taken::Queued) => Ok(None),
        Ok(Taken::Applied(submitted)) => Ok(Some(submitted.position)),
        Ok(Taken::NotSupported(submitted)) => Err(Refused {
            position: Some(submitted.position),
            ..Refused::new(StatusCode::BAD_REQUEST, "the dataset is not supported")
        }),
        Err(NotTaken::Full) => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many webhooks wait for the primary, which cannot be reached; retry later",
        )),
        Err(NotTaken::NoDisk) => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the disk of this node is full, so that the webhook cannot be kept for the primary; make room, or send it to \
             another node",
        )),
        Err(NotTaken::Failed(error)) => {
            tracing::error!(error, "failed to take a webhook, its sender should retry");
            Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected error"))
        }
    }
}

/// Reads at most [`limits::WEBHOOK_BODY_BYTES_MAX`] bytes within [`limits::REQUEST_BODY_TIMEOUT_MS`].
async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Refused> {
    let too_large = || Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits::WEBHOOK_BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let time = Duration::from_millis(limits::REQUEST_BODY_TIMEOUT_MS);
    match tokio::time::timeout(time, to_bytes(body, limits::WEBHOOK_BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

fn is_trusted(secret: Option<&str>, headers: &HeaderMap) -> bool {
    let (Some(secret), Some(given)) = (secret, headers.get("x-webhook-secret")) else { return false };
    secret.as_bytes().ct_eq(given.as_bytes()).into()
}
