//! The configuration: what the options and the environment mean together, per role.
//!
//! Owns the checks of every value and the names of dataset-viewer's variables that map to something here (http-api.md
//! section 0.6, worker-and-store.md section 7). Reads the environment only through the map that it is passed. A wrong
//! value is one sentence that says what would be right; an option of another role is refused, not ignored.

mod fly;
mod limits;
mod primary;
mod replica;
mod store;
mod sync;
mod values;
mod worker;

use std::path::PathBuf;

use outpost_model::Queue;
use outpost_storage::DifficultyRange;

use crate::cli::Cli;
use crate::support::BlockList;
use fly::Fly;
use values::Environment;

pub use limits::{Guards, Limits};
pub use primary::PrimaryConfig;
pub use replica::ReplicaConfig;
pub use store::{MongoPlace, StorePlace};
pub use sync::SyncListener;
pub use values::ConfigError;
pub use worker::WorkerConfig;

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

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Computes and serves.
    Primary,
    /// Computes.
    Worker,
    /// Serves a copy.
    Replica,
}

impl Role {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "primary" => Some(Self::Primary),
            "worker" => Some(Self::Worker),
            "replica" => Some(Self::Replica),
            _ => None,
        }
    }
}

/// Workers that take from the same queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    /// The queues.
    pub queues: Vec<Queue>,
    /// How many they are, at least one.
    pub count: usize,
}

/// What every role that asks the Hub and computes needs to know.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where datasets come from.
    pub hub: HubSource,
    /// The node's own token.
    pub hub_token: Option<String>,
    /// In-process workers.
    pub workers: Vec<Workers>,
    /// The difficulty of the jobs that they take (`WORKER_DIFFICULTY_MIN`, `WORKER_DIFFICULTY_MAX`).
    pub difficulty: DifficultyRange,
    /// When the machine counts as busy.
    pub guards: Guards,
    /// Limits.
    pub limits: Limits,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub enum Config {
    /// Of a primary.
    Primary(Box<PrimaryConfig>),
    /// Of a worker.
    Worker(Box<WorkerConfig>),
    /// Of a replica.
    Replica(Box<ReplicaConfig>),
}

impl Config {
    /// Checks the options of the role that they name. `variables` looks up an environment variable.
    ///
    /// # Errors
    /// [`ConfigError`] about the first value that is wrong or belongs to another role.
    pub fn resolve(cli: &Cli, variables: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let environment = Environment::new(variables);
        let fly = Fly::detect(&environment);
        values::parse_duration("--max-staleness", &cli.max_staleness)?;
        values::parse_duration("--max-visibility-age", &cli.max_visibility_age)?;
        match resolve_role(cli, fly.as_ref())? {
            Role::Primary => PrimaryConfig::resolve(cli, &environment, fly.as_ref())
                .map(|config| Self::Primary(Box::new(config))),
            Role::Worker => {
                WorkerConfig::resolve(cli, &environment).map(|config| Self::Worker(Box::new(config)))
            }
            Role::Replica => ReplicaConfig::resolve(cli, &environment, fly.as_ref())
                .map(|config| Self::Replica(Box::new(config))),
        }
    }
}

/// The role that is given, else that of the platform's process group, else a primary.
fn resolve_role(cli: &Cli, fly: Option<&Fly>) -> Result<Role, ConfigError> {
    match (&cli.role, fly) {
        (Some(name), _) => Role::parse(name)
            .ok_or_else(|| ConfigError::wrong("--role", name, "one of primary, worker, replica")),
        (None, Some(fly)) => Ok(fly.role()?.unwrap_or(Role::Primary)),
        (None, None) => Ok(Role::Primary),
    }
}

/// How log lines look, needed before anything else is checked.
///
/// # Errors
/// [`ConfigError`] about `--log-format`.
pub fn resolve_log_format(cli: &Cli) -> Result<LogFormat, ConfigError> {
    match cli.log_format.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(ConfigError::wrong("--log-format", other, "one of auto, text, json")),
    }
}

/// Refuses an option that only means something in another role.
fn refuse_foreign(option: &str, is_given: bool, role: &str, its_role: &str) -> Result<(), ConfigError> {
    if is_given {
        return Err(ConfigError::sentence(format!("{option} is for --role {its_role}, this is a {role}")));
    }
    Ok(())
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

fn resolve_hub_token(cli: &Cli, environment: &Environment<'_>) -> Option<String> {
    environment.secret(cli.hub_token.as_deref(), &["HF_TOKEN", "COMMON_HF_TOKEN"])
}

/// Zero as the minimum and a hundred as the maximum leave nothing out (worker-and-store.md section 2.2).
fn resolve_difficulty(environment: &Environment<'_>) -> Result<DifficultyRange, ConfigError> {
    let above: u8 = environment.count("WORKER_DIFFICULTY_MIN", 0)?;
    let up_to: u8 = environment.count("WORKER_DIFFICULTY_MAX", 100)?;
    if above >= up_to {
        return Err(ConfigError::sentence(format!(
            "WORKER_DIFFICULTY_MIN and WORKER_DIFFICULTY_MAX leave no job: {above} is not below {up_to}"
        )));
    }
    Ok(DifficultyRange {
        above: Some(above).filter(|pct| *pct > 0),
        up_to: Some(up_to).filter(|pct| *pct < 100),
    })
}

fn resolve_data_dir(cli: &Cli) -> Result<PathBuf, ConfigError> {
    let data_dir = PathBuf::from(&cli.data_dir);
    if cli.data_dir.is_empty() || data_dir.is_file() {
        return Err(ConfigError::wrong("--data-dir", &cli.data_dir, "a directory, which may not exist yet"));
    }
    Ok(data_dir)
}

fn resolve_blocked(environment: &Environment<'_>) -> Result<BlockList, ConfigError> {
    let blocked = environment.text("COMMON_BLOCKED_DATASETS").unwrap_or_default();
    BlockList::parse(&blocked)
        .map_err(|rule| ConfigError::sentence(format!("COMMON_BLOCKED_DATASETS: {rule}")))
}

#[cfg(test)]
mod tests;
