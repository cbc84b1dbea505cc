//! `GET /admin/status`: the node, its queue, its workers and its cache at a glance.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use outpost_model::{JobStatus, limits};
use outpost_storage::{JobFilter, StorageError};
use tokio::time::timeout;

use super::AdminApp;
use super::guard::Operator;
use super::params::AdminError;
use super::wire::{NodeItem, QueueItem, Status, WorkerItem, time_text};
use crate::clock;
use crate::http::response::json_no_store;

/// Takes one look.
pub(super) async fn status(_: Operator, State(app): State<AdminApp>) -> Response<Body> {
    let away =
        || AdminError::database_away(&format!("The database {}", app.admin.node.store)).into_response();
    match timeout(Duration::from_millis(limits::STATUS_WAIT_MS), look(&app)).await {
        Ok(Ok(status)) => json_no_store(StatusCode::OK, &status),
        Ok(Err(StorageError::Unreachable(cause))) => {
            tracing::error!(cause, "the database cannot be reached");
            away()
        }
        Ok(Err(error)) => AdminError::from(error).into_response(),
        Err(_) => {
            tracing::error!("the database did not answer for a status in {} ms", limits::STATUS_WAIT_MS);
            away()
        }
    }
}

async fn look(app: &AdminApp) -> Result<Status, StorageError> {
    let admin = &app.admin;
    let started = JobFilter { status: Some(JobStatus::Started), ..JobFilter::default() };
    // The authority first: what it had then, a current mirror has now.
    let authority_position = admin.authority.position().await?;
    let position = app.node.read.position();
    let overview = admin.operations.overview().await?;
    let running = admin.operations.jobs(&started, None, limits::STATUS_JOBS_MAX).await?;
    let now = clock::now();
    let workers = admin.operations.workers(now).await?;
    let feed = app.node.feed.as_ref().and_then(|feed| feed.look());
    let is_level = position.epoch == authority_position.epoch && position.seq >= authority_position.seq;
    Ok(Status {
        node: NodeItem {
            role: admin.node.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: admin.node.store.clone(),
            started_at: time_text(admin.node.started_at),
        },
        position: position.to_string(),
        authority_position: authority_position.to_string(),
        // A database's time goes on without changes to the cache: there the feed knows best.
        is_current: feed.as_ref().map_or(is_level, |feed| feed.phase == "following" && feed.lag_s <= 1),
        feed: feed.map(Into::into),
        datasets: overview.datasets,
        queue: overview.queue.into_iter().map(|depth| QueueItem::new(depth, now)).collect(),
        running: running.items.into_iter().map(Into::into).collect(),
        workers: workers.into_iter().map(|worker| WorkerItem::new(worker, now)).collect(),
        entries: overview.entries.into_iter().map(Into::into).collect(),
    })
}
