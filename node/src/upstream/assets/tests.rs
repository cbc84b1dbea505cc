//! Fetches from an upstream whose parts come when the test lets them.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use outpost_harness::wait_until;
use outpost_storage::{AssetForm, FolderAssets};
use outpost_sync::call::ByteStream;
use outpost_sync::frame;

use super::*;
use crate::testing::rows;

const BOUND: Duration = Duration::from_secs(30);
const PART: usize = 100_000;
/// Seven parts, the last one short.
const LENGTH: usize = 6 * PART + 123;

/// An upstream with one file under every path.
struct Script {
    file: Vec<u8>,
    /// Each part of a whole file takes a permit, but those of the split `free`.
    gate: Arc<Semaphore>,
    calls: Mutex<Vec<wire::Asset>>,
    /// What goes wrong with whole files.
    fault: Mutex<Fault>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    CutAfter(usize),
    OtherBytes,
    /// Also with parts of files.
    OtherBytesInParts,
}

impl Script {
    fn new(length: usize) -> Arc<Self> {
        let mut random = fastrand::Rng::with_seed(length as u64);
        Arc::new(Self {
            file: std::iter::repeat_with(|| random.u8(..)).take(length).collect(),
            gate: Arc::new(Semaphore::new(0)),
            calls: Mutex::default(),
            fault: Mutex::new(Fault::None),
        })
    }

    fn open(&self) {
        self.gate.add_permits(1_000);
    }

    /// Whole files asked for.
    fn fetches(&self) -> usize {
        lock(&self.calls).iter().filter(|call| call.bytes.is_none()).count()
    }

    /// Parts asked for.
    fn ranges(&self) -> Vec<Range<usize>> {
        let calls = lock(&self.calls);
        let ranges = calls.iter().filter_map(|call| Some(call.from..call.from + call.bytes?));
        ranges.map(|range| range.start as usize..range.end as usize).collect()
    }
}

#[async_trait]
impl Upstream for Script {
    fn name(&self) -> &str {
        "a script"
    }

    async fn call(&self, _: Call, request: Message) -> Result<ByteStream, CallError> {
        let Message::Asset(asset) = request else { panic!("{}", request.name()) };
        lock(&self.calls).push(asset.clone());
        let fault = *lock(&self.fault);
        let is_whole = asset.bytes.is_none();
        let end = asset.bytes.map_or(self.file.len(), |bytes| (asset.from + bytes) as usize);
        let mut bytes = self.file[asset.from as usize..end].to_vec();
        if fault == Fault::OtherBytesInParts || (is_whole && fault == Fault::OtherBytes) {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let mut parts: Vec<Vec<u8>> = bytes.chunks(PART).map(<[u8]>::to_vec).collect();
        if let (true, Fault::CutAfter(count)) = (is_whole, fault) {
            parts.truncate(count);
        }
        let head = wire::AssetHead {
            content_type: "image/png".to_owned(),
            bytes: self.file.len() as u64,
            hash: *blake3::hash(&self.file).as_bytes(),
            is_found: true,
        };
        let head = futures::stream::once(std::future::ready(Ok(frame::encode(&head.into()))));
        let (gate, is_held) = (Arc::clone(&self.gate), is_whole && !asset.path.contains("/free/"));
        let parts = futures::stream::iter(parts).then(move |bytes| {
            let gate = Arc::clone(&gate);
            async move {
                if is_held {
                    gate.acquire().await.unwrap().forget();
                }
                Ok(frame::encode(&Message::Part(wire::Part { bytes })))
            }
        });
        Ok(head.chain(parts).boxed())
    }
}

fn path() -> AssetPath {
    AssetPath::new(rows("train"), 0, "image", "image.png").unwrap()
}

struct Node {
    script: Arc<Script>,
    store: FolderAssets,
    fetcher: AssetFetcher,
    room: watch::Sender<bool>,
    directory: tempfile::TempDir,
}

impl Node {
    fn new(length: usize, bounds: AssetBounds) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (script, store) = (Script::new(length), FolderAssets::open(directory.path()).unwrap());
        let (room, has_room) = watch::channel(true);
        let disk = Disk { directory: directory.path().to_owned(), has_room };
        let upstreams: Vec<Arc<dyn Upstream>> = vec![script.clone()];
        let fetcher = AssetFetcher::new(upstreams, Arc::new(store.clone()), bounds, disk);
        Self { script, store, fetcher, room, directory }
    }

    /// The node with what it remembers of the disk.
    fn restarted(self, bounds: AssetBounds) -> Self {
        let disk = Disk { directory: self.directory.path().to_owned(), has_room: self.room.subscribe() };
        let upstreams: Vec<Arc<dyn Upstream>> = vec![self.script.clone()];
        Self { fetcher: AssetFetcher::new(upstreams, Arc::new(self.store.clone()), bounds, disk), ..self }
    }

    fn of(length: usize) -> Self {
        Self::new(length, AssetBounds::default())
    }

    async fn read_at(&self, path: &AssetPath, range: Range<usize>) -> Result<Reading, ApiError> {
        let Fetched::Passing(asset) = self.fetcher.fetch(path, 0).await? else { panic!("it is missing") };
        assert_eq!(asset.head().bytes as usize, self.script.file.len());
        let stream = asset.read(range.start as u64..range.end as u64).await?;
        Ok(Reading { stream, bytes: Vec::new() })
    }

    async fn read(&self, range: Range<usize>) -> Result<Reading, ApiError> {
        self.read_at(&path(), range).await
    }

    async fn until_kept(&self, assets: u64) {
        wait_until("the asset to be kept", BOUND, || async {
            (self.fetcher.kept().0 == assets).then_some(())
        })
        .await;
    }

    /// The bytes that are stored under [`path`].
    fn stored(&self) -> Option<Vec<u8>> {
        let asset = self.store.open(&path()).unwrap()?;
        let (length, mut bytes) = (asset.head.bytes, Vec::new());
        let mut reader = asset.body.read(AssetForm::Identity, 0..length).unwrap();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        Some(bytes)
    }

    async fn until_no_flight(&self) {
        let flights = || lock(&self.fetcher.inner.flights).is_empty();
        wait_until("the fetch to end", BOUND, || async { flights().then_some(()) }).await;
    }
}

/// A body and what was read of it.
struct Reading {
    stream: BoxStream<'static, std::io::Result<Bytes>>,
    bytes: Vec<u8>,
}

impl Reading {
    /// Reads until at least so many bytes were read.
    async fn up_to(&mut self, length: usize) {
        while self.bytes.len() < length {
            self.bytes.extend_from_slice(&self.stream.next().await.unwrap().unwrap());
        }
    }

    /// Reads to the end, however it comes.
    async fn read_out(mut self) -> (Vec<u8>, std::io::Result<()>) {
        while let Some(block) = self.stream.next().await {
            match block {
                Ok(block) => self.bytes.extend_from_slice(&block),
                Err(error) => return (self.bytes, Err(error)),
            }
        }
        (self.bytes, Ok(()))
    }

    async fn whole(self) -> Vec<u8> {
        let (bytes, end) = self.read_out().await;
        end.unwrap();
        bytes
    }
}

#[tokio::test]
async fn a_reader_gets_the_first_bytes_while_the_rest_is_on_its_way() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(2);
    let mut reading = node.read(0..LENGTH).await.unwrap();
    reading.up_to(2 * PART).await;
    assert_eq!(reading.bytes, node.script.file[..2 * PART]);
    assert_eq!(node.stored(), None);
    node.script.open();
    assert_eq!(reading.whole().await, node.script.file);
    node.until_kept(1).await;
    assert_eq!(node.stored().unwrap(), node.script.file);
    assert_eq!(node.script.fetches(), 1);
}

#[tokio::test]
async fn readers_of_one_asset_share_its_fetch_whenever_they_come() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(1);
    let mut early = node.read(0..LENGTH).await.unwrap();
    early.up_to(PART).await;
    node.script.gate.add_permits(2);
    early.up_to(3 * PART).await;
    let mut late = node.read(0..LENGTH).await.unwrap();
    late.up_to(3 * PART).await;
    node.script.open();
    assert_eq!(early.whole().await, node.script.file);
    assert_eq!(late.whole().await, node.script.file);
    assert_eq!((node.script.fetches(), node.script.ranges()), (1, Vec::new()));
}

#[tokio::test]
async fn a_reader_who_goes_away_does_not_end_the_store() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(1);
    let mut reading = node.read(0..LENGTH).await.unwrap();
    reading.up_to(PART).await;
    drop(reading);
    node.script.open();
    node.until_kept(1).await;
    assert_eq!(node.stored().unwrap(), node.script.file);
}

#[tokio::test]
async fn an_upstream_that_fails_midway_ends_each_body_with_an_error_and_stores_nothing() {
    let node = Node::of(LENGTH);
    *lock(&node.script.fault) = Fault::CutAfter(3);
    node.script.gate.add_permits(1);
    let readers = [node.read(0..LENGTH).await.unwrap(), node.read(0..LENGTH).await.unwrap()];
    node.script.open();
    for reading in readers {
        let (bytes, end) = reading.read_out().await;
        assert!(end.is_err() && bytes.len() <= 3 * PART, "{end:?} after {}", bytes.len());
        assert_eq!(bytes, node.script.file[..bytes.len()]);
    }
    node.until_no_flight().await;
    assert_eq!((node.stored(), node.fetcher.kept()), (None, (0, 0)));

    *lock(&node.script.fault) = Fault::None;
    assert_eq!(node.read(0..LENGTH).await.unwrap().whole().await, node.script.file);
}

#[tokio::test]
async fn an_upstream_that_fails_before_the_first_byte_is_an_error_answer() {
    let node = Node::of(LENGTH);
    *lock(&node.script.fault) = Fault::CutAfter(0);
    let error = node.read(0..LENGTH).await.err().unwrap();
    assert_eq!(error, ApiError::upstream_not_reached());
}

#[tokio::test]
async fn another_file_than_the_announced_one_never_looks_whole_and_is_not_stored() {
    for length in [5, PART, LENGTH] {
        let node = Node::of(length);
        *lock(&node.script.fault) = Fault::OtherBytes;
        node.script.open();
        if let Ok(reading) = node.read(0..length).await {
            let (bytes, end) = reading.read_out().await;
            assert!(end.is_err() && bytes.len() < length);
        }
        node.until_no_flight().await;
        assert_eq!((node.stored(), node.fetcher.kept()), (None, (0, 0)));
    }
}

#[tokio::test]
async fn another_file_than_the_announced_one_does_not_look_whole_though_it_is_only_passed_through() {
    let node = Node::new(LENGTH, AssetBounds { asset_bytes_max: 0, ..AssetBounds::default() });
    *lock(&node.script.fault) = Fault::OtherBytesInParts;
    let (bytes, end) = node.read(0..LENGTH).await.unwrap().read_out().await;
    assert!(end.is_err() && bytes.len() < LENGTH);
}

#[tokio::test]
async fn an_empty_asset_is_kept_like_any_other() {
    let node = Node::of(0);
    assert_eq!(node.read(0..0).await.unwrap().whole().await, b"");
    node.until_kept(1).await;
    assert_eq!(node.stored().unwrap(), b"");
}

#[tokio::test]
async fn a_range_beyond_what_is_here_asks_the_upstream_and_one_within_does_not() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(2);
    let mut whole = node.read(0..LENGTH).await.unwrap();
    whole.up_to(2 * PART).await;
    let within = PART..PART + 500;
    assert_eq!(node.read(within.clone()).await.unwrap().whole().await, node.script.file[within]);
    assert_eq!(node.script.ranges(), Vec::<Range<usize>>::new());
    let beyond = LENGTH - 1_000..LENGTH - 10;
    let part = node.read(beyond.clone()).await.unwrap().whole().await;
    assert_eq!(part, node.script.file[beyond.clone()]);
    assert_eq!(node.script.ranges(), [beyond]);
    node.script.open();
    assert_eq!(whole.whole().await, node.script.file);
    assert_eq!(node.script.fetches(), 1);
}

#[tokio::test]
async fn a_slow_reader_goes_on_from_the_store_and_holds_no_memory() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(1);
    let mut reading = node.read(0..LENGTH).await.unwrap();
    reading.up_to(PART).await;
    assert!(node.fetcher.inner.keeper.memory_left() < limits::ASSETS_COMING_BYTES_MAX);
    node.script.open();
    node.until_no_flight().await;
    assert_eq!(node.fetcher.inner.keeper.memory_left(), limits::ASSETS_COMING_BYTES_MAX);
    assert_eq!(reading.whole().await, node.script.file);
    assert_eq!((node.script.fetches(), node.script.ranges()), (1, Vec::new()));
}

#[tokio::test]
async fn a_reader_whose_asset_gave_way_meanwhile_goes_on_from_the_upstream() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(1);
    let mut reading = node.read(0..LENGTH).await.unwrap();
    reading.up_to(PART).await;
    node.script.open();
    node.until_no_flight().await;
    let now = outpost_model::TimestampMs(u64::MAX);
    node.store.delete(&outpost_storage::AssetScope::Rows(rows("train")), &[], now).unwrap();
    assert_eq!(reading.whole().await, node.script.file);
    let rest = PART..LENGTH;
    assert_eq!(node.script.ranges(), [rest]);
}

#[tokio::test]
async fn what_is_too_large_is_passed_through_whole_and_in_parts() {
    let node =
        Node::new(LENGTH, AssetBounds { asset_bytes_max: LENGTH as u64 - 1, ..AssetBounds::default() });
    assert_eq!(node.read(0..LENGTH).await.unwrap().whole().await, node.script.file);
    assert_eq!(node.read(PART..LENGTH).await.unwrap().whole().await, node.script.file[PART..]);
    node.until_no_flight().await;
    assert_eq!(node.stored(), None);
    assert_eq!(node.fetcher.fetch_ahead(&path()).await, Brought::Skipped);
}

#[tokio::test]
async fn on_a_full_disk_assets_are_passed_through_and_kept_again_when_there_is_room() {
    let node = Node::of(LENGTH);
    node.script.open();
    node.room.send_replace(false);
    assert_eq!(node.read(0..LENGTH).await.unwrap().whole().await, node.script.file);
    assert_eq!(node.fetcher.fetch_ahead(&path()).await, Brought::NoRoom);
    assert_eq!(node.stored(), None);
    node.room.send_replace(true);
    assert_eq!(node.fetcher.fetch_ahead(&path()).await, Brought::Kept);
    assert_eq!(node.stored().unwrap(), node.script.file);
}

#[tokio::test]
async fn over_the_budget_the_assets_read_longest_ago_give_way_down_to_the_mark() {
    let budget = 20 * PART as u64;
    let node = Node::new(PART, AssetBounds { asset_bytes_max: budget, budget_bytes: budget });
    node.script.open();
    // Each file is another one, or they would take the space of one.
    for split in 0..20_u8 {
        let (path, mut bytes) = (in_split(split), node.script.file.clone());
        bytes[0] = split;
        node.store.put(&path, "image/png", &bytes).unwrap();
        node.fetcher.was_read(path.rows());
    }
    assert_eq!(node.store.stats().unwrap().stored_bytes, budget);
    node.fetcher.was_read(in_split(0).rows());
    node.read(0..PART).await.unwrap().whole().await;
    node.until_kept(1).await;
    let stored = node.store.stats().unwrap().stored_bytes;
    assert_eq!(stored, budget / 100 * limits::ASSETS_MARK_PERCENT);
    let gone = (0..20).filter(|split| node.store.open(&in_split(*split)).unwrap().is_none());
    assert_eq!(gone.collect::<Vec<u8>>(), [1, 2, 3]);
}

#[tokio::test]
async fn what_was_read_before_a_restart_is_kept_longer_than_what_was_not() {
    let budget = 4 * PART as u64;
    let bounds = AssetBounds { asset_bytes_max: budget, budget_bytes: budget };
    let node = Node::new(PART, bounds);
    node.script.open();
    for split in 0..4_u8 {
        let (path, mut bytes) = (in_split(split), node.script.file.clone());
        bytes[0] = split;
        node.store.put(&path, "image/png", &bytes).unwrap();
    }
    for split in [3, 0, 1] {
        node.fetcher.was_read(in_split(split).rows());
    }
    node.fetcher.note_reads().await;
    let node = node.restarted(bounds);
    node.read(0..PART).await.unwrap().whole().await;
    node.until_kept(1).await;
    let left = (0..4).filter(|split| node.store.open(&in_split(*split)).unwrap().is_some());
    assert_eq!(left.collect::<Vec<u8>>(), [0, 1]);
}

fn in_split(split: u8) -> AssetPath {
    AssetPath::new(rows(&format!("s{split:02}")), 0, "image", "image.png").unwrap()
}

#[test]
fn the_memory_of_assets_on_their_way_is_bounded() {
    let bounds = AssetBounds { asset_bytes_max: limits::ASSET_KEPT_BYTES_MAX, ..AssetBounds::default() };
    let node = Node::new(1, bounds);
    let keeper = &node.fetcher.inner.keeper;
    let all = keeper.admit(limits::ASSETS_COMING_BYTES_MAX);
    assert!(matches!(all, Admission::Granted(_)));
    assert!(matches!(keeper.admit(1), Admission::NotNow));
    drop(all);
    assert!(matches!(keeper.admit(1), Admission::Granted(_)));
}

#[tokio::test]
async fn nothing_is_fetched_ahead_while_a_reader_waits() {
    let node = Node::of(LENGTH);
    node.script.gate.add_permits(1);
    let mut reading = node.read(0..LENGTH).await.unwrap();
    reading.up_to(PART).await;
    let other = in_split(1);
    let mut ahead = Box::pin(node.fetcher.fetch_ahead(&other));
    assert!(futures::poll!(&mut ahead).is_pending());
    assert_eq!(node.script.fetches(), 1);
    node.script.open();
    assert_eq!(reading.whole().await, node.script.file);
    assert_eq!(ahead.await, Brought::Kept);
    assert_eq!(node.script.fetches(), 2);
}

#[tokio::test]
async fn a_reader_does_not_wait_for_what_is_fetched_ahead_in_bulk() {
    let node = Arc::new(Node::of(LENGTH));
    let bulk = (0..10_u8).map(|split| {
        let node = Arc::clone(&node);
        tokio::spawn(async move { node.fetcher.fetch_ahead(&in_split(split)).await })
    });
    let bulk: Vec<_> = bulk.collect();
    let ahead = limits::ASSETS_AHEAD_IN_FLIGHT_MAX;
    wait_until("the bulk to begin", BOUND, || async { (node.script.fetches() == ahead).then_some(()) }).await;
    let free = AssetPath::new(rows("free"), 0, "image", "image.png").unwrap();
    assert_eq!(node.read_at(&free, 0..LENGTH).await.unwrap().whole().await, node.script.file);
    assert_eq!(node.script.fetches(), ahead + 1);
    node.script.open();
    for brought in bulk {
        assert_eq!(brought.await.unwrap(), Brought::Kept);
    }
}
