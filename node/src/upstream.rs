//! The nodes that a replica follows, as readers and operators need them.
//!
//! Owns the HTTP client of calls between nodes and the one question that is asked for a reader. The upstreams are asked
//! in order of preference; the first that answers decides.

mod assets;
mod lookup;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use outpost_model::limits;
use outpost_sync::Upstream;
use outpost_sync::http::{HttpUpstream, parse_address};

pub use assets::{AssetBounds, AssetFetcher, Brought};
pub use lookup::ReplicaMisses;

use crate::sync_api::SyncToken;

/// The upstreams at these addresses, each with connections of its own.
///
/// # Errors
/// When an address cannot be used.
pub fn connect(addresses: &[String], token: Option<&SyncToken>) -> anyhow::Result<Vec<Arc<dyn Upstream>>> {
    addresses
        .iter()
        .map(|address| connect_to(address, token).with_context(|| format!("--upstream {address}")))
        .collect()
}

fn connect_to(address: &str, token: Option<&SyncToken>) -> anyhow::Result<Arc<dyn Upstream>> {
    let address = parse_address(address)?;
    let client = outpost_hub::client_builder(&address)?
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_millis(limits::SYNC_CALL_TIMEOUT_MS / 2))
        .tcp_nodelay(true)
        .build()?;
    let token = token.map(|token| token.reveal().to_owned());
    Ok(Arc::new(HttpUpstream::new(address, token, client)))
}
