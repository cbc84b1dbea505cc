//! What every request passes through on its way to a handler and back.
//!
//! Owns, from the outside in: preflights, counting, the bound on queries, slash redirects (http-api.md section 0.2), the
//! bound on requests in flight, the catch of a handler's panic, and the headers that every response has. A panic costs its request only.

use std::panic::AssertUnwindSafe;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::header::{LOCATION, ORIGIN, RETRY_AFTER, VARY};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use futures::FutureExt;
use outpost_model::{Position, limits};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::error::ApiError;
use super::response::{
    VARY_ENCODING, X_SYNC_POSITION, X_SYNC_STALENESS, render_error, set_position, set_staleness, text,
    text_no_store,
};
use super::{App, cors, router};
use crate::metrics::Counting;

const VARY_ENCODING_ORIGIN: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");

/// The outermost layer of the API, and the API as one function.
pub struct Frame {
    app: App,
    router: Router,
    in_flight: Semaphore,
    /// The last position and its header: formatting one for each response would cost more than reading it.
    position: RwLock<Option<(Position, HeaderValue)>>,
}

impl Frame {
    /// The API over this state.
    #[must_use]
    pub fn new(app: App) -> Self {
        let router = router::router(&app);
        let in_flight = Semaphore::new(limits::REQUESTS_IN_FLIGHT_MAX);
        Self { app, router, in_flight, position: RwLock::new(None) }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        if let Some(mut response) = cors::preflight(request.method(), request.headers()) {
            self.set_state(response.headers_mut());
            return response;
        }
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path();
        let counting = self.app.metrics.start(&method, router::template_of(path));
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = match refuse_early(request.uri()) {
            Some(response) => response,
            None => self.answer(request, counting.as_ref()).await,
        };
        self.finish_headers(response.headers_mut(), origin);
        if let Some(counting) = counting {
            counting.finish(response.status(), started.elapsed());
        }
        response
    }

    async fn answer(&self, request: Request<Body>, counting: Option<&Counting<'_>>) -> Response<Body> {
        let Ok(_permit) = self.in_flight.try_acquire() else { return busy() };
        let answer = AssertUnwindSafe(self.router.clone().oneshot(request));
        match answer.catch_unwind().await {
            Ok(Ok(response)) => response,
            Err(panic) => {
                if let Some(counting) = counting {
                    counting.panicked();
                }
                tracing::error!(panic = panic_text(&*panic), "a handler panicked");
                render_error(&ApiError::unexpected(), self.app.read.max_ages())
            }
        }
    }

    fn finish_headers(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        self.set_state(headers);
        match origin {
            Some(origin) => {
                headers.insert(VARY, VARY_ENCODING_ORIGIN);
                cors::allow(origin, headers);
            }
            None => {
                headers.insert(VARY, VARY_ENCODING);
            }
        }
    }

    /// What state the answer is of, unless it says so itself. Looked at once the answer is there: the reader has seen
    /// nothing newer.
    fn set_state(&self, headers: &mut HeaderMap) {
        if headers.get(X_SYNC_POSITION).is_none_or(HeaderValue::is_empty) {
            self.set_known_position(headers, self.app.read.seen());
        }
        let vantage = self.app.read.vantage();
        if vantage.is_copy() && !headers.contains_key(X_SYNC_STALENESS) {
            set_staleness(headers, vantage.age());
        }
    }

    fn set_known_position(&self, headers: &mut HeaderMap, position: Position) {
        if let Some((known, value)) = &*self.position.read().unwrap_or_else(PoisonError::into_inner)
            && *known == position
        {
            headers.insert(X_SYNC_POSITION, value.clone());
            return;
        }
        set_position(headers, position);
        let value = headers.get(X_SYNC_POSITION).cloned();
        *self.position.write().unwrap_or_else(PoisonError::into_inner) = value.map(|value| (position, value));
    }
}

/// The answer to one request too many.
fn busy() -> Response<Body> {
    let mut response = text_no_store(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What is answered without a handler: too long queries, and paths that are routed without their trailing slash.
fn refuse_early(uri: &Uri) -> Option<Response<Body>> {
    if uri.query().is_some_and(|query| query.len() > limits::QUERY_BYTES_MAX) {
        return Some(text(StatusCode::URI_TOO_LONG, "URI Too Long"));
    }
    let slashless = uri.path().strip_suffix('/')?;
    if !router::paths().contains(&slashless) {
        return None;
    }
    let target = uri.query().map_or_else(|| slashless.to_owned(), |query| format!("{slashless}?{query}"));
    let location = HeaderValue::try_from(target).ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}
