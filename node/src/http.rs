//! The public HTTP API.
//!
//! Owns everything between a connection and the read path or the intake. `router` is the table of contents, `frame`
//! what every request passes through, `routes` the handlers: extract, one call, respond. Refuses to know where state
//! lives: stores are reached through traits.

pub mod cors;
pub mod encoding;
pub mod error;
pub mod frame;
mod paced;
pub mod params;
pub mod probes;
pub mod promises;
pub mod range;
pub mod read;
pub mod ready_cache;
pub mod render;
pub mod response;
pub mod router;
pub mod routes;
pub mod server;
pub mod stalling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outpost_storage::AssetStore;

use crate::feed::FeedView;
use crate::metrics::Metrics;

use read::ReadState;
use routes::admin::Admin;
use routes::assets::AssetSource;
use routes::technical::StoreGauges;
use routes::webhook::WebhookState;

/// What the handlers of a node share, built once by its role.
pub struct AppState {
    /// The read path.
    pub read: ReadState,
    /// The files that rows point to.
    pub assets: Arc<dyn AssetStore>,
    /// Where assets come from that are not here, on a replica.
    pub asset_source: Option<Arc<dyn AssetSource>>,
    /// The way in for webhooks.
    pub webhook: WebhookState,
    /// What operators see and do.
    pub admin: Admin,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What `/metrics` shows of the stores.
    pub gauges: StoreGauges,
    /// What fills the mirror, when that is not the authority itself.
    pub feed: Option<Arc<dyn FeedView>>,
    /// What `/ready` says.
    pub readiness: Arc<Readiness>,
}

/// Shared between all handlers.
pub type App = Arc<AppState>;

/// Whether a load balancer should send requests here.
#[derive(Debug, Default)]
pub struct Readiness {
    draining: AtomicBool,
}

impl Readiness {
    /// From now on `/ready` says no, so that load balancers go elsewhere while open requests end.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the node is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
