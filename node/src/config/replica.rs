//! What a replica needs to know.

use std::path::PathBuf;
use std::time::Duration;

use outpost_model::limits;
use outpost_sync::http::parse_address;

use super::fly::Fly;
use super::primary::resolve_public_url;
use super::sync::{self, SyncListener};
use super::values::{self, ConfigError, Environment};
use super::{Limits, refuse_foreign};
use crate::admin_token::AdminToken;
use crate::cli::Cli;
use crate::http::server::Listen;
use crate::sync_api::SyncToken;
use crate::upstream::AssetBounds;

/// Everything that a replica needs to know.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// The sync listeners to follow, the preferred one first; at least one.
    pub upstreams: Vec<String>,
    /// What is shown to them.
    pub token: Option<SyncToken>,
    /// Address of the public API.
    pub listen: Listen,
    /// Base of asset URLs, without a trailing slash; `None` for `http://localhost:<port>`.
    pub public_url: Option<String>,
    /// The node's directory.
    pub data_dir: PathBuf,
    /// Staler than this, the node is not ready.
    pub staleness_max: Duration,
    /// How long it stays true, without word from upstream, that a dataset is public.
    pub visibility_age_max: Duration,
    /// The listener for nodes that follow this one.
    pub sync: Option<SyncListener>,
    /// Expected from senders of webhooks.
    pub webhook_secret: Option<String>,
    /// Expected from operators; `None` for the one that the node makes in its directory.
    pub admin_token: Option<AdminToken>,
    /// How much of the assets is kept.
    pub assets: AssetBounds,
    /// Limits.
    pub limits: Limits,
}

impl ReplicaConfig {
    pub(super) fn resolve(
        cli: &Cli,
        environment: &Environment<'_>,
        fly: Option<&Fly>,
    ) -> Result<Self, ConfigError> {
        let computes = "replica, which computes nothing";
        refuse_foreign("--hub", cli.hub.is_some(), computes, "primary")?;
        refuse_foreign("--store", cli.store.is_some(), "replica, whose store is its own copy", "primary")?;
        refuse_foreign("--assets", cli.assets.is_some(), "replica, which keeps its own copies", "primary")?;
        refuse_foreign("--workers", cli.workers.is_some(), computes, "primary")?;
        refuse_foreign("--queue", !cli.queue.is_empty(), computes, "worker")?;
        Ok(Self {
            upstreams: resolve_upstreams(cli, fly)?,
            token: sync::token(cli)?,
            listen: values::parse_listen(cli.listen.as_deref())?,
            public_url: resolve_public_url(cli, fly)?,
            data_dir: super::resolve_data_dir(cli)?,
            staleness_max: values::parse_duration("--max-staleness", &cli.max_staleness)?,
            visibility_age_max: values::parse_duration("--max-visibility-age", &cli.max_visibility_age)?,
            sync: SyncListener::given(cli)?,
            webhook_secret: environment.secret(cli.webhook_secret.as_deref(), &["API_HF_WEBHOOK_SECRET"]),
            admin_token: values::parse_admin_token(cli.admin_token.as_deref())?,
            assets: resolve_assets(cli)?,
            limits: Limits::resolve(environment)?,
        })
    }
}

/// The options of assets mean nothing where nothing is mirrored.
pub(super) fn refuse_mirror_options(cli: &Cli, role: &str) -> Result<(), ConfigError> {
    refuse_foreign("--max-asset-size", cli.max_asset_size.is_some(), role, "replica")?;
    refuse_foreign("--asset-budget", cli.asset_budget.is_some(), role, "replica")
}

fn resolve_assets(cli: &Cli) -> Result<AssetBounds, ConfigError> {
    let budget_bytes = match cli.asset_budget.as_deref() {
        Some(text) => {
            let expected = "a size, such as 512MiB, 4GiB or 1TiB, or 0 to keep no assets";
            values::parse_size("--asset-budget", text, u64::MAX, expected)?
        }
        None => limits::ASSET_MIRROR_BYTES_DEFAULT,
    };
    let asset_bytes_max = match cli.max_asset_size.as_deref() {
        Some(text) => {
            let expected = "a size of at most 64MiB, such as 512KiB or 16MiB, or 0 to keep no assets";
            values::parse_size("--max-asset-size", text, limits::ASSET_KEPT_BYTES_MAX, expected)?
        }
        None => limits::ASSET_KEPT_BYTES_DEFAULT.min(budget_bytes),
    };
    if asset_bytes_max > budget_bytes {
        return Err(ConfigError::sentence(
            "--max-asset-size is larger than --asset-budget: one asset may not take more than all of them; raise the \
             budget or lower the size",
        ));
    }
    Ok(AssetBounds { asset_bytes_max, budget_bytes })
}

/// Those that are given, else the primary of the app where the platform names it.
fn resolve_upstreams(cli: &Cli, fly: Option<&Fly>) -> Result<Vec<String>, ConfigError> {
    let given = cli.upstream.iter().map(|address| address.trim().trim_end_matches('/').to_owned());
    let mut upstreams: Vec<String> = given.filter(|address| !address.is_empty()).collect();
    if upstreams.is_empty() {
        upstreams.extend(fly.map(Fly::upstream));
    }
    if upstreams.is_empty() {
        return Err(ConfigError::sentence(
            "--role replica needs --upstream: the address of the sync listener of a primary or of another replica, such \
             as http://127.0.0.1:8001",
        ));
    }
    for address in &upstreams {
        parse_address(address).map_err(|error| ConfigError::sentence(format!("--upstream: {error}")))?;
    }
    Ok(upstreams)
}
