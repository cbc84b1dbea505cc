//! The network: it delays, cuts within a frame, falls silent, refuses and garbles.
//!
//! Owns one directed link for each pair of nodes. A call goes over the link to the upstream, its answer over the one
//! back, in pieces. A connection that was cut stays cut; one that fell silent may go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use outpost_sync::call::ByteStream;
use outpost_sync::server::Frames;
use outpost_sync::wire::Message;
use outpost_sync::{Call, CallError, Refusal, RefusalCode, Server, Upstream, frame};
use tokio::sync::Notify;

use crate::meter::Meter;
use crate::store::MemStore;
use crate::webhooks::Desk;

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Nothing gets through and nobody is told.
    pub is_silent: bool,
    /// Connections are refused.
    pub is_refused: bool,
    /// One frame in so many is garbled; 0 for none.
    pub garbles_one_in: u32,
    /// Longest delay of a piece.
    pub delay_ms_max: u64,
    /// Bytes that pass in a ms.
    pub bytes_per_ms: u64,
    /// Grows when all connections are cut.
    pub cuts: u64,
}

impl Link {
    /// A link without faults.
    pub const GOOD: Self = Self {
        is_silent: false,
        is_refused: false,
        garbles_one_in: 0,
        delay_ms_max: 3,
        bytes_per_ms: 100_000,
        cuts: 0,
    };
}

/// A link that tells of its changes, to all who wait in the order in which they came.
struct Wire {
    link: Mutex<Link>,
    changed: Notify,
}

impl Wire {
    fn now(&self) -> Link {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Link)) {
        change(&mut self.link.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// The link, once it is as wanted.
    async fn until(&self, is_wanted: impl Fn(&Link) -> bool) -> Link {
        loop {
            let changed = self.changed.notified();
            let now = self.now();
            if is_wanted(&now) {
                return now;
            }
            changed.await;
        }
    }
}

/// What listens at a node.
#[derive(Clone)]
pub struct Host {
    /// The feed.
    pub server: Arc<Server>,
    /// What it is of.
    pub store: Arc<MemStore>,
    /// Takes webhooks.
    pub desk: Arc<Desk>,
}

type Links = BTreeMap<(usize, usize), Arc<Wire>>;

/// See the module.
pub struct Network {
    links: Links,
    hosts: Mutex<Vec<Option<Host>>>,
    random: Mutex<fastrand::Rng>,
    /// Bytes that were sent as answers.
    pub bytes: AtomicU64,
}

impl Network {
    /// Between so many nodes.
    #[must_use]
    pub fn new(nodes: usize, seed: u64) -> Arc<Self> {
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let wire = || Arc::new(Wire { link: Mutex::new(Link::GOOD), changed: Notify::new() });
        let links = pairs.map(|pair| (pair, wire())).collect();
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Arc::new(Self { links, hosts: Mutex::new(vec![None; nodes]), random, bytes: AtomicU64::new(0) })
    }

    /// Makes a link other than it is.
    pub fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Link)) {
        self.links[&(from, to)].change(change);
    }

    /// Makes all links good.
    pub fn heal(&self) {
        for link in self.links.values() {
            link.change(|link| *link = Link { cuts: link.cuts, ..Link::GOOD });
        }
    }

    /// A node serves, or no more: then its connections are cut.
    pub fn serve(&self, node: usize, host: Option<Host>) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)[node] = host;
        for ((from, to), link) in &self.links {
            if *from == node || *to == node {
                link.change(|link| link.cuts += 1);
            }
        }
    }

    fn host(&self, node: usize) -> Option<Host> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)[node].clone()
    }

    fn fork(&self) -> fastrand::Rng {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    fn wire(&self, from: usize, to: usize) -> Arc<Wire> {
        Arc::clone(&self.links[&(from, to)])
    }

    /// Takes something over a link, or tells why not.
    ///
    /// # Errors
    /// [`CallError::Lost`].
    pub async fn pass(&self, from: usize, to: usize, bytes: usize) -> Result<(), CallError> {
        let mut random = self.fork();
        pass(&self.wire(from, to), bytes, &mut random).await
    }

    /// The way from one node to another, with the meter at its begin.
    #[must_use]
    pub fn way(self: &Arc<Self>, from: usize, to: usize, meter: &Arc<Meter>) -> Arc<dyn Upstream> {
        let (network, meter) = (Arc::clone(self), Arc::clone(meter));
        Arc::new(Way { network, from, to, name: format!("node {to}"), meter })
    }
}

/// Takes bytes over a link as it is then.
async fn pass(wire: &Wire, bytes: usize, random: &mut fastrand::Rng) -> Result<(), CallError> {
    let begun = wire.now();
    let delay_ms = random.u64(0..=begun.delay_ms_max) + bytes as u64 / begun.bytes_per_ms;
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    let is_cut = |now: &Link| now.is_refused || now.cuts != begun.cuts;
    let now = wire.until(|now| is_cut(now) || !now.is_silent).await;
    if is_cut(&now) { Err(CallError::Lost("the connection was cut".to_owned())) } else { Ok(()) }
}

impl Host {
    async fn answer(self, call: Call, request: Message) -> Result<Frames, Refusal> {
        let Message::Relay(relay) = request else { return self.server.answer(call, request).await };
        // It goes on when the caller hangs up.
        let taking = tokio::spawn(async move { self.desk.take(relay).await });
        let taken = taking.await.map_err(|error| Refusal::new(RefusalCode::Failed, error.to_string()))?;
        Ok(stream::iter([frame::encode(&taken.into())]).boxed())
    }
}

struct Way {
    network: Arc<Network>,
    from: usize,
    to: usize,
    name: String,
    meter: Arc<Meter>,
}

#[async_trait]
impl Upstream for Way {
    fn name(&self) -> &str {
        &self.name
    }

    async fn call(&self, call: Call, request: Message) -> Result<ByteStream, CallError> {
        let Self { network, from, to, .. } = self;
        let mut random = network.fork();
        let back = network.wire(*to, *from);
        let cuts = back.now().cuts;
        let request = frame::encode(&request);
        pass(&network.wire(*from, *to), request.len(), &mut random).await?;
        let host = network.host(*to).ok_or_else(|| CallError::Lost("nobody listens".to_owned()))?;
        self.meter.called(call, &host.store, &request);
        let reading = Reading { call, meter: Arc::clone(&self.meter), upstream: Arc::clone(&host.store) };
        let request = frame::decode_one(&request).map_err(|error| CallError::Nonsense(error.to_string()))?;
        let answer = host.answer(call, request).await;
        pass(&back, 64, &mut random).await?;
        let frames = answer?;
        let network = Arc::clone(network);
        let flow = Flow {
            network,
            frames,
            pieces: VecDeque::new(),
            wire: back,
            cuts,
            random,
            is_over: false,
            reading,
        };
        Ok(stream::unfold(flow, Flow::next).boxed())
    }
}

/// What is read.
struct Reading {
    call: Call,
    meter: Arc<Meter>,
    upstream: Arc<MemStore>,
}

/// An answer on its way.
struct Flow {
    network: Arc<Network>,
    frames: Frames,
    pieces: VecDeque<Bytes>,
    wire: Arc<Wire>,
    cuts: u64,
    random: fastrand::Rng,
    is_over: bool,
    reading: Reading,
}

impl Flow {
    async fn next(mut self) -> Option<(Result<Bytes, CallError>, Self)> {
        if self.is_over {
            return None;
        }
        let (wire, cuts) = (Arc::clone(&self.wire), self.cuts);
        let piece = tokio::select! {
            biased;
            _ = wire.until(|now| now.cuts != cuts || now.is_refused) => Err(CallError::Lost("the connection was cut".to_owned())),
            piece = self.piece() => piece.transpose()?,
        };
        self.is_over = piece.is_err();
        Some((piece, self))
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, CallError> {
        if self.pieces.is_empty() {
            let Some(frame) = self.frames.next().await else { return Ok(None) };
            self.cut_up(frame);
        }
        let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
        self.network.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        pass(&self.wire, piece.len(), &mut self.random).await?;
        Ok(Some(piece))
    }

    fn cut_up(&mut self, frame: Bytes) {
        let Reading { call, meter, upstream } = &self.reading;
        meter.received(*call, upstream, &frame);
        let one_in = self.wire.now().garbles_one_in;
        let mut rest = frame;
        if one_in > 0 && self.random.u32(..one_in) == 0 {
            let mut bytes = rest.to_vec();
            let at = self.random.usize(..bytes.len());
            bytes[at] ^= 1 << self.random.u8(..8);
            rest = bytes.into();
        }
        while rest.len() > 1 && self.random.u8(..4) == 0 {
            let at = self.random.usize(1..rest.len());
            self.pieces.push_back(rest.split_to(at));
        }
        self.pieces.push_back(rest);
    }
}
