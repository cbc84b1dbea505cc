//! The primary: computes and serves.
//!
//! Owns the order in which the parts start, a log line each, and in which they stop: the reverse. A part that cannot
//! start ends the node with a sentence about it; once all run, a signal does, or a store that failed: it would answer
//! every read with an error until it is opened again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use outpost_hub::Hub;
use outpost_model::TimestampMs;
use outpost_model::limits::READY_CACHE_BYTES_MAX;
use outpost_storage::{AssetStore, Authority, FeedSource, Mirror, Operations};
use outpost_sync::Server;
use outpost_sync::adapter::FeedStore;
use outpost_sync::source::Source;
use outpost_worker::WorkerHandle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::loops::{self, Loops};
use super::parts::{open_hub, start_workers, worker_groups};
use super::progress::{Listeners, Progress};
use super::register::{Registration, RunningJobs};
use super::store::{self, Care, Stores};
use super::{Ended, asset_store, assets, folder, maintenance, scrub, sync_listener};
use crate::admin_token::AdminToken;
use crate::clock;
use crate::config::{HubSource, PrimaryConfig, StorePlace};
use crate::feed::{DatabaseFeed, FeedView};
use crate::http::frame::Frame;
use crate::http::read::ReadState;
use crate::http::response::MaxAges;
use crate::http::routes::admin::{Admin, AdminState, BackfillRequest, NodeFacts};
use crate::http::routes::technical::StoreGauges;
use crate::http::routes::webhook::WebhookState;
use crate::http::{App, AppState, Readiness, router, server};
use crate::intake::Intake;
use crate::metrics::Metrics;
use crate::misses::PrimaryMisses;
use crate::sync_api::{NodeDesk, OriginRelays};
use crate::vantage::{OriginStanding, OriginVantage};

/// What is open and shared between the parts that run.
struct Parts {
    started_at: TimestampMs,
    hub: Arc<dyn Hub>,
    authority: Arc<dyn Authority>,
    operations: Arc<dyn Operations>,
    mirror: Arc<dyn Mirror>,
    source: Arc<dyn FeedSource>,
    assets: Arc<dyn AssetStore>,
    admin_token: AdminToken,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    running: Arc<RunningJobs>,
    intake: Arc<Intake>,
    readiness: Arc<Readiness>,
    feed: Option<Arc<DatabaseFeed>>,
    vantage: Arc<OriginVantage>,
}

/// Runs a primary until `stop`, or until its mirror of a database failed and can be opened again.
///
/// # Errors
/// When a part cannot start, and when a store that it computes into failed.
pub async fn run(config: PrimaryConfig, stop: CancellationToken) -> anyhow::Result<Ended> {
    // 1. and 2. The Hub and the stores.
    let (parts, care) = Parts::open(&config).await?;

    // 3. The listening socket, before any work is done for a node that nobody could reach.
    let listener = server::bind(config.listen)
        .await
        .with_context(|| format!("failed to listen on {:?}; choose another --listen", config.listen))?;
    let address = listener.local_addr().context("failed to read the listening address")?;
    let public_url =
        config.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", address.port()));
    tracing::info!("3/7 the API will be at {address}");

    // 4. The workers.
    let workers_stop = CancellationToken::new();
    let workers = parts.start_workers(&config, &workers_stop);
    tracing::info!(workers = ?config.shared.workers, "4/7 workers run");

    // 5. The HTTP API.
    let (backfill, backfill_requests) = mpsc::channel(1);
    let app = parts.app(&config, &public_url, backfill);
    let http_stop = CancellationToken::new();
    let frame = Arc::new(Frame::new(Arc::clone(&app)));
    let http = tokio::spawn(server::serve(listener, frame, http_stop.clone()));
    let others = parts.serve_others(&config, &app, &http_stop).await?;
    tracing::info!(address = %address, public_url, "5/7 serving on {address}, open {public_url}/healthcheck");

    // 6. and 7. The loops that bring news in, and those that keep things as they should be.
    let failed = care.failed(&config.data_dir);
    let loops = Loops::default();
    loops.start(async move { app.read.follow_loop().await });
    parts.start_news(&config, &loops, public_url);
    parts.start_upkeep(&config, &loops, backfill_requests, care);
    tracing::info!("7/7 maintenance runs; the primary is up");

    // The way down: tell load balancers, then stop in reverse. HTTP and workers drain side by side.
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(Ended::Stopped),
        ended = failed => ended,
        error = parts.assets.failed() => Err(error),
    };
    parts.readiness.start_draining();
    loops.end().await;
    workers_stop.cancel();
    http_stop.cancel();
    let grace = ended.as_ref().map_or(Duration::MAX, Ended::grace);
    loops::close([Some(http), others], grace).await;
    tracing::info!("open requests have ended");
    workers.join().await;
    if let Some(feed) = &parts.feed {
        feed.stop().await;
    }
    tracing::info!("workers have ended, the node stops");
    ended.with_context(|| {
        format!("look at the disk of {}, then start the node again", config.data_dir.display())
    })
}

impl Parts {
    async fn open(config: &PrimaryConfig) -> anyhow::Result<(Self, Care)> {
        let started_at = clock::now();
        let hub = open_hub(&config.shared, Some(config.data_dir.join("folder-hashes")))?;
        tracing::info!(hub = hub.describe(), "1/7 datasets come from {}", hub.describe());
        let Stores { authority, operations, mirror, source, care, feed } =
            store::open(&config.store, &config.data_dir).await?;
        if config.assets.is_none() && matches!(config.store, StorePlace::Mongo(_)) {
            tracing::warn!(
                "images and other files are read from {}, where only workers of this process put them; when others \
                 share the database, give --assets with the same place to this node and to all of them",
                config.data_dir.join("assets").display()
            );
        }
        let assets = asset_store::open(&config.data_dir, config.assets.as_ref()).await?;
        let admin_token = loops::admin_token(config.admin_token.as_ref(), &config.data_dir)?;
        tracing::info!(position = %mirror.position(), "2/7 the store in {} is open", config.data_dir.display());
        let view = feed.clone().map(|feed| -> Arc<dyn FeedView> { feed });
        let vantage = Arc::new(OriginVantage::new(Arc::clone(&mirror), view));
        let parts = Self {
            vantage,
            started_at,
            intake: Arc::new(Intake::new(Arc::clone(&hub), Arc::clone(&authority), config.blocked.clone())),
            hub,
            authority,
            operations,
            mirror,
            source,
            assets,
            admin_token,
            metrics: Metrics::new(&router::paths()),
            progress: Arc::default(),
            running: Arc::default(),
            readiness: Arc::default(),
            feed,
        };
        Ok((parts, care))
    }

    fn feed_view(&self) -> Option<Arc<dyn FeedView>> {
        self.feed.clone().map(|feed| -> Arc<dyn FeedView> { feed })
    }

    /// Serves the feed to other nodes, when the node has a listener for them.
    async fn serve_others(
        &self,
        config: &PrimaryConfig,
        app: &App,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<JoinHandle<()>>> {
        let Some(listener) = &config.sync else { return Ok(None) };
        let Some(socket) = sync_listener::open(Some(listener)).await? else { return Ok(None) };
        let source: Arc<dyn Source> = Arc::new(FeedStore::new(Arc::clone(&self.source)));
        let standing = Arc::new(OriginStanding::new(Arc::clone(&self.mirror), Arc::clone(&self.vantage)));
        let relays = Arc::new(OriginRelays::new(Arc::clone(&self.intake)));
        let desk = Arc::new(NodeDesk::new(Arc::clone(app), relays));
        Ok(Some(socket.serve(listener, Server::new(source, standing), desk, stop.clone())))
    }

    fn start_workers(&self, config: &PrimaryConfig, stop: &CancellationToken) -> WorkerHandle {
        let observer = Arc::new(Listeners {
            metrics: Arc::clone(&self.metrics),
            progress: Some(Arc::clone(&self.progress)),
            running: Arc::clone(&self.running),
        });
        start_workers(&config.shared, &self.authority, &self.hub, &self.assets, observer, stop)
    }

    fn app(&self, config: &PrimaryConfig, public_url: &str, backfill: mpsc::Sender<BackfillRequest>) -> App {
        let limits = &config.shared.limits;
        let misses = Arc::new(PrimaryMisses::new(Arc::clone(&self.intake), limits.hub_wait));
        let max_ages = MaxAges::new(limits.max_age_long_s, limits.max_age_short_s);
        let mirror = Arc::clone(&self.mirror);
        let feed = self.feed_view();
        let vantage = Arc::clone(&self.vantage);
        Arc::new(AppState {
            read: ReadState::new(
                mirror,
                misses,
                vantage,
                public_url.to_owned(),
                max_ages,
                READY_CACHE_BYTES_MAX,
            ),
            assets: Arc::clone(&self.assets),
            asset_source: None,
            webhook: WebhookState { secret: config.webhook_secret.clone(), taker: self.intake.clone() },
            admin: Admin::Authority(Arc::new(AdminState {
                token: self.admin_token.clone(),
                operations: Arc::clone(&self.operations),
                authority: Arc::clone(&self.authority),
                intake: Arc::clone(&self.intake),
                backfill,
                node: NodeFacts {
                    role: "primary",
                    store: config.store.to_string(),
                    started_at: self.started_at,
                },
                pages: limits.admin_pages,
            })),
            metrics: Arc::clone(&self.metrics),
            gauges: StoreGauges::new(Some(Arc::clone(&self.authority)), config.data_dir.clone()),
            feed,
            readiness: Arc::clone(&self.readiness),
        })
    }

    fn start_news(&self, config: &PrimaryConfig, loops: &Loops, public_url: String) {
        if !matches!(config.shared.hub, HubSource::Folder(_)) {
            return tracing::info!("6/7 no folder to watch, news comes by webhook");
        }
        let (hub, intake) = (Arc::clone(&self.hub), Arc::clone(&self.intake));
        loops.start(folder::watch_loop(hub, intake, Arc::clone(&self.progress), public_url));
        tracing::info!("6/7 watching the folder for changes");
    }

    fn start_upkeep(
        &self,
        config: &PrimaryConfig,
        loops: &Loops,
        requests: mpsc::Receiver<BackfillRequest>,
        care: Care,
    ) {
        let checks = maintenance::Checks::of(&config.shared.hub);
        loops.start(maintenance::run_loop(Arc::clone(&self.intake), checks, requests));
        match care {
            Care::Scrub(store) => loops.start(scrub::run_loop(store)),
            Care::ScrubMirror(mirror) => loops.start(scrub::run_mirror_loop(mirror, Arc::default())),
        }
        let (mirror, authority) = (Arc::clone(&self.mirror), Arc::clone(&self.authority));
        let knowledge =
            if self.feed.is_some() { assets::Knowledge::UpToPosition } else { assets::Knowledge::Complete };
        let remedy = assets::Remedy::Compute(authority);
        loops.start(assets::run_loops(Arc::clone(&self.assets), mirror, remedy, knowledge));
        let groups = worker_groups(&config.shared);
        let (operations, running) = (Arc::clone(&self.operations), Arc::clone(&self.running));
        if let Some(registration) = Registration::of(operations, running, &groups) {
            // It says goodbye at the end, so it is told instead of dropped.
            loops.tracker.spawn(registration.run(loops.stop.clone()));
        }
    }
}
