//! The listener of a process that serves no readers: health check, readiness and metrics, nothing else.
//!
//! Owns its three paths. Anything else is 404, a method other than GET and HEAD 405.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, Response, StatusCode};

use super::Readiness;
use super::response::{text, text_no_store};
use super::routes::technical::{EXPOSITION, readiness_text};
use super::server::Handle;
use crate::metrics::Metrics;

/// What answers.
pub struct Probes {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

impl Probes {
    /// The paths.
    pub const PATHS: [&'static str; 3] = ["/healthcheck", "/ready", "/metrics"];

    /// Over the metrics and the readiness of a process.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Self {
        Self { metrics, readiness }
    }

    fn answer(&self, path: &str) -> Response<Body> {
        match path {
            "/healthcheck" => text_no_store(StatusCode::OK, "ok"),
            "/ready" => readiness_text(&self.readiness),
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render(None));
                response.headers_mut().insert(CONTENT_TYPE, EXPOSITION);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "Not Found"),
        }
    }
}

impl Handle for Probes {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let method = request.method();
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        }
        let mut response = self.answer(request.uri().path());
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn ask(probes: &Probes, method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = probes.handle(request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_worker_answers_probes_and_nothing_else() {
        let readiness = Arc::new(Readiness::default());
        let probes = Probes::new(Metrics::of_worker(&Probes::PATHS), Arc::clone(&readiness));
        assert_eq!(ask(&probes, Method::GET, "/healthcheck").await, (200, "ok".to_owned()));
        assert_eq!(ask(&probes, Method::HEAD, "/healthcheck").await, (200, String::new()));
        assert_eq!(ask(&probes, Method::GET, "/ready").await.0, 200);
        readiness.start_draining();
        assert_eq!(ask(&probes, Method::GET, "/ready").await.0, 503);
        assert_eq!(ask(&probes, Method::GET, "/healthcheck").await.0, 200);
        assert_eq!(ask(&probes, Method::GET, "/splits?dataset=u/d").await.0, 404);
        assert_eq!(ask(&probes, Method::POST, "/healthcheck").await.0, 405);
        let (status, text) = ask(&probes, Method::GET, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("outpost_hub_read_bytes_total 0"), "{text}");
        // What is stored is the primary's to tell.
        assert!(!text.contains("outpost_datasets") && !text.contains("responses_in_cache_total"), "{text}");
    }
}
