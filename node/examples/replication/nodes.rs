//! The two ends: a store behind a sync listener, and a store that follows one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use async_trait::async_trait;
use outpost_model::Position;
use outpost_node::http::server;
use outpost_node::sync_api::{Desk, SyncApi};
use outpost_storage::{Disk, Mirror, MirrorStore};
use outpost_sync::adapter::{FeedStore, MirrorTarget};
use outpost_sync::http::{HttpUpstream, parse_address};
use outpost_sync::server::Frames;
use outpost_sync::testing::Origin;
use outpost_sync::wire::{Asset, Found, Lookup, Relay, Taken};
use outpost_sync::{
    Follower, Freshness, NodeId, Refusal, RefusalCode, Server, StatusBoard, Upstream, WallClock,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::counting::{Counting, Counts};
use crate::records::EPOCH;

struct NoDesk;

fn nothing() -> Refusal {
    Refusal::new(RefusalCode::Malformed, "this bench has no desk")
}

#[async_trait]
impl Desk for NoDesk {
    async fn lookup(&self, _: Lookup) -> Result<Found, Refusal> {
        Err(nothing())
    }

    async fn webhook(&self, _: Relay) -> Result<Taken, Refusal> {
        Err(nothing())
    }

    async fn asset(&self, _: Asset) -> Result<Frames, Refusal> {
        Err(nothing())
    }
}

/// A store behind a listener.
pub struct Source {
    pub store: MirrorStore,
    pub address: SocketAddr,
    stop: CancellationToken,
    _directory: TempDir,
}

impl Source {
    pub async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = MirrorStore::open(directory.path())?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let feed = Arc::new(FeedStore::new(Arc::new(store.clone())));
        let server = Server::new(feed, Arc::new(Origin(NodeId::random())));
        let stop = CancellationToken::new();
        let api = Arc::new(SyncApi::new(None, server, Arc::new(NoDesk), stop.clone()));
        tokio::spawn(server::serve(listener, api, stop.clone()));
        Ok(Self { store, address, stop, _directory: directory })
    }

    pub fn upstream(&self) -> anyhow::Result<Arc<dyn Upstream>> {
        upstream(&format!("http://{}", self.address))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn upstream(address: &str) -> anyhow::Result<Arc<dyn Upstream>> {
    let address = parse_address(address)?;
    let client = outpost_hub::client_builder(&address)?.no_proxy().build()?;
    Ok(Arc::new(HttpUpstream::new(address, None, client)))
}

struct Clock;

impl WallClock for Clock {
    fn now_ms(&self) -> u64 {
        outpost_node::clock::now().0
    }
}

/// A store that follows.
pub struct Replica {
    pub store: MirrorStore,
    pub counts: Arc<Counts>,
    pub board: Arc<StatusBoard>,
    following: Option<tokio::task::JoinHandle<()>>,
    room: watch::Sender<bool>,
    directory: TempDir,
}

impl Replica {
    pub fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = MirrorStore::open(directory.path())?;
        let board = Arc::new(StatusBoard::new(NodeId::random(), Arc::new(Freshness::new(Arc::new(Clock)))));
        let (room, counts) = (watch::Sender::new(true), Arc::default());
        Ok(Self { store, counts, board, following: None, room, directory })
    }

    /// Follows `upstream` and nobody else from now on.
    pub fn follow(&mut self, upstream: Arc<dyn Upstream>) {
        self.stop();
        self.counts = Arc::default();
        let disk = Disk { directory: self.directory.path().to_owned(), has_room: self.room.subscribe() };
        let target = Arc::new(MirrorTarget::new(self.store.clone(), disk));
        let upstream = Arc::new(Counting { upstream, counts: Arc::clone(&self.counts) });
        let freshness = Arc::new(Freshness::new(Arc::new(Clock)));
        let follower = Follower::new(target, vec![upstream], Arc::clone(&self.board), freshness, 1);
        self.following = Some(tokio::spawn(follower.run()));
    }

    pub fn stop(&mut self) {
        if let Some(following) = self.following.take() {
            following.abort();
        }
    }

    /// Returns when everything up to `seq` can be read.
    pub async fn stands_at(&self, seq: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.store.visible() != (Position { epoch: EPOCH, seq }) {
            let is_late = began.elapsed() > Duration::from_secs(600);
            ensure!(!is_late, "at {} instead of {seq}: {:?}", self.store.visible(), self.board.status());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
