//! `/admin/status` of a replica: how its copy stands. What operators do, they do at the primary.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;

use super::guard::Operator;
use super::wire::ReplicaStatus;
use super::{HasToken, PATHS};
use crate::admin_token::AdminToken;
use crate::http::response::{error_without_code, json_no_store};

/// What the handlers need.
pub struct ReplicaAdmin {
    /// Expected from callers.
    pub token: AdminToken,
    /// Takes one look at the replica.
    pub look: Box<dyn Fn() -> ReplicaStatus + Send + Sync>,
}

impl HasToken for Arc<ReplicaAdmin> {
    fn token(&self) -> &AdminToken {
        &self.token
    }
}

/// The routes.
pub(super) fn routes(admin: Arc<ReplicaAdmin>) -> Router {
    let elsewhere = PATHS.iter().filter(|path| **path != "/admin/status");
    let routes = elsewhere
        .fold(Router::new(), |routes, path| routes.route(path, get(at_the_primary).post(at_the_primary)));
    routes.route("/admin/status", get(status)).with_state(admin)
}

/// One look, aside: it reads the disk.
pub(super) async fn look(admin: Arc<ReplicaAdmin>) -> Option<ReplicaStatus> {
    let look = tokio::task::spawn_blocking(move || (admin.look)()).await;
    look.inspect_err(|error| tracing::error!(%error, "looking at the replica panicked")).ok()
}

async fn status(_: Operator, State(admin): State<Arc<ReplicaAdmin>>) -> Response<Body> {
    match look(admin).await {
        Some(status) => json_no_store(StatusCode::OK, &status),
        None => error_without_code(StatusCode::INTERNAL_SERVER_ERROR, "Unexpected error."),
    }
}

async fn at_the_primary(_: Operator) -> Response<Body> {
    error_without_code(
        StatusCode::NOT_FOUND,
        "This node is a replica: queue and cache are the primary's, ask there.",
    )
}
