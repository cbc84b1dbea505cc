//! Parts that more than one role starts: the Hub and the workers.

use std::path::PathBuf;
use std::sync::Arc;

use outpost_hub::{FolderHub, FolderHubOptions, HttpHub, HttpHubOptions, Hub};
use outpost_storage::{AssetStore, Authority};
use outpost_worker::runtime::{HostLimits, HostRoom, Observer, SystemClock};
use outpost_worker::steps::{StepLimits, Steps};
use outpost_worker::{WorkerConfig, WorkerGroup, WorkerHandle, WorkerPool};
use tokio_util::sync::CancellationToken;

use crate::config::{HubSource, Shared};

/// Connects to the Hub. `hashes_file` keeps what is known of a folder's files between runs.
///
/// # Errors
/// When the address, the token or the folder cannot be used.
pub fn open_hub(config: &Shared, hashes_file: Option<PathBuf>) -> anyhow::Result<Arc<dyn Hub>> {
    Ok(match &config.hub {
        HubSource::Endpoint(endpoint) => Arc::new(HttpHub::new(HttpHubOptions {
            token: config.hub_token.clone(),
            ..HttpHubOptions::new(endpoint)
        })?),
        HubSource::Folder(root) => {
            Arc::new(FolderHub::open(FolderHubOptions { hashes_file, ..FolderHubOptions::new(root) })?)
        }
    })
}

/// The workers of a process.
#[must_use]
pub fn worker_groups(config: &Shared) -> Vec<WorkerGroup> {
    let group = |workers: &crate::config::Workers| WorkerGroup {
        queues: workers.queues.clone(),
        workers: workers.count,
    };
    config.workers.iter().map(group).collect()
}

/// Starts the workers; they drain when `stop` is cancelled.
pub fn start_workers(
    config: &Shared,
    authority: &Arc<dyn Authority>,
    hub: &Arc<dyn Hub>,
    assets: &Arc<dyn AssetStore>,
    observer: Arc<dyn Observer>,
    stop: &CancellationToken,
) -> WorkerHandle {
    let room = HostRoom::new(HostLimits {
        memory_pct_max: config.guards.memory_pct_max,
        system_memory_pct_max: config.guards.system_memory_pct_max,
        load_pct_max: config.guards.load_pct_max,
    });
    let pool = WorkerConfig {
        difficulty: config.difficulty,
        job_duration_ms_max: config.limits.job_duration_ms_max,
        room: Arc::new(room),
        observer,
        ..WorkerConfig::new(worker_groups(config))
    };
    let limits = StepLimits {
        names: config.limits.names.clone(),
        first_rows: config.limits.first_rows.clone(),
        ..StepLimits::default()
    };
    let steps =
        Steps::new(Arc::clone(authority), Arc::clone(hub), limits).with_asset_store(Arc::clone(assets));
    WorkerPool::start(pool, Arc::clone(authority), Arc::new(steps), Arc::new(SystemClock), stop)
}
