//! The configuration: what the options and the environment mean together.
//!
//! Owns the checks of every value and the limits that dataset-viewer's environment names set (http-api.md section
//! 0.6, worker-and-store.md section 7). Reads the environment only through the map that it is passed. A wrong value
//! is one sentence that says what would be right.

mod values;

use std::path::PathBuf;
use std::time::Duration;

use outpost_model::Queue;
use outpost_model::limits::{self, FirstRowsLimits, NamesLimits};
use outpost_storage::AssetPlace;

use crate::cli::Cli;
use crate::http::server::Listen;
use crate::support::BlockList;
use values::{Environment, parse_duration, parse_listen, parse_workers};

pub use values::ConfigError;

/// Where datasets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubSource {
    /// A Hub's endpoint.
    Endpoint(String),
    /// A folder that stands in for it.
    Folder(PathBuf),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The limits that operators set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `FIRST_ROWS_*`.
    pub first_rows: FirstRowsLimits,
    /// `CONFIG_NAMES_MAX_NUMBER`, `SPLIT_NAMES_MAX_NUMBER`.
    pub names: NamesLimits,
    /// `WORKER_MAX_JOB_DURATION_SECONDS`.
    pub job_duration_ms_max: u64,
    /// `API_MAX_AGE_LONG`: seconds that successes may be stored.
    pub max_age_long_s: u64,
    /// `API_MAX_AGE_SHORT`: seconds that errors may be stored.
    pub max_age_short_s: u64,
    /// `API_HF_TIMEOUT_SECONDS`: how long a reader waits for the Hub.
    pub hub_wait: Duration,
}

/// Everything that a primary needs to know.
#[derive(Debug, Clone)]
pub struct PrimaryConfig {
    /// Address of the public API.
    pub listen: Listen,
    /// Base of asset URLs, without a trailing slash; `None` for `http://localhost:<port>`.
    pub public_url: Option<String>,
    /// The node's directory.
    pub data_dir: PathBuf,
    /// Where assets are kept; `None` for under `data_dir`.
    pub assets: Option<AssetPlace>,
    /// Where datasets come from.
    pub hub: HubSource,
    /// The node's own token.
    pub hub_token: Option<String>,
    /// Workers per queue.
    pub workers: Vec<(Queue, usize)>,
    /// Expected from senders of webhooks.
    pub webhook_secret: Option<String>,
    /// Datasets that are not served.
    pub blocked: BlockList,
    /// Limits.
    pub limits: Limits,
}

const WORKS_TODAY: &str =
    "what works today is a primary with its embedded store, for example: node --hub ./my-datasets";

impl PrimaryConfig {
    /// Checks the options of a primary. `variables` looks up an environment variable.
    ///
    /// # Errors
    /// [`ConfigError`] about the first value that is wrong or not built yet.
    pub fn resolve(cli: &Cli, variables: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        refuse_unbuilt(cli)?;
        parse_duration("--max-staleness", &cli.max_staleness)?;
        let environment = Environment::new(variables);
        let data_dir = PathBuf::from(&cli.data_dir);
        if cli.data_dir.is_empty() || data_dir.is_file() {
            return Err(ConfigError::wrong(
                "--data-dir",
                &cli.data_dir,
                "a directory, which may not exist yet",
            ));
        }
        let blocked = environment.text("COMMON_BLOCKED_DATASETS").unwrap_or_default();
        Ok(Self {
            listen: parse_listen(cli.listen.as_deref())?,
            public_url: cli.public_url.as_deref().map(values::parse_public_url).transpose()?,
            data_dir,
            assets: cli.assets.as_deref().map(parse_assets).transpose()?,
            hub: resolve_hub(cli, &environment)?,
            hub_token: environment.secret(cli.hub_token.as_deref(), &["HF_TOKEN", "COMMON_HF_TOKEN"]),
            workers: parse_workers(cli.workers.as_deref().unwrap_or("datasets=1,splits=2"))?,
            webhook_secret: environment.secret(cli.webhook_secret.as_deref(), &["API_HF_WEBHOOK_SECRET"]),
            blocked: BlockList::parse(&blocked)
                .map_err(|rule| ConfigError::sentence(format!("COMMON_BLOCKED_DATASETS: {rule}")))?,
            limits: Limits::resolve(&environment)?,
        })
    }
}

impl Limits {
    fn resolve(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let first_rows = FirstRowsLimits::default();
        let names = NamesLimits::default();
        let hub_wait_s =
            environment.seconds("API_HF_TIMEOUT_SECONDS", limits::HUB_LOOKUP_WAIT_MS as f64 / 1e3)?;
        let job_s = limits::JOB_DURATION_MS_MAX / 1_000;
        Ok(Self {
            first_rows: FirstRowsLimits {
                bytes_max: environment.count("FIRST_ROWS_MAX_BYTES", first_rows.bytes_max)?,
                cell_bytes_min: environment.count("FIRST_ROWS_MIN_CELL_BYTES", first_rows.cell_bytes_min)?,
                rows_min: environment.count("FIRST_ROWS_MIN_NUMBER", first_rows.rows_min)?,
                columns_max: environment.count("FIRST_ROWS_COLUMNS_MAX_NUMBER", first_rows.columns_max)?,
            },
            names: NamesLimits {
                configs_max: environment.count("CONFIG_NAMES_MAX_NUMBER", names.configs_max)?,
                splits_max: environment.count("SPLIT_NAMES_MAX_NUMBER", names.splits_max)?,
            },
            job_duration_ms_max: 1_000 * environment.count("WORKER_MAX_JOB_DURATION_SECONDS", job_s)?,
            max_age_long_s: environment.count("API_MAX_AGE_LONG", 120)?,
            max_age_short_s: environment.count("API_MAX_AGE_SHORT", 10)?,
            hub_wait: Duration::from_secs_f64(hub_wait_s),
        })
    }
}

/// How log lines look, needed before anything else is checked.
///
/// # Errors
/// [`ConfigError`] when it is no format.
pub fn resolve_log_format(cli: &Cli) -> Result<LogFormat, ConfigError> {
    match cli.log_format.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(ConfigError::wrong("--log-format", other, "one of auto, text, json")),
    }
}

/// Says of what the command line offers and this build does not have that it is so.
fn refuse_unbuilt(cli: &Cli) -> Result<(), ConfigError> {
    let unbuilt = |what: &str| Err(ConfigError::sentence(format!("{what} is not built yet; {WORKS_TODAY}")));
    if let Some(command) = &cli.command {
        return unbuilt(&format!("`node {}`", command.name()));
    }
    match cli.role.as_str() {
        "primary" => {}
        "worker" | "replica" => return unbuilt(&format!("--role {}", cli.role)),
        other => return Err(ConfigError::wrong("--role", other, "one of primary, worker, replica")),
    }
    if cli.store.starts_with("mongodb://") || cli.store.starts_with("mongodb+srv://") {
        return unbuilt("--store mongodb://");
    }
    if cli.store != "embedded" {
        return Err(ConfigError::wrong("--store", &cli.store, "`embedded` or a mongodb:// URL"));
    }
    if let Some(address) = &cli.sync_listen {
        values::check_sync_listen(address, cli.sync_token.as_deref())?;
        return unbuilt("--sync-listen");
    }
    if !cli.upstream.is_empty() {
        return Err(ConfigError::sentence("--upstream is for --role replica, this is a primary"));
    }
    if !cli.queue.is_empty() {
        return Err(ConfigError::sentence(
            "--queue is for --role worker; use --workers for the workers of a primary",
        ));
    }
    Ok(())
}

fn parse_assets(text: &str) -> Result<AssetPlace, ConfigError> {
    let expected = |rule: &str| format!("a folder or s3://BUCKET/PREFIX: {rule}");
    let place =
        AssetPlace::parse(text).map_err(|error| ConfigError::wrong("--assets", text, &expected(error.0)))?;
    match &place {
        AssetPlace::Folder(folder) if folder.is_file() => {
            Err(ConfigError::wrong("--assets", text, &expected("there is a file of that name")))
        }
        _ => Ok(place),
    }
}

fn resolve_hub(cli: &Cli, environment: &Environment<'_>) -> Result<HubSource, ConfigError> {
    let endpoint = environment.text("COMMON_HF_ENDPOINT");
    let hub = cli.hub.clone().or(endpoint).unwrap_or_else(|| "https://huggingface.co".to_owned());
    if hub.starts_with("http://") || hub.starts_with("https://") {
        return Ok(HubSource::Endpoint(hub));
    }
    let folder = PathBuf::from(&hub);
    if folder.is_dir() {
        Ok(HubSource::Folder(folder))
    } else {
        Err(ConfigError::wrong("--hub", &hub, "an http(s):// URL or a folder that exists"))
    }
}

#[cfg(test)]
mod tests;
