//! A cluster and what befalls it.
//!
//! Owns the course of a run: nodes start, the origin commits, readers read, faults strike; then everything is healed and
//! all nodes must become equal within a bound of the simulated time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outpost_model::{Epoch, Position};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::content::Content;
use crate::network::Network;
use crate::node::Node;
use crate::reader::{Nodes, World};
use crate::state::{Damage, State};
use crate::store::CrashPoint;
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
    /// So many changes there are at most before the replicas come.
    commits: u64,
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
        let count = random.usize(2..=5);
        let log_max = [8, 40, 400][random.usize(..3)];
        let mut nodes = vec![Node::new(0, Vec::new(), log_max, &mut random)];
        for number in 1..count {
            let upstreams = upstreams_of(number, count, &mut random);
            truth.note(&format!("node {number} follows {upstreams:?}"));
            nodes.push(Node::new(number, upstreams, log_max, &mut random));
        }
        // In some there is so much that a range has many items and a page is not all.
        let is_large = seed % 10 == 4;
        let addresses = if is_large { 700 } else { [6, 30, 90][random.usize(..3)] };
        let content = Arc::new(Mutex::new(Content::new(addresses, random.fork())));
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
            commits: if is_large { 500 } else { 60 },
        }
    }

    async fn live(mut self) {
        self.fill_origin();
        for node in 0..self.count {
            self.start(node);
        }
        let writing = self.write();
        self.tasks.push(tokio::spawn(writing));
        let telling = self.tell_of_news();
        self.tasks.push(tokio::spawn(telling));
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

    /// Something is there when the replicas come.
    fn fill_origin(&mut self) {
        let commits = self.random.u64(1..self.commits);
        let content = Arc::clone(&self.content);
        self.with(0, |node, (_, truth)| {
            let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
            for seq in 1..=commits {
                let changes = content.changes(&node.disk, seq, 1_699_000_000_000 + seq);
                let epoch = node.disk.position.epoch;
                let batch =
                    outpost_sync::source::Batch { epoch, changes, reached: Some(seq), left: Vec::new() };
                node.disk.step(&crate::state::Step::Apply(batch));
            }
            truth.began(&node.disk);
        });
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
        let is_restored = Arc::clone(&self.is_restored);
        let mut random = self.random.fork();
        let gap_ms_max = [5, 50, 500, 5_000][random.usize(..4)];
        async move {
            loop {
                sleep(Duration::from_millis(random.u64(0..=gap_ms_max))).await;
                let nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(origin) = nodes[0].running() else { continue };
                if is_restored.load(Ordering::SeqCst) {
                    continue;
                }
                let now_ms = outpost_sync::WallClock::now_ms(&*nodes[0].wall);
                let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = origin.store.commit(|state, seq| content.changes(state, seq, now_ms));
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
        let end = Instant::now() + Duration::from_secs(self.random.u64(5..40));
        let gap_ms_max = [300, 2_000, 6_000][self.random.usize(..3)];
        let mut next = Instant::now();
        while Instant::now() < end {
            let due = self.down.iter().map(|(back, _)| *back).min().unwrap_or(end).min(next);
            tokio::select! {
                biased;
                Some(number) = self.crashes.1.recv() => self.crash(number, 3_000),
                () = tokio::time::sleep_until(due) => {}
            }
            let now = Instant::now();
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
            if number == 0 && !self.restore_origin() && self.random.u8(..3) == 0 {
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

    fn strike(&mut self) {
        let one = self.random.usize(..self.count);
        let other = self.random.usize(..self.count);
        let network = Arc::clone(&self.network);
        let what = self.random.u8(..17);
        self.truth.note(&format!("fault {what} at {one}, {other}"));
        match what {
            0 => network.change(one, other, |link| link.is_silent = true),
            1 => network.change(one, other, |link| link.is_refused = true),
            2 => network.change(one, other, |link| link.cuts += 1),
            3 => network.change(one, other, |link| link.garbles_one_in = 20),
            4 => network.change(one, other, |link| link.delay_ms_max = 400),
            5 => network.change(one, other, |link| link.bytes_per_ms = 5),
            6 => network.heal(),
            7 => self.crash(one, 3_000),
            8 | 9 => {
                let point = CrashPoint::ALL[self.random.usize(..CrashPoint::ALL.len())];
                let running = self.with(one, |node, _| node.running());
                if let Some(running) = running {
                    running.store.arm(point);
                }
            }
            10 => {
                let ms = self.random.i64(-100_000..100_000);
                self.with(one, |node, _| node.wall.jump(ms));
            }
            11 => {
                for number in (0..self.count).filter(|number| *number != one) {
                    network.change(one, number, |link| link.is_silent = true);
                    network.change(number, one, |link| link.is_silent = true);
                }
            }
            12 => self.crash(0, 8_000),
            13 | 14 => self.damage(one),
            15 => self.damage_all_but_origin(),
            _ => self.scrub(),
        }
    }

    /// Some records of a replica cannot be read any more.
    fn damage(&mut self, number: usize) {
        let Some(running) = self.with(number, |node, _| node.running()).filter(|_| number > 0) else {
            return;
        };
        for _ in 0..self.random.usize(1..4) {
            // What changed last is what followers are told of next.
            let last =
                running.store.on_disk(|state| state.log().last().cloned()).filter(|_| self.random.bool());
            let any = || self.content.lock().unwrap_or_else(PoisonError::into_inner).subject();
            let subject = last.unwrap_or_else(any);
            let damage = if self.random.bool() { Damage::Head } else { Damage::Body };
            if running.store.damage(&subject, damage) {
                self.truth.note(&format!("node {number} has a record with a damaged {damage:?}"));
            }
        }
    }

    /// The same at each replica, and another one cannot help.
    fn damage_all_but_origin(&mut self) {
        (1..self.count).for_each(|number| self.damage(number));
    }

    /// All nodes look for damage.
    fn scrub(&self) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter_map(Node::running).for_each(|running| running.store.scrub());
    }

    /// Everything is well again; all must become equal.
    async fn heal(&mut self) {
        self.truth.note("healed");
        if self.is_restored.load(Ordering::SeqCst) {
            self.crash(0, 0);
        }
        self.network.heal();
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
        let origin = whole(&nodes[0]);
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

/// Some others in any order, at least one of them nearer to the origin.
fn upstreams_of(number: usize, count: usize, random: &mut fastrand::Rng) -> Vec<usize> {
    let mut upstreams: Vec<usize> = (0..count).filter(|other| *other != number && random.bool()).collect();
    if !upstreams.iter().any(|other| *other < number) {
        upstreams.push(random.usize(..number));
    }
    random.shuffle(&mut upstreams);
    upstreams
}
