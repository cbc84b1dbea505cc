//! What every role that serves readers has: loops that end with it, and a token for its operators.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin_token::AdminToken;

/// Loops that run until the node stops.
#[derive(Default)]
pub(super) struct Loops {
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Loops {
    pub(super) fn start(&self, body: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(self.stop.clone().run_until_cancelled_owned(body));
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Waits for servers that were told to stop, no longer than `grace`.
pub(super) async fn close(servers: [Option<JoinHandle<()>>; 2], grace: Duration) {
    let all = async {
        for server in servers.into_iter().flatten() {
            if let Err(error) = server.await {
                tracing::error!(%error, "an HTTP server ended by itself");
            }
        }
    };
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::info!("requests that are being answered are cut off");
    }
}

/// The operator's token, or the one in the data directory.
///
/// # Errors
/// When there is no place to keep one.
pub(super) fn admin_token(given: Option<&AdminToken>, data_dir: &Path) -> anyhow::Result<AdminToken> {
    if let Some(token) = given {
        return Ok(token.clone());
    }
    let file = AdminToken::file(data_dir);
    AdminToken::of_directory(data_dir).with_context(|| {
        format!("failed to keep a token for operators in {}; give one with --admin-token", file.display())
    })
}
