//! Table of contents of the public API: every path and its handler, nothing else.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::App;
use super::routes::{admin, assets, rows, steps, technical, webhook};

/// What the path of every asset starts with.
pub const ASSETS_PREFIX: &str = "/assets/";
const ASSETS: &str = "/assets/{*path}";

/// Every routed path for readers and the Hub.
pub const PATHS: [&str; 9] = [
    "/splits",
    "/first-rows",
    "/is-valid",
    "/rows",
    ASSETS,
    "/webhook",
    "/healthcheck",
    "/ready",
    "/metrics",
];

/// Every routed path, those of the admin endpoints included.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    PATHS.into_iter().chain(admin::PATHS).collect()
}

/// The routed path that a request's path would be answered by, when it is routed.
#[must_use]
pub fn template_of(path: &str) -> &str {
    if path.starts_with(ASSETS_PREFIX) { ASSETS } else { admin::template_of(path) }
}

/// The routes over their state.
pub fn router(app: &App) -> Router {
    Router::new()
        .route("/splits", get(steps::splits))
        .route("/first-rows", get(steps::first_rows))
        .route("/is-valid", get(steps::is_valid))
        .route("/rows", get(rows::rows))
        .route(ASSETS, get(assets::asset))
        .route("/webhook", post(webhook::webhook))
        .route("/healthcheck", get(technical::healthcheck))
        .route("/ready", get(technical::ready))
        .route("/metrics", get(technical::metrics))
        .fallback(technical::not_found)
        .method_not_allowed_fallback(technical::method_not_allowed)
        .with_state(Arc::clone(app))
        .merge(admin::routes(app))
}
