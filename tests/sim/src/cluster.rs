//! A cluster and what befalls it.
//!
//! Owns the course of a run: nodes start, the origin commits, readers read, faults strike; then everything is healed and
//! all nodes must become equal within a bound of the simulated time.

mod faults;
mod plan;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outpost_model::{Epoch, Position};
use outpost_sync::source::Batch;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::plan::Theme;
use crate::content::Content;
use crate::feed::DATABASE_LOG_MAX;
use crate::network::Network;
use crate::node::{Kind, Node};
use crate::reader::{Nodes, World};
use crate::state::{State, Step};
use crate::store::MemStore;
use crate::truth::{Truth, short};
use crate::webhooks::Webhooks;

/// How long healed nodes may take to become equal.
const HEALED_WITHIN: Duration = Duration::from_secs(90);

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Checks made.
    pub checks: u64,
    /// What must not have been.
    pub violations: Vec<String>,
    /// A sum of everything that happened.
    pub trace: String,
    /// Everything that happened, when it was asked for.
    pub lines: Vec<String>,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, is_loud: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing that could be missing");
    runtime.block_on(async {
        let truth = Arc::new(Truth::new(is_loud));
        Cluster::new(seed, &truth).live().await;
        let (checks, violations, trace, lines) = truth.end();
        Outcome { checks, violations, trace, lines }
    })
}

struct Cluster {
    nodes: Arc<Mutex<Vec<Node>>>,
    count: usize,
    network: Arc<Network>,
    truth: Arc<Truth>,
    random: fastrand::Rng,
    content: Arc<Mutex<Content>>,
    /// Nodes that are down, and when they start again.
    down: Vec<(Instant, usize)>,
    crashes: (mpsc::UnboundedSender<usize>, mpsc::UnboundedReceiver<usize>),
    tasks: Vec<JoinHandle<()>>,
    backup: Backup,
    /// Whether the origin runs over its backup.
    is_restored: Arc<AtomicBool>,
    webhooks: Arc<Webhooks>,
    theme: Theme,
    /// The first so many nodes are origins.
    primaries: usize,
    /// What they share.
    database: Option<Arc<MemStore>>,
    log_max: usize,
}

/// The backup of the origin that some seeds put back.
enum Backup {
    Never,
    Wanted,
    Taken(Box<State>),
}

impl Cluster {
    fn new(seed: u64, truth: &Arc<Truth>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let primaries = if seed % 5 == 2 { 2 } else { 1 };
        let theme = Theme::of(seed);
        let replicas_min = if theme == Theme::SlowLinks { 1 } else { 2 };
        let count = random.usize(2..=5).max(primaries + replicas_min);
        let log_max = [8, 40, 400][random.usize(..3)];
        // In some there is so much that a range has many items and a page is not all.
        let is_large = seed % 10 == 4;
        let addresses = if is_large { 900 } else { [6, 30, 90][random.usize(..3)] };
        let mut content = Content::new(addresses, random.fork());
        let commits = if is_large { random.u64(600..1_000) } else { random.u64(1..60) };
        let epoch = Epoch(random.u128(1..));
        let full_log_max = if primaries > 1 { DATABASE_LOG_MAX } else { log_max };
        let authority = filled(State::empty(epoch, full_log_max), commits, &mut content);
        truth.began(&authority);
        let database =
            (primaries > 1).then(|| MemStore::open(count, true, authority.clone(), random.u64(..), truth));
        let mut nodes = Vec::new();
        for number in 0..count {
            let kind = match &database {
                None if number == 0 => Kind::Origin,
                Some(database) if number < primaries => Kind::Sharing(Arc::clone(database)),
                _ if theme.is_deep() => Kind::Replica(each_other(number, count, primaries, &mut random)),
                _ => {
                    let mut upstreams = upstreams_of(number, count, primaries, &mut random);
                    let last = count - 1;
                    if theme == Theme::LeftBehind && number != last {
                        upstreams.retain(|upstream| *upstream != last);
                        upstreams.insert(0, last);
                    }
                    Kind::Replica(upstreams)
                }
            };
            if let Kind::Replica(upstreams) = &kind {
                truth.note(&format!("node {number} follows {upstreams:?}"));
            }
            let mut node = Node::new(number, kind, log_max, &mut random);
            node.is_slow = theme == Theme::SlowDisks && number >= primaries;
            nodes.push(node);
        }
        if database.is_none() {
            nodes[0].disk = authority;
        }
        let content = Arc::new(Mutex::new(content));
        let is_restored: Arc<AtomicBool> = Arc::default();
        Self {
            webhooks: Webhooks::new(Arc::clone(&content), Arc::clone(&is_restored), truth),
            nodes: Arc::new(Mutex::new(nodes)),
            count,
            network: Network::new(count, random.u64(..)),
            truth: Arc::clone(truth),
            content,
            random,
            down: Vec::new(),
            crashes: mpsc::unbounded_channel(),
            tasks: Vec::new(),
            backup: if seed % 10 == 9 { Backup::Wanted } else { Backup::Never },
            is_restored,
            theme,
            primaries,
            database,
            log_max,
        }
    }

    async fn live(mut self) {
        for node in 0..self.count {
            self.start(node);
        }
        let writing = self.write();
        self.tasks.push(tokio::spawn(writing));
        let telling = self.tell_of_news();
        self.tasks.push(tokio::spawn(telling));
        if let Some(database) = self.database.clone() {
            self.tasks.push(tokio::spawn(database.flush_for_ever()));
        }
        self.read();
        self.suffer().await;
        self.heal().await;
        self.tasks.drain(..).for_each(|task| task.abort());
        for node in 0..self.count {
            self.with(node, |node, (network, truth)| node.crash(network, truth));
        }
    }

    fn with<T>(&self, number: usize, act: impl FnOnce(&mut Node, (&Arc<Network>, &Arc<Truth>)) -> T) -> T {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut nodes[number], (&self.network, &self.truth))
    }

    fn start(&mut self, number: usize) {
        let mut random = self.random.fork();
        let store = self.with(number, |node, (network, truth)| {
            node.start(network, truth, &self.webhooks, &mut random);
            node.running().map(|running| running.store)
        });
        let Some(store) = store else { return };
        let sender = self.crashes.0.clone();
        tokio::spawn(async move {
            store.crashed().await;
            let _ = sender.send(number);
        });
    }

    fn crash(&mut self, number: usize, down_ms_max: u64) {
        self.with(number, |node, (network, truth)| node.crash(network, truth));
        let back = Instant::now() + Duration::from_millis(self.random.u64(0..=down_ms_max));
        self.down.retain(|(_, down)| *down != number);
        self.down.push((back, number));
    }

    fn write(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let (nodes, content) = (Arc::clone(&self.nodes), Arc::clone(&self.content));
        let database = self.database.clone();
        let is_restored = Arc::clone(&self.is_restored);
        let mut random = self.random.fork();
        let gap_ms_max = [5, 50, 500, 5_000][random.usize(..4)];
        async move {
            loop {
                sleep(Duration::from_millis(random.u64(0..=gap_ms_max))).await;
                let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
                let origin = database.clone().or_else(|| nodes[0].running().map(|running| running.store));
                let Some(origin) = origin else { continue };
                if is_restored.load(Ordering::SeqCst) {
                    continue;
                }
                let now_ms = outpost_sync::WallClock::now_ms(&*nodes[0].wall);
                let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = origin.commit(|state, seq| content.changes(state, seq, now_ms));
            }
        }
    }

    /// The Hub's webhooks come in at the replicas.
    fn tell_of_news(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let (nodes, count) = (Arc::clone(&self.nodes), self.count);
        let mut random = self.random.fork();
        let gap_ms_max = [100, 1_000, 4_000][random.usize(..3)];
        async move {
            loop {
                sleep(Duration::from_millis(random.u64(0..=gap_ms_max))).await;
                let node = random.usize(1..count);
                let running = nodes.lock().unwrap_or_else(PoisonError::into_inner)[node].running();
                if let Some(outbox) = running.and_then(|running| running.outbox) {
                    tokio::spawn(async move { outbox.push().await });
                }
            }
        }
    }

    fn read(&mut self) {
        let nodes = Arc::clone(&self.nodes);
        let running =
            move |number: usize| nodes.lock().unwrap_or_else(PoisonError::into_inner)[number].running();
        let world = World {
            nodes: Arc::new(running) as Nodes,
            network: Arc::clone(&self.network),
            truth: Arc::clone(&self.truth),
            count: self.count,
        };
        let subjects = self.content.lock().unwrap_or_else(PoisonError::into_inner).subjects().to_vec();
        for client in 0..3 {
            let reading = world.clone().read(client, subjects.clone(), self.random.fork());
            self.tasks.push(tokio::spawn(reading));
        }
    }

    /// Faults for a while.
    async fn suffer(&mut self) {
        let end = Instant::now() + Duration::from_secs(self.random.u64(self.theme.seconds_min()..40));
        let gap_ms_max = [300, 2_000, 6_000][self.random.usize(..3)];
        let mut next = Instant::now();
        let mut plan = VecDeque::from(self.plan(end));
        while Instant::now() < end {
            let planned = plan.front().map_or(end, |(at, _)| *at);
            let due = self.down.iter().map(|(back, _)| *back).min().unwrap_or(end).min(next).min(planned);
            tokio::select! {
                biased;
                Some(number) = self.crashes.1.recv() => self.crash(number, 3_000),
                () = tokio::time::sleep_until(due) => {}
            }
            let now = Instant::now();
            while let Some((_, act)) = plan.pop_front_if(|(at, _)| *at <= now) {
                self.act(act);
            }
            if now >= next {
                self.back_up_origin();
                self.strike();
                next = now + Duration::from_millis(self.random.u64(1..=gap_ms_max));
            }
            self.start_due(now);
        }
    }

    fn start_due(&mut self, now: Instant) {
        let due: Vec<usize> =
            self.down.iter().filter(|(back, _)| *back <= now).map(|(_, node)| *node).collect();
        self.down.retain(|(back, _)| *back > now);
        for number in due {
            if self.database.is_some() {
                self.lose_disk(number);
            } else if number == 0 && !self.restore_origin() && self.random.u8(..3) == 0 {
                self.rebuild_origin();
            }
            self.start(number);
        }
    }

    /// Puts a backup back in place of the origin's disk, once; the next time the operator gives it a new history, as the
    /// replicas' refusal says. Whether either was done.
    fn restore_origin(&mut self) -> bool {
        if self.is_restored.swap(false, Ordering::SeqCst) {
            self.rebuild_origin();
            return true;
        }
        let Backup::Taken(backup) = &self.backup else { return false };
        let backup = backup.clone();
        let is_older = self.with(0, |node, (_, truth)| {
            let (old, disk) = (backup.position, node.disk.position);
            let is_older = old.epoch == disk.epoch && old.seq < disk.seq;
            if is_older {
                truth.lost_history(&format!(
                    "the origin is put back from {} to {}",
                    short(&disk),
                    short(&old)
                ));
                node.disk = *backup;
            }
            is_older
        });
        if is_older {
            self.backup = Backup::Never;
            self.is_restored.store(true, Ordering::SeqCst);
        }
        is_older
    }

    /// Now and then a primary that shares its authority comes back with an empty mirror.
    fn lose_disk(&mut self, number: usize) {
        if number < self.primaries && self.random.u8(..3) == 0 {
            let log_max = self.log_max;
            self.with(number, |node, _| node.lose_disk(log_max));
        }
    }

    fn back_up_origin(&mut self) {
        if matches!(self.backup, Backup::Wanted)
            && let Some(origin) = self.with(0, |node, _| node.running())
        {
            self.backup = Backup::Taken(Box::new(origin.store.on_disk(Clone::clone)));
        }
    }

    /// The origin comes back with another history: over what survived, or over nothing.
    fn rebuild_origin(&mut self) {
        let epoch = Epoch(self.random.u128(1..));
        let survivors = [0, 50, 100][self.random.usize(..3)];
        let says_left = self.random.bool();
        let mut random = self.random.fork();
        let gap = random.u64(0..100);
        self.with(0, |node, (_, truth)| {
            node.disk.rebuild(epoch, survivors, says_left, gap, &mut random);
            truth.note(&format!("the origin is rebuilt at {}", short(&node.disk.position)));
            truth.began(&node.disk);
        });
    }

    /// Everything is well again; all must become equal.
    async fn heal(&mut self) {
        self.truth.note("healed");
        if self.is_restored.load(Ordering::SeqCst) {
            self.crash(0, 0);
        }
        self.network.heal();
        (0..self.primaries)
            .for_each(|number| self.with(number, |node, _| node.is_cut.store(false, Ordering::SeqCst)));
        // A crash that still waits for its step may come.
        let began = Instant::now();
        let mut is_writing = true;
        loop {
            while let Ok(number) = self.crashes.1.try_recv() {
                self.crash(number, 0);
            }
            self.start_due_all();
            self.scrub();
            let healing = began.elapsed();
            if is_writing && healing > Duration::from_secs(2) {
                self.tasks.drain(..2).for_each(|task| task.abort());
                is_writing = false;
            }
            let missing = self.webhooks.missing();
            if !is_writing && self.differing().is_empty() && missing.is_empty() {
                break;
            }
            if healing > HEALED_WITHIN {
                let differing = self.differing();
                self.truth.violated(&format!(
                    "{HEALED_WITHIN:?} after healing: differing {differing:?}, webhooks without effect {missing:?}"
                ));
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.truth.note("equal");
    }

    fn start_due_all(&mut self) {
        for (_, number) in std::mem::take(&mut self.down) {
            if number == 0 && self.is_restored.swap(false, Ordering::SeqCst) {
                self.rebuild_origin();
            }
            self.start(number);
        }
    }

    /// Nodes that are not what the origin is, with what they say of it.
    fn differing(&self) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |node: &Node| -> Option<(Position, crate::state::Digest, usize)> {
            let running = node.running()?;
            Some(running.store.seen(|state| (state.position, state.digest(), state.damaged().count())))
        };
        let origin = match &self.database {
            Some(database) => Some(database.on_disk(|state| (state.position, state.digest(), 0))),
            None => whole(&nodes[0]),
        };
        let differing = nodes.iter().filter(|node| whole(node) != origin || origin.is_none());
        differing
            .map(|node| {
                let position = whole(node).map_or("down".to_owned(), |(position, ..)| short(&position));
                let status = node.running().and_then(|running| running.board).map(|board| board.status());
                format!("node {} at {position}, {:?}", node.number, status)
            })
            .collect()
    }
}

/// The state after so many commits.
fn filled(mut state: State, commits: u64, content: &mut Content) -> State {
    for seq in 1..=commits {
        let changes = content.changes(&state, seq, 1_699_000_000_000 + seq);
        let epoch = state.position.epoch;
        state.step(&Step::Apply(Batch { epoch, changes, reached: Some(seq), left: Vec::new() }));
    }
    state
}

/// Other replicas first; only the first replica has an origin besides.
fn each_other(number: usize, count: usize, primaries: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    let mut upstreams: Vec<usize> = (primaries..count).filter(|other| *other != number).collect();
    random.shuffle(&mut upstreams);
    if number == primaries {
        upstreams.extend(0..primaries);
    }
    upstreams
}

/// Some others in any order, at least one of them nearer to the origin, and the first replica with all origins.
fn upstreams_of(number: usize, count: usize, primaries: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    let is_first = number == primaries && primaries > 1;
    let mut is_wanted = |other: usize| random.bool() || (is_first && other < primaries);
    let mut upstreams: Vec<usize> =
        (0..count).filter(|other| *other != number && is_wanted(*other)).collect();
    if !upstreams.iter().any(|other| *other < number) {
        upstreams.push(random.usize(..number));
    }
    random.shuffle(&mut upstreams);
    upstreams
}
