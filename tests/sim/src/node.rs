//! A node: its disk, its clock, and while it runs the real server and follower over a store in memory.
//!
//! Owns what a start makes and what a crash leaves.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_model::{Epoch, Position};
use outpost_sync::promise::Role;
use outpost_sync::relay::{Outbox, Passing, Relay};
use outpost_sync::source::{Source, Target};
use outpost_sync::testing::Origin;
use outpost_sync::{Follower, Freshness, NodeId, Server, Standing, StatusBoard, WallClock};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::feed::Feed;
use crate::meter::Meter;
use crate::network::{Host, Network};
use crate::state::State;
use crate::store::MemStore;
use crate::truth::Truth;
use crate::webhooks::{Desk, MemOutbox, OriginDesk, OutboxDisk, Webhooks};

/// How long a flush of a slow disk takes at most.
const SLOW_FLUSH_MS_MAX: u64 = 3_000;

/// The clock on a node's wall.
pub struct Wall {
    began: Instant,
    offset_ms: AtomicI64,
    /// Gains or loses so many ms in a second.
    drift: i64,
}

impl Wall {
    fn new(random: &mut fastrand::Rng) -> Arc<Self> {
        let offset_ms = AtomicI64::new(1_700_000_000_000 + random.i64(-100_000..100_000));
        Arc::new(Self { began: Instant::now(), offset_ms, drift: random.i64(-20..=20) })
    }

    /// Jumps.
    pub fn jump(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl WallClock for Wall {
    fn now_ms(&self) -> u64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let drifted = elapsed + elapsed * self.drift / 1_000;
        u64::try_from(self.offset_ms.load(Ordering::SeqCst) + drifted).unwrap_or(0)
    }
}

/// A primary that shares its authority: an origin too, as old as its mirror is.
struct SharingOrigin(NodeId, Arc<Freshness>);

impl Standing for SharingOrigin {
    fn node(&self) -> NodeId {
        self.0
    }

    fn path(&self) -> Vec<NodeId> {
        vec![self.0]
    }

    fn age_ms(&self, at: &Position) -> Option<u64> {
        let age = self.1.age_at(at)?;
        Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX).saturating_add(1))
    }
}

/// What a node is.
#[derive(Clone)]
pub enum Kind {
    /// The origin, over its own store.
    Origin,
    /// One of the origins over a database.
    Sharing(Arc<MemStore>),
    /// It follows these, the preferred one first.
    Replica(Vec<usize>),
}

/// What runs.
#[derive(Clone)]
pub struct Running {
    /// Which node.
    pub node: usize,
    /// What it is to readers.
    pub role: Role,
    /// Its store.
    pub store: Arc<MemStore>,
    /// Its standing; of a replica only.
    pub board: Option<Arc<StatusBoard>>,
    /// Its age, unless it is over its own store.
    pub freshness: Option<Arc<Freshness>>,
    /// Webhooks that wait; of a replica only.
    pub outbox: Option<Arc<MemOutbox>>,
    /// Whom it follows, the preferred one first.
    pub upstreams: Vec<usize>,
}

impl Running {
    /// How old its state may be.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        match &self.freshness {
            Some(freshness) => freshness.age(),
            None => Some(Duration::ZERO),
        }
    }
}

/// See the module.
pub struct Node {
    /// Its number; 0 is the origin.
    pub number: usize,
    /// Its clock.
    pub wall: Arc<Wall>,
    kind: Kind,
    /// Whether its disk is slow.
    pub is_slow: bool,
    /// Whether it cannot reach its database.
    pub is_cut: Arc<AtomicBool>,
    /// What a crash leaves.
    pub disk: State,
    /// The same for webhooks that wait.
    outbox: OutboxDisk,
    running: Mutex<Option<Running>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// A node that was never started.
    #[must_use]
    pub fn new(number: usize, kind: Kind, log_max: usize, random: &mut fastrand::Rng) -> Self {
        let epoch = Epoch(random.u128(1..));
        Self {
            number,
            wall: Wall::new(random),
            kind,
            is_slow: false,
            is_cut: Arc::default(),
            disk: State::empty(epoch, log_max),
            outbox: OutboxDisk::default(),
            running: Mutex::new(None),
            tasks: Vec::new(),
        }
    }

    /// What runs, if it does.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        self.running.lock().ok()?.clone()
    }

    fn upstreams(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Replica(upstreams) => upstreams.clone(),
            Kind::Origin | Kind::Sharing(_) => Vec::new(),
        }
    }

    /// Its disk is a new one.
    pub fn lose_disk(&mut self, log_max: usize) {
        self.disk = State::empty(self.disk.position.epoch, log_max);
    }

    /// Starts it.
    pub fn start(
        &mut self,
        network: &Arc<Network>,
        truth: &Arc<Truth>,
        webhooks: &Arc<Webhooks>,
        random: &mut fastrand::Rng,
    ) {
        let is_origin = matches!(self.kind, Kind::Origin);
        let store = MemStore::open(self.number, is_origin, self.disk.clone(), random.u64(..), truth);
        if self.is_slow {
            store.slow_down(SLOW_FLUSH_MS_MAX);
        }
        let id = NodeId(random.u128(1..));
        truth.note(&format!("node {} starts at {}", self.number, crate::truth::short(&self.disk.position)));
        self.tasks = vec![tokio::spawn(Arc::clone(&store).flush_for_ever())];
        let mut running = Running {
            node: self.number,
            role: Role::Origin,
            store: Arc::clone(&store),
            board: None,
            freshness: None,
            outbox: None,
            upstreams: self.upstreams(),
        };
        let wall: Arc<Wall> = Arc::clone(&self.wall);
        let (standing, desk): (Arc<dyn Standing>, _) = match self.kind.clone() {
            Kind::Origin => {
                let desk =
                    OriginDesk::new(Arc::clone(&store), Arc::clone(&store), wall, Arc::clone(webhooks));
                (Arc::new(Origin(id)), Desk::Origin(desk))
            }
            Kind::Sharing(database) => {
                let is_cut = Arc::clone(&self.is_cut);
                let (from, to) = (Arc::clone(&database), Arc::clone(&store));
                let feed = Feed::new(from, to, Arc::clone(&wall) as _, is_cut, random.fork());
                let freshness = feed.freshness();
                self.tasks.push(tokio::spawn(feed.run()));
                running.role = Role::Sharing;
                running.freshness = Some(Arc::clone(&freshness));
                let desk = OriginDesk::new(Arc::clone(&store), database, wall, Arc::clone(webhooks));
                (Arc::new(SharingOrigin(id, freshness)), Desk::Origin(desk))
            }
            Kind::Replica(_) => self.follow(id, &mut running, network, webhooks, random),
        };
        let source: Arc<dyn Source> = Arc::clone(&store) as _;
        let server = Server::new(source, standing);
        network.serve(self.number, Some(Host { server, store, desk: Arc::new(desk) }));
        *self.running.lock().expect("no holder panics") = Some(running);
    }

    /// What a replica runs besides.
    fn follow(
        &mut self,
        id: NodeId,
        running: &mut Running,
        network: &Arc<Network>,
        webhooks: &Arc<Webhooks>,
        random: &mut fastrand::Rng,
    ) -> (Arc<dyn Standing>, Desk) {
        let store = &running.store;
        let wall: Arc<Wall> = Arc::clone(&self.wall);
        let freshness = Arc::new(Freshness::new(wall));
        let board = Arc::new(StatusBoard::new(id, Arc::clone(&freshness)));
        let meter = Arc::new(Meter::default());
        meter.watch(store, &board);
        store.metered(&meter);
        let ways: Vec<_> = running.upstreams.iter().map(|to| network.way(self.number, *to, &meter)).collect();
        let disk = self.outbox.clone();
        let (store_too, webhooks) = (Arc::clone(store), Arc::clone(webhooks));
        let outbox = MemOutbox::open(self.number, disk, store_too, webhooks, random.u64(..));
        let waiting: Arc<dyn Outbox> = Arc::clone(&outbox) as _;
        self.tasks.push(tokio::spawn(Relay::new(waiting, ways.clone(), Arc::default()).run()));
        let passing = Passing::new(ways.clone());
        let target: Arc<dyn Target> = Arc::clone(store) as _;
        let (board_too, freshness_too) = (Arc::clone(&board), Arc::clone(&freshness));
        let follower = Follower::new(target, ways, board_too, freshness_too, random.u64(..));
        self.tasks.push(tokio::spawn(follower.run()));
        running.outbox = Some(outbox);
        running.role = Role::Replica;
        running.board = Some(Arc::clone(&board));
        running.freshness = Some(freshness);
        (board, Desk::Passing(passing))
    }

    /// Crashes it.
    pub fn crash(&mut self, network: &Arc<Network>, truth: &Arc<Truth>) {
        let Some(running) = self.running.lock().expect("no holder panics").take() else { return };
        self.tasks.drain(..).for_each(|task| task.abort());
        network.serve(self.number, None);
        self.disk = running.store.crash();
        if let Some(outbox) = &running.outbox {
            self.outbox = outbox.on_disk();
        }
        truth.note(&format!("node {} crashed at {}", self.number, crate::truth::short(&self.disk.position)));
    }
}
