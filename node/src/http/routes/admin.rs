//! `/admin/*`: what operators see and do, behind the admin token (http-api.md section 7.3).
//!
//! Owns the routes of dataset-viewer's admin service that make sense here, under its paths and with its fields, and a few
//! of our own. The token is looked at before anything else. Every listing is bounded; a store that fails is a 500 with
//! the cause in the log.

mod actions;
mod guard;
mod listings;
mod params;
mod replica;
mod status;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::routing::{get, post};
use outpost_model::TimestampMs;
use outpost_storage::{Authority, Operations};
use tokio::sync::mpsc;

use crate::admin_token::AdminToken;
use crate::http::App;
use crate::intake::Intake;
pub use replica::ReplicaAdmin;

/// Where a listing goes on, on answers that have no place for it in their body.
pub const X_NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// Every routed path.
pub const PATHS: [&str; 10] = [
    "/admin/status",
    "/admin/blocked-datasets",
    "/admin/pending-jobs",
    "/admin/dataset-status",
    CACHE_REPORTS,
    CACHE_REPORTS_WITH_CONTENT,
    "/admin/recreate-dataset",
    FORCE_REFRESH,
    "/admin/cancel",
    "/admin/backfill",
];
const CACHE_REPORTS: &str = "/admin/cache-reports/{kind}";
const CACHE_REPORTS_WITH_CONTENT: &str = "/admin/cache-reports-with-content/{kind}";
const FORCE_REFRESH: &str = "/admin/force-refresh/{job_type}";

/// What the handlers need.
pub struct AdminState {
    /// Expected from callers.
    pub token: AdminToken,
    /// Listings and counts.
    pub operations: Arc<dyn Operations>,
    /// The authority's own position.
    pub authority: Arc<dyn Authority>,
    /// Takes what operators ask for.
    pub intake: Arc<Intake>,
    /// Asks maintenance for a walk over all datasets.
    pub backfill: mpsc::Sender<BackfillRequest>,
    /// What the node says of itself.
    pub node: NodeFacts,
    /// Reports of one page.
    pub pages: AdminPages,
}

/// What operators reach on a node, by its role.
pub enum Admin {
    /// A node with an authority: everything.
    Authority(Arc<AdminState>),
    /// A replica: how it stands.
    Replica(Arc<ReplicaAdmin>),
}

impl Admin {
    /// How the node stands when it is a replica.
    pub async fn look_at_replica(&self) -> Option<wire::ReplicaStatus> {
        match self {
            Self::Authority(_) => None,
            Self::Replica(admin) => replica::look(Arc::clone(admin)).await,
        }
    }
}

/// What the handlers of a node with an authority share.
#[derive(Clone)]
pub(super) struct AdminApp {
    admin: Arc<AdminState>,
    node: App,
}

/// A state that knows the token.
trait HasToken {
    fn token(&self) -> &AdminToken;
}

impl HasToken for AdminApp {
    fn token(&self) -> &AdminToken {
        &self.admin.token
    }
}

/// An operator wants missing work planned for every dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillRequest {
    /// Whether stored transient errors are due as well.
    pub retry_errors: bool,
}

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// Its role.
    pub role: &'static str,
    /// Where its authority is, without credentials.
    pub store: String,
    /// When it started.
    pub started_at: TimestampMs,
}

/// Sizes of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminPages {
    /// `ADMIN_CACHE_REPORTS_NUM_RESULTS`.
    pub reports: usize,
    /// `ADMIN_CACHE_REPORTS_WITH_CONTENT_NUM_RESULTS`.
    pub reports_with_content: usize,
}

impl Default for AdminPages {
    fn default() -> Self {
        Self { reports: 100, reports_with_content: 100 }
    }
}

/// The routed path that a request's path would be answered by.
#[must_use]
pub fn template_of(path: &str) -> &str {
    let with_name = [CACHE_REPORTS, CACHE_REPORTS_WITH_CONTENT, FORCE_REFRESH];
    let fits = |template: &&&str| {
        let prefix = template.split('{').next().unwrap_or(template);
        path.strip_prefix(prefix).is_some_and(|name| !name.is_empty() && !name.contains('/'))
    };
    with_name.iter().find(fits).copied().unwrap_or(path)
}

/// The routes of a node.
pub fn routes(app: &App) -> Router {
    match &app.admin {
        Admin::Authority(admin) => {
            authority_routes().with_state(AdminApp { admin: Arc::clone(admin), node: Arc::clone(app) })
        }
        Admin::Replica(admin) => replica::routes(Arc::clone(admin)),
    }
}

fn authority_routes() -> Router<AdminApp> {
    Router::new()
        .route("/admin/status", get(status::status))
        .route("/admin/blocked-datasets", get(listings::blocked_datasets))
        .route("/admin/pending-jobs", get(listings::pending_jobs))
        .route("/admin/dataset-status", get(listings::dataset_status))
        .route(CACHE_REPORTS, get(listings::cache_reports))
        .route(CACHE_REPORTS_WITH_CONTENT, get(listings::cache_reports_with_content))
        .route("/admin/recreate-dataset", post(actions::recreate_dataset))
        .route(FORCE_REFRESH, post(actions::force_refresh))
        .route("/admin/cancel", post(actions::cancel))
        .route("/admin/backfill", post(actions::backfill))
}

fn cursor_header(cursor: &str) -> HeaderValue {
    HeaderValue::try_from(cursor).expect("cursors are letters and digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_name_counts_as_its_template() {
        for (path, template) in [
            ("/admin/cache-reports/split-first-rows", CACHE_REPORTS),
            ("/admin/cache-reports-with-content/split-first-rows", CACHE_REPORTS_WITH_CONTENT),
            ("/admin/force-refresh/split-first-rows", FORCE_REFRESH),
            ("/admin/status", "/admin/status"),
            ("/admin/cache-reports/", "/admin/cache-reports/"),
            ("/admin/cache-reports/a/b", "/admin/cache-reports/a/b"),
        ] {
            assert_eq!(template_of(path), template);
        }
    }
}
