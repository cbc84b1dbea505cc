//! What a worker needs to know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use outpost_model::Queue;
use outpost_storage::AssetPlace;

use super::store::{MongoPlace, StorePlace, resolve_assets};
use super::values::{self, ConfigError, Environment};
use super::{Guards, Limits, Shared, Workers};
use crate::cli::Cli;
use crate::http::server::Listen;

/// Memory above which a worker takes no further job, in per cent.
const MEMORY_PCT: f64 = 80.0;

/// Everything that a worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Hub, workers and limits.
    pub shared: Shared,
    /// Address of health check and metrics.
    pub listen: Listen,
    /// Where cache and queue live.
    pub store: MongoPlace,
    /// Where assets go, to be read by the primary.
    pub assets: AssetPlace,
}

impl WorkerConfig {
    pub(super) fn resolve(cli: &Cli, environment: &Environment<'_>) -> Result<Self, ConfigError> {
        super::refuse_foreign("--upstream", !cli.upstream.is_empty(), "worker", "replica")?;
        super::replica::refuse_mirror_options(cli, "worker")?;
        super::refuse_foreign("--sync-listen", cli.sync_listen.is_some(), "worker", "primary")?;
        super::refuse_foreign("--public-url", cli.public_url.is_some(), "worker", "primary")?;
        let StorePlace::Mongo(store) = StorePlace::resolve(cli, environment)? else {
            return Err(ConfigError::sentence(
                "--role worker needs --store mongodb://…: the embedded store belongs to one process, whose workers are \
                 set with --workers; give the URL of the database that the primary uses",
            ));
        };
        let Some(assets) = resolve_assets(cli)? else {
            return Err(ConfigError::sentence(
                "--role worker needs --assets: images and other files must land where the primary reads them, so give \
                 both the same shared folder or s3://BUCKET/PREFIX",
            ));
        };
        Ok(Self {
            listen: resolve_listen(cli, environment)?,
            shared: Shared {
                hub: super::resolve_hub(cli, environment)?,
                hub_token: super::resolve_hub_token(cli, environment),
                difficulty: super::resolve_difficulty(environment)?,
                workers: resolve_workers(cli)?,
                guards: Guards::resolve(environment, MEMORY_PCT)?,
                limits: Limits::resolve(environment)?,
            },
            store,
            assets,
        })
    }
}

/// Loopback and any free port, unless told: several workers share a machine.
fn resolve_listen(cli: &Cli, environment: &Environment<'_>) -> Result<Listen, ConfigError> {
    if cli.listen.is_some() {
        return values::parse_listen(cli.listen.as_deref());
    }
    let host = environment.text("WORKER_UVICORN_HOSTNAME").unwrap_or_else(|| "localhost".to_owned());
    let port: u16 = environment.count("WORKER_UVICORN_PORT", 0)?;
    let ip: Option<IpAddr> = match host.as_str() {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        host => host.parse().ok(),
    };
    let ip = ip.ok_or_else(|| {
        ConfigError::wrong("WORKER_UVICORN_HOSTNAME", &host, "`localhost` or an address such as 0.0.0.0")
    })?;
    Ok(Listen::At(SocketAddr::new(ip, port)))
}

/// A number of workers that take from all queues of `--queue`, or one for each queue.
fn resolve_workers(cli: &Cli) -> Result<Vec<Workers>, ConfigError> {
    let queues = resolve_queues(&cli.queue)?;
    let text = cli.workers.as_deref().unwrap_or("1");
    if !text.contains('=') {
        let count = values::parse_worker_count(text)?;
        return Ok(vec![Workers { queues, count }]);
    }
    let workers = values::parse_workers(text)?;
    if let Some((queue, _)) = workers.iter().find(|(queue, _)| !queues.contains(queue)) {
        return Err(ConfigError::sentence(format!(
            "--workers {text} has workers for the queue {}, which --queue leaves out",
            queue.as_str()
        )));
    }
    if workers.is_empty() {
        return Err(ConfigError::wrong("--workers", text, "at least one worker"));
    }
    Ok(workers.into_iter().map(|(queue, count)| Workers { queues: vec![queue], count }).collect())
}

fn resolve_queues(names: &[String]) -> Result<Vec<Queue>, ConfigError> {
    if names.is_empty() {
        return Ok(Queue::ALL.to_vec());
    }
    let mut queues = Vec::new();
    for name in names {
        let queue = Queue::ALL.into_iter().find(|queue| queue.as_str() == name.trim());
        let queue = queue.ok_or_else(|| ConfigError::wrong("--queue", name, "one of datasets, splits"))?;
        if !queues.contains(&queue) {
            queues.push(queue);
        }
    }
    Ok(queues)
}
