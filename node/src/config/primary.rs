//! What a primary needs to know.

use std::path::PathBuf;

use outpost_storage::AssetPlace;

use super::fly::Fly;
use super::store::{StorePlace, resolve_assets};
use super::sync::SyncListener;
use super::values::{self, ConfigError, Environment};
use super::{Guards, Limits, Shared, Workers};
use crate::admin_token::AdminToken;
use crate::cli::Cli;
use crate::http::server::Listen;
use crate::support::BlockList;

const WORKERS: &str = "datasets=1,splits=2";

/// Everything that a primary needs to know.
#[derive(Debug, Clone)]
pub struct PrimaryConfig {
    /// Hub, workers and limits.
    pub shared: Shared,
    /// Address of the public API.
    pub listen: Listen,
    /// Base of asset URLs, without a trailing slash; `None` for `http://localhost:<port>`.
    pub public_url: Option<String>,
    /// The node's directory.
    pub data_dir: PathBuf,
    /// Where cache and queue live.
    pub store: StorePlace,
    /// Where assets are kept; `None` for under `data_dir`.
    pub assets: Option<AssetPlace>,
    /// Expected from senders of webhooks.
    pub webhook_secret: Option<String>,
    /// Expected from operators; `None` for the one that the node makes in its directory.
    pub admin_token: Option<AdminToken>,
    /// The listener for other nodes.
    pub sync: Option<SyncListener>,
    /// Datasets that are not served.
    pub blocked: BlockList,
}

impl PrimaryConfig {
    pub(super) fn resolve(
        cli: &Cli,
        environment: &Environment<'_>,
        fly: Option<&Fly>,
    ) -> Result<Self, ConfigError> {
        fly.map_or(Ok(()), Fly::check_primary_region)?;
        let role = "primary; use --workers for its workers";
        super::refuse_foreign("--queue", !cli.queue.is_empty(), role, "worker")?;
        super::refuse_foreign("--upstream", !cli.upstream.is_empty(), "primary", "replica")?;
        super::replica::refuse_mirror_options(cli, "primary")?;
        let store = StorePlace::resolve(cli, environment)?;
        let assets = resolve_assets(cli)?;
        Ok(Self {
            listen: values::parse_listen(cli.listen.as_deref())?,
            public_url: resolve_public_url(cli, fly)?,
            data_dir: super::resolve_data_dir(cli)?,
            shared: resolve_shared(cli, environment)?,
            webhook_secret: environment.secret(cli.webhook_secret.as_deref(), &["API_HF_WEBHOOK_SECRET"]),
            admin_token: values::parse_admin_token(cli.admin_token.as_deref())?,
            sync: SyncListener::of_primary(cli, fly)?,
            blocked: super::resolve_blocked(environment)?,
            store,
            assets,
        })
    }
}

/// The host name that is given, else that of the app where the platform tells it.
pub(super) fn resolve_public_url(cli: &Cli, fly: Option<&Fly>) -> Result<Option<String>, ConfigError> {
    let url = cli.public_url.clone().or_else(|| fly.map(Fly::public_url));
    url.as_deref().map(values::parse_public_url).transpose()
}

fn resolve_shared(cli: &Cli, environment: &Environment<'_>) -> Result<Shared, ConfigError> {
    let workers = values::parse_workers(cli.workers.as_deref().unwrap_or(WORKERS))?;
    let workers = workers.into_iter().map(|(queue, count)| Workers { queues: vec![queue], count });
    Ok(Shared {
        hub: super::resolve_hub(cli, environment)?,
        hub_token: super::resolve_hub_token(cli, environment),
        difficulty: super::resolve_difficulty(environment)?,
        workers: workers.collect(),
        // A primary also serves: its workers go on at the pace that memory allows, unless the operator says otherwise.
        guards: Guards::resolve(environment, 0.0)?,
        limits: Limits::resolve(environment)?,
    })
}
