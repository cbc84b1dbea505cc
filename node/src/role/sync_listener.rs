//! Starting the listener for other nodes, the same way in every role that has one.
//!
//! Owns what happens when it cannot listen: an address that somebody asked for ends the node, the default one that is
//! taken is told in a sentence, because a node without followers is whole.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use outpost_sync::Server;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::SyncListener;
use crate::http::server;
use crate::sync_api::{Desk, SyncApi};

/// A socket for other nodes.
pub struct SyncSocket {
    listener: TcpListener,
    /// Where it is.
    pub address: SocketAddr,
}

/// Opens the socket; `None` when the node has none.
///
/// # Errors
/// When an address that was asked for cannot be bound.
pub async fn open(config: Option<&SyncListener>) -> anyhow::Result<Option<SyncSocket>> {
    let Some(config) = config else { return Ok(None) };
    match server::bind(config.listen).await {
        Ok(listener) => {
            let address = listener.local_addr().context("failed to read the address for other nodes")?;
            Ok(Some(SyncSocket { listener, address }))
        }
        Err(error) if !config.is_given => {
            tracing::warn!(
                %error,
                "no replica can follow this node: the default address for other nodes, {}, cannot be used; give another \
                 --sync-listen, or --sync-listen off",
                config.listen
            );
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("failed to listen on {} for other nodes; choose another --sync-listen", config.listen)
        }),
    }
}

impl SyncSocket {
    /// Serves until `stop`.
    pub fn serve(
        self,
        config: &SyncListener,
        server: Arc<Server>,
        desk: Arc<dyn Desk>,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let api = SyncApi::new(config.token.clone(), server, desk, stop.clone());
        tracing::info!(sync_address = %self.address, "other nodes follow this one at {}", self.address);
        tokio::spawn(server::serve(self.listener, Arc::new(api), stop))
    }
}
