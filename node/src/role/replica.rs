//! The replica: serves a copy of another node close to its readers.
//!
//! Owns the order in which its parts start and stop. It serves what it has from the first moment, also before any
//! upstream was heard of; `/ready` says when a load balancer should send readers here. Refuses the data directory of
//! another role: what is in it is no copy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use outpost_model::limits;
use outpost_storage::{
    AssetStore, Disk, FeedSource, FolderAssets, Mirror, MirrorStore, Outbox, StorageError,
};
use outpost_sync::adapter::MirrorTarget;
use outpost_sync::relay::{Relay, RelayCounts};
use outpost_sync::{Follower, Freshness, NodeId, Server, StatusBoard, Upstream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::assets_ahead::AssetsAhead;
use super::loops::{self, Loops};
use super::{Ended, asset_store, assets, reopen, room, scrub, store, sync_listener};
use crate::clock;
use crate::config::ReplicaConfig;
use crate::http::frame::Frame;
use crate::http::read::ReadState;
use crate::http::response::MaxAges;
use crate::http::routes::admin::wire::{
    AssetFigures, NodeItem, OutboxFigures, ReplicaStatus, ScrubItem, time_text,
};
use crate::http::routes::admin::{Admin, ReplicaAdmin};
use crate::http::routes::technical::StoreGauges;
use crate::http::routes::webhook::WebhookState;
use crate::http::{App, AppState, Readiness, router, server};
use crate::metrics::Metrics;
use crate::outbox::ReplicaOutbox;
use crate::sync_api::{NodeDesk, PassingRelays};
use crate::upstream::{self, AssetBounds, AssetFetcher, ReplicaMisses};
use crate::vantage::{Bounds, ReplicaVantage, SystemWallClock};

/// What is open and shared between the parts that run.
struct Parts {
    mirror: MirrorStore,
    assets: FolderAssets,
    upstreams: Vec<Arc<dyn Upstream>>,
    freshness: Arc<Freshness>,
    board: Arc<StatusBoard>,
    target: Arc<MirrorTarget>,
    server: Arc<Server>,
    readiness: Arc<Readiness>,
    outbox: Outbox,
    relayed: Arc<RelayCounts>,
    has_room: watch::Receiver<bool>,
    last_scrub: Arc<scrub::LastScrub>,
    fetcher: Arc<AssetFetcher>,
    asset_bounds: AssetBounds,
    assets_skipped: Arc<AtomicU64>,
}

/// Runs a replica until `stop`, or until one of its stores failed and can be opened again.
///
/// # Errors
/// When a part cannot start.
pub async fn run(config: ReplicaConfig, stop: CancellationToken) -> anyhow::Result<Ended> {
    refuse_other_roles(&config.data_dir)?;
    let upstreams = upstream::connect(&config.upstreams, config.token.as_ref())?;
    tracing::info!(upstreams = ?config.upstreams, "1/5 this replica follows {}", config.upstreams.join(", then "));
    let (room, has_room) = watch::channel(true);
    let parts = Parts::open(&config, upstreams, has_room).await?;
    let position = parts.mirror.position();
    tracing::info!(%position, "2/5 the mirror in {} is open", config.data_dir.display());

    let listener = server::bind(config.listen)
        .await
        .with_context(|| format!("failed to listen on {}; choose another --listen", config.listen))?;
    let address = listener.local_addr().context("failed to read the listening address")?;
    let public_url =
        config.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", address.port()));
    let app = parts.app(&config, &public_url)?;
    let http_stop = CancellationToken::new();
    let frame = Arc::new(Frame::new(Arc::clone(&app)));
    let http = tokio::spawn(server::serve(listener, frame, http_stop.clone()));
    tracing::info!(address = %address, public_url, "3/5 serving on {address}, open {public_url}/healthcheck");
    let others = parts.serve_others(&config, &app, &http_stop).await?;
    tracing::info!(
        "4/5 {}",
        if others.is_some() { "other nodes can follow" } else { "nobody can follow this node" }
    );

    let loops = Loops::default();
    loops.start(async move { app.read.follow_loop().await });
    loops.start(parts.follower().run());
    loops.start(room::watch_loop(config.data_dir.clone(), parts.mirror.clone(), room));
    let outbox = Arc::new(ReplicaOutbox(parts.outbox.clone()));
    loops.start(Relay::new(outbox, parts.upstreams.clone(), Arc::clone(&parts.relayed)).run());
    let (assets, mirror) = (Arc::new(parts.assets.clone()), Arc::new(parts.mirror.clone()));
    loops.start(assets::run_loops(assets, mirror, assets::Remedy::Fetch, assets::Knowledge::Copied));
    loops.start(parts.assets_ahead().run());
    loops.start(Arc::clone(&parts.fetcher).note_reads_loop());
    loops.start(scrub::run_mirror_loop(parts.mirror.clone(), Arc::clone(&parts.last_scrub)));
    tracing::info!("5/5 following; the replica is up");

    let failed = reopen::worth_while(parts.failed(), config.data_dir.clone());
    let ended = tokio::select! {
        () = stop.cancelled() => Ended::Stopped,
        cause = failed => Ended::Reopen(cause),
    };
    parts.readiness.start_draining();
    http_stop.cancel();
    loops::close([Some(http), others], ended.grace()).await;
    loops.end().await;
    parts.fetcher.note_reads().await;
    tracing::info!("the replica stops");
    Ok(ended)
}

/// The directory of a node that computes is not a replica's.
fn refuse_other_roles(data_dir: &Path) -> anyhow::Result<()> {
    if data_dir.join("store").exists() {
        bail!(
            "{} belongs to a primary, which keeps its own store there; give this replica another --data-dir",
            data_dir.display()
        );
    }
    Ok(())
}

impl Parts {
    async fn open(
        config: &ReplicaConfig,
        upstreams: Vec<Arc<dyn Upstream>>,
        has_room: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let mirror = store::open_mirror(&config.data_dir).await?;
        let freshness = Arc::new(Freshness::new(Arc::new(SystemWallClock)));
        let board = Arc::new(StatusBoard::new(NodeId::random(), Arc::clone(&freshness)));
        let disk = Disk { directory: config.data_dir.clone(), has_room: has_room.clone() };
        let target = Arc::new(MirrorTarget::new(mirror.clone(), disk.clone()));
        let assets = asset_store::open_own(&config.data_dir).await?;
        let bounds = config.assets;
        Ok(Self {
            fetcher: Arc::new(AssetFetcher::new(upstreams.clone(), Arc::new(assets.clone()), bounds, disk)),
            asset_bounds: bounds,
            assets_skipped: Arc::default(),
            assets,
            server: Server::new(target.clone(), board.clone()),
            mirror,
            upstreams,
            freshness,
            board,
            target,
            readiness: Arc::default(),
            outbox: open_outbox(&config.data_dir).await?,
            relayed: Arc::default(),
            last_scrub: Arc::default(),
            has_room,
        })
    }

    /// Why one of the stores takes no more writes, once it does not.
    async fn failed(&self) -> StorageError {
        tokio::select! {
            cause = self.mirror.failed() => cause,
            cause = self.outbox.failed() => cause,
            cause = self.assets.failed() => cause,
        }
    }

    fn follower(&self) -> Follower {
        // Spreads the back-offs of many nodes.
        let seed = self.board.me().0 as u64;
        let (board, freshness) = (Arc::clone(&self.board), Arc::clone(&self.freshness));
        Follower::new(self.target.clone(), self.upstreams.clone(), board, freshness, seed)
    }

    fn assets_ahead(&self) -> AssetsAhead {
        AssetsAhead {
            mirror: self.mirror.clone(),
            store: self.assets.clone(),
            fetcher: Arc::clone(&self.fetcher),
            bounds: self.asset_bounds,
            board: Arc::clone(&self.board),
            has_room: self.has_room.clone(),
            skipped: Arc::clone(&self.assets_skipped),
        }
    }

    fn app(&self, config: &ReplicaConfig, public_url: &str) -> anyhow::Result<App> {
        let mirror: Arc<dyn Mirror> = Arc::new(self.mirror.clone());
        let misses = Arc::new(ReplicaMisses::new(self.upstreams.clone(), Arc::clone(&mirror)));
        let bounds =
            Bounds { staleness_max: config.staleness_max, visibility_age_max: config.visibility_age_max };
        let vantage = ReplicaVantage::new(self.mirror.clone(), Arc::clone(&self.freshness), bounds);
        let max_ages = MaxAges::new(config.limits.max_age_long_s, config.limits.max_age_short_s);
        let public_url = public_url.to_owned();
        let taker = Arc::new(ReplicaOutbox(self.outbox.clone()));
        Ok(Arc::new(AppState {
            read: ReadState::new(
                mirror,
                misses,
                Arc::new(vantage),
                public_url,
                max_ages,
                limits::READY_CACHE_BYTES_MAX,
            ),
            assets: Arc::new(self.assets.clone()),
            asset_source: Some(self.fetcher.clone()),
            webhook: WebhookState { secret: config.webhook_secret.clone(), taker },
            admin: Admin::Replica(Arc::new(ReplicaAdmin {
                token: loops::admin_token(config.admin_token.as_ref(), &config.data_dir)?,
                look: self.look(),
            })),
            metrics: Metrics::new(&router::paths()),
            gauges: StoreGauges::new(None, config.data_dir.clone()),
            feed: None,
            readiness: Arc::clone(&self.readiness),
        }))
    }

    /// Serves the feed to other nodes, when the node has a listener for them.
    async fn serve_others(
        &self,
        config: &ReplicaConfig,
        app: &App,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<JoinHandle<()>>> {
        let Some(listener) = &config.sync else { return Ok(None) };
        let Some(socket) = sync_listener::open(Some(listener)).await? else { return Ok(None) };
        let relays = Arc::new(PassingRelays::new(self.upstreams.clone()));
        let desk = Arc::new(NodeDesk::new(Arc::clone(app), relays));
        Ok(Some(socket.serve(listener, Arc::clone(&self.server), desk, stop.clone())))
    }

    fn look(&self) -> Box<dyn Fn() -> ReplicaStatus + Send + Sync> {
        let (mirror, board) = (self.mirror.clone(), Arc::clone(&self.board));
        let (freshness, server) = (Arc::clone(&self.freshness), Arc::clone(&self.server));
        let (outbox, relayed) = (self.outbox.clone(), Arc::clone(&self.relayed));
        let (has_room, last_scrub) = (self.has_room.clone(), Arc::clone(&self.last_scrub));
        let (fetcher, assets_skipped) = (Arc::clone(&self.fetcher), Arc::clone(&self.assets_skipped));
        let node = NodeItem {
            role: "replica".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: "mirror".to_owned(),
            started_at: time_text(clock::now()),
        };
        Box::new(move || {
            let (status, summary, head) = (board.status(), mirror.summary(), mirror.head());
            ReplicaStatus {
                node: node.clone(),
                phase: status.phase.as_str().to_owned(),
                upstream: status.upstream,
                position: mirror.visible().to_string(),
                head: status.head.map(|head| head.to_string()),
                is_filled: mirror.visible().seq > 0,
                staleness_ms: freshness.age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                records: head.records,
                head_records: status.head.map(|_| status.head_records),
                stored_bytes: summary.stored_bytes,
                last_end: status.last_end,
                sessions: status.sessions,
                reconciliations: status.reconciliations,
                differences: status.differences,
                round_trips: status.round_trips,
                received_bytes: status.received_bytes,
                received_records: status.received_records,
                followers: server.followers() as u64,
                has_room: *has_room.borrow(),
                disk_bytes: mirror.size_on_disk().ok(),
                assets: AssetFigures::of(fetcher.kept(), assets_skipped.load(Ordering::Relaxed)),
                outbox: outbox_item(&outbox, &relayed),
                last_scrub: last_scrub.get().map(|(at, report)| ScrubItem {
                    at: time_text(at),
                    records_checked: report.records_checked,
                    records_damaged: report.records_damaged,
                }),
            }
        })
    }
}

async fn open_outbox(data_dir: &Path) -> anyhow::Result<Outbox> {
    let directory = data_dir.join("outbox");
    let opened = tokio::task::spawn_blocking(move || Outbox::open(&directory)).await;
    opened.context("failed to open the outbox")?.with_context(|| {
        format!("failed to open the outbox in {}; choose another --data-dir", data_dir.display())
    })
}

fn outbox_item(outbox: &Outbox, relayed: &RelayCounts) -> OutboxFigures {
    let stats = outbox.stats();
    OutboxFigures {
        webhooks: stats.entries as u64,
        bytes: stats.bytes,
        oldest_age_ms: stats.oldest_received_at.map(|at| clock::now().since_ms(at)),
        taken: relayed.taken.load(Ordering::Relaxed),
        refused: relayed.refused.load(Ordering::Relaxed),
        failures: relayed.failures.load(Ordering::Relaxed),
        last_failure: relayed.last_failure(),
    }
}
