//! The primary: computes and serves, with the embedded store.
//!
//! Owns the order in which the parts start, a log line each, and in which they stop: the reverse. A part that cannot
//! start ends the node with a sentence about it; once all run, only a signal does.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use outpost_hub::{FolderHub, FolderHubOptions, HttpHub, HttpHubOptions, Hub};
use outpost_model::limits;
use outpost_storage::{AssetStore, Authority, EmbeddedStore, Mirror};
use outpost_worker::runtime::SystemClock;
use outpost_worker::steps::{StepLimits, Steps};
use outpost_worker::{WorkerConfig, WorkerGroup, WorkerHandle, WorkerPool};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::progress::{Listeners, Progress};
use super::{asset_store, assets, folder, maintenance, scrub};
use crate::config::{HubSource, PrimaryConfig};
use crate::http::frame::Frame;
use crate::http::read::ReadState;
use crate::http::response::MaxAges;
use crate::http::routes::technical::StoreGauges;
use crate::http::routes::webhook::WebhookState;
use crate::http::{AppState, Readiness, router, server};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::misses::PrimaryMisses;

/// Runs a primary until `stop`.
///
/// # Errors
/// When a part cannot start.
pub async fn run(config: PrimaryConfig, stop: CancellationToken) -> anyhow::Result<()> {
    // 1. The Hub.
    let hub = open_hub(&config)?;
    tracing::info!(hub = hub.describe(), "1/7 datasets come from {}", hub.describe());

    // 2. The store: authority and mirror in one.
    let store = open_store(&config.data_dir).await?;
    let authority: Arc<dyn Authority> = Arc::new(store.clone());
    let mirror: Arc<dyn Mirror> = Arc::new(store.clone());
    let asset_store = asset_store::open(&config.data_dir, config.assets.as_ref()).await?;
    tracing::info!(position = %mirror.position(), "2/7 the store in {} is open", config.data_dir.display());

    // 3. The listening socket, before any work is done for a node that nobody could reach.
    let listener = server::bind(config.listen)
        .await
        .with_context(|| format!("failed to listen on {:?}; choose another --listen", config.listen))?;
    let address = listener.local_addr().context("failed to read the listening address")?;
    let public_url =
        config.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", address.port()));
    tracing::info!("3/7 the API will be at {address}");

    // 4. The workers.
    let metrics = Metrics::new(&router::PATHS);
    let progress = Arc::new(Progress::default());
    let observer = Arc::new(Listeners { metrics: Arc::clone(&metrics), progress: Arc::clone(&progress) });
    let workers_stop = CancellationToken::new();
    let workers = start_workers(&config, &authority, &hub, &asset_store, observer, &workers_stop);
    tracing::info!(workers = ?config.workers, "4/7 workers run");

    // 5. The HTTP API.
    let intake = Arc::new(Intake::new(Arc::clone(&hub), Arc::clone(&authority), config.blocked.clone()));
    let readiness = Arc::new(Readiness::default());
    let app = Arc::new(AppState {
        read: open_reads(&config, Arc::clone(&mirror), &intake, public_url.clone()),
        assets: Arc::clone(&asset_store),
        webhook: WebhookState { secret: config.webhook_secret.clone(), intake: Arc::clone(&intake) },
        metrics,
        gauges: StoreGauges::new(Arc::clone(&authority), config.data_dir.clone()),
        readiness: Arc::clone(&readiness),
    });
    let http_stop = CancellationToken::new();
    let http =
        tokio::spawn(server::serve(listener, Arc::new(Frame::new(Arc::clone(&app))), http_stop.clone()));
    tracing::info!(address = %address, public_url, "5/7 serving on {address}, open {public_url}/healthcheck");

    // 6. and 7. The loops that bring news in, and the one that passes changes on to the ready cache.
    let loops = TaskTracker::new();
    let loops_stop = CancellationToken::new();
    loops.spawn(loops_stop.clone().run_until_cancelled_owned(async move { app.read.follow_loop().await }));
    if matches!(config.hub, HubSource::Folder(_)) {
        loops.spawn(loops_stop.clone().run_until_cancelled_owned(folder::watch_loop(
            Arc::clone(&hub),
            Arc::clone(&intake),
            Arc::clone(&progress),
            public_url,
        )));
        tracing::info!("6/7 watching the folder for changes");
    } else {
        tracing::info!("6/7 no folder to watch, news comes by webhook");
    }
    let checks = maintenance::Checks::of(&config.hub);
    loops.spawn(loops_stop.clone().run_until_cancelled_owned(maintenance::run_loop(intake, checks)));
    loops.spawn(loops_stop.clone().run_until_cancelled_owned(scrub::run_loop(store)));
    let assets = assets::run_loops(asset_store, mirror, authority);
    loops.spawn(loops_stop.clone().run_until_cancelled_owned(assets));
    loops.close();
    tracing::info!("7/7 maintenance runs; the primary is up");

    // The way down: tell load balancers, then stop in reverse. HTTP and workers drain side by side.
    stop.cancelled().await;
    readiness.start_draining();
    loops_stop.cancel();
    loops.wait().await;
    workers_stop.cancel();
    http_stop.cancel();
    if let Err(error) = http.await {
        tracing::error!(%error, "the HTTP server ended by itself");
    }
    tracing::info!("open requests have ended");
    workers.join().await;
    tracing::info!("workers have ended, the node stops");
    Ok(())
}

fn open_reads(
    config: &PrimaryConfig,
    mirror: Arc<dyn Mirror>,
    intake: &Arc<Intake>,
    public_url: String,
) -> ReadState {
    let misses = Arc::new(PrimaryMisses::new(Arc::clone(intake), config.limits.hub_wait));
    let max_ages = MaxAges::new(config.limits.max_age_long_s, config.limits.max_age_short_s);
    ReadState::new(mirror, misses, public_url, max_ages, limits::READY_CACHE_BYTES_MAX)
}

fn open_hub(config: &PrimaryConfig) -> anyhow::Result<Arc<dyn Hub>> {
    Ok(match &config.hub {
        HubSource::Endpoint(endpoint) => Arc::new(HttpHub::new(HttpHubOptions {
            token: config.hub_token.clone(),
            ..HttpHubOptions::new(endpoint)
        })?),
        HubSource::Folder(root) => Arc::new(FolderHub::open(FolderHubOptions {
            hashes_file: Some(config.data_dir.join("folder-hashes")),
            ..FolderHubOptions::new(root)
        })?),
    })
}

async fn open_store(data_dir: &Path) -> anyhow::Result<EmbeddedStore> {
    let directory = data_dir.join("store");
    let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&directory)).await;
    let store = opened.context("failed to open the store")?.with_context(|| {
        format!("failed to open the store in {}; choose another --data-dir", data_dir.display())
    })?;
    let report = store.open_report();
    if let Some(set_aside) = &report.set_aside {
        tracing::warn!("the store was damaged and set aside in {}; it is rebuilt", set_aside.display());
    }
    if report.jobs_interrupted > 0 {
        tracing::info!(
            jobs = report.jobs_interrupted,
            "{} interrupted jobs run again",
            report.jobs_interrupted
        );
    }
    Ok(store)
}

fn start_workers(
    config: &PrimaryConfig,
    authority: &Arc<dyn Authority>,
    hub: &Arc<dyn Hub>,
    assets: &Arc<dyn AssetStore>,
    observer: Arc<Listeners>,
    stop: &CancellationToken,
) -> WorkerHandle {
    let groups = config.workers.iter();
    let groups = groups.map(|(queue, workers)| WorkerGroup { queues: vec![*queue], workers: *workers });
    let pool = WorkerConfig {
        job_duration_ms_max: config.limits.job_duration_ms_max,
        observer,
        ..WorkerConfig::new(groups.collect())
    };
    let limits = StepLimits {
        names: config.limits.names.clone(),
        first_rows: config.limits.first_rows.clone(),
        ..StepLimits::default()
    };
    let steps =
        Steps::new(Arc::clone(authority), Arc::clone(hub), limits).with_asset_store(Arc::clone(assets));
    let steps = Arc::new(steps);
    WorkerPool::start(pool, Arc::clone(authority), steps, Arc::new(SystemClock), stop)
}
