//! The worker: a process that computes for a primary elsewhere, over the database that both share.
//!
//! Owns the order in which its parts start and stop. On SIGTERM it claims nothing more, lets running jobs end for at
//! most [`limits::DRAIN_MS`], gives the others back within [`limits::STOP_GRACE_MS`], and leaves; a job that could not be
//! given back is taken over when its lease runs out. Health check and metrics answer to the end.

use std::sync::Arc;

use anyhow::Context;
use outpost_model::limits;
use outpost_storage::Authority;
use tokio_util::sync::CancellationToken;

use super::parts::{open_hub, start_workers, worker_groups};
use super::progress::Listeners;
use super::register::{Registration, RunningJobs};
use super::{Ended, asset_store, store};
use crate::config::WorkerConfig;
use crate::http::Readiness;
use crate::http::probes::Probes;
use crate::http::server;
use crate::metrics::Metrics;

/// Runs a worker until `stop`.
///
/// # Errors
/// When a part cannot start.
pub async fn run(config: WorkerConfig, stop: CancellationToken) -> anyhow::Result<Ended> {
    let hub = open_hub(&config.shared, None)?;
    tracing::info!(hub = hub.describe(), "1/5 datasets come from {}", hub.describe());

    let database = store::open_database(&config.store).await?;
    let authority: Arc<dyn Authority> = Arc::new(database.clone());
    let assets = asset_store::open_shared(config.assets.clone()).await?;
    tracing::info!(store = ?config.store, assets = ?config.assets, "2/5 the database and the assets are open");

    let listener = server::bind(config.listen)
        .await
        .with_context(|| format!("failed to listen on {:?}; choose another --listen", config.listen))?;
    let address = listener.local_addr().context("failed to read the listening address")?;
    let (metrics, readiness) = (Metrics::of_worker(&Probes::PATHS), Arc::new(Readiness::default()));
    let http_stop = CancellationToken::new();
    let probes = Arc::new(Probes::new(Arc::clone(&metrics), Arc::clone(&readiness)));
    let http = tokio::spawn(server::serve(listener, probes, http_stop.clone()));
    tracing::info!(address = %address, "3/5 health check and metrics are at {address}");

    let running = Arc::new(RunningJobs::default());
    let groups = worker_groups(&config.shared);
    let registration = Registration::of(Arc::new(database.clone()), Arc::clone(&running), &groups);
    let registration = registration.context("--workers: a worker process needs at least one worker")?;
    let id = registration.id().to_owned();
    let registration_stop = CancellationToken::new();
    let registration = tokio::spawn(registration.run(registration_stop.clone()));
    tracing::info!(worker = id, "4/5 registered as {id}");

    let observer = Arc::new(Listeners { metrics, progress: None, running });
    let workers_stop = CancellationToken::new();
    let workers = start_workers(&config.shared, &authority, &hub, &assets, observer, &workers_stop);
    tracing::info!(workers = ?config.shared.workers, "5/5 the worker is up");

    stop.cancelled().await;
    readiness.start_draining();
    tracing::info!(
        running = workers.running(),
        "draining: {} running jobs have {} s to end",
        workers.running(),
        limits::DRAIN_MS / 1_000
    );
    workers_stop.cancel();
    workers.join().await;
    registration_stop.cancel();
    http_stop.cancel();
    for task in [registration, http] {
        if let Err(error) = task.await {
            tracing::error!(%error, "a part of the worker ended by itself");
        }
    }
    database.flush_metrics().await;
    tracing::info!("the worker stops");
    Ok(Ended::Stopped)
}
