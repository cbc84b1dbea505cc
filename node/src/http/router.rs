//! Table of contents of the public API: every path and its handler, nothing else.

use axum::Router;
use axum::routing::{get, post};

use super::App;
use super::routes::{rows, steps, technical, webhook};

/// Every routed path.
pub const PATHS: [&str; 8] =
    ["/splits", "/first-rows", "/is-valid", "/rows", "/webhook", "/healthcheck", "/ready", "/metrics"];

/// The routes over their state.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/splits", get(steps::splits))
        .route("/first-rows", get(steps::first_rows))
        .route("/is-valid", get(steps::is_valid))
        .route("/rows", get(rows::rows))
        .route("/webhook", post(webhook::webhook))
        .route("/healthcheck", get(technical::healthcheck))
        .route("/ready", get(technical::ready))
        .route("/metrics", get(technical::metrics))
        .fallback(technical::not_found)
        .method_not_allowed_fallback(technical::method_not_allowed)
        .with_state(app)
}
