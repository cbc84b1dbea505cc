//! What callers that do no good cost, and that an empty authority is a state like any other.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use outpost_model::items::{Changed, Item, ItemRange, RangeSum};
use outpost_model::{DatasetName, DatasetRecord, Epoch, Revision, TimestampMs, Visibility};
use tokio::sync::watch;

use super::*;
use crate::frame::Decoder;
use crate::record::Record;
use crate::source::{Held, StoreHead};
use crate::testing::Origin;

const EPOCH: Epoch = Epoch(7);

/// A store in which each change is another dataset, whose log reaches back as far as a test says.
struct Scripted {
    seq: watch::Sender<u64>,
    log_floor: AtomicU64,
    records_read: AtomicUsize,
}

impl Scripted {
    fn at(seq: u64) -> Arc<Self> {
        Arc::new(Self {
            seq: watch::Sender::new(seq),
            log_floor: AtomicU64::new(1),
            records_read: AtomicUsize::new(0),
        })
    }

    fn log(&self, after: u64) -> Option<Vec<(u64, Changed)>> {
        let seq = *self.seq.borrow();
        let name = |at: u64| Changed::Dataset(DatasetName::new(&format!("u/d{at}")).unwrap());
        (after >= self.log_floor.load(Ordering::SeqCst) && after <= seq)
            .then(|| (after + 1..=seq).map(|at| (at, name(at))).collect())
    }

    async fn change(&self) {
        self.seq.send_modify(|seq| *seq += 1);
        // So long that what changes next is another batch.
        tokio::time::sleep(Duration::from_millis(10 * limits::SYNC_BATCH_PAUSE_MS)).await;
    }
}

#[async_trait]
impl Source for Scripted {
    fn head(&self) -> StoreHead {
        let position = Position { epoch: EPOCH, seq: *self.seq.borrow() };
        StoreHead { position, set_hash: None, records: position.seq, left: Vec::new() }
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    async fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StoreError> {
        Ok(self.log(seq).map(|log| log.into_iter().take(limit).collect()))
    }

    async fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StoreError> {
        Ok(self.log(seq).map(|log| log.into_iter().map(|(_, subject)| subject).collect()))
    }

    async fn records(&self, subjects: &[Changed], _: usize) -> Result<Vec<Held>, StoreError> {
        self.records_read.fetch_add(subjects.len(), Ordering::SeqCst);
        let record = |subject: &Changed| match subject {
            Changed::Dataset(dataset) => Held::Record(Record::Dataset(DatasetRecord {
                dataset: dataset.clone(),
                revision: Revision::new("r1").unwrap(),
                visibility: Visibility::Public,
                checked_at: TimestampMs(1),
            })),
            Changed::Entry(_) => Held::Absent,
        };
        Ok(subjects.iter().map(record).collect())
    }

    async fn subjects_of(&self, items: &[Item]) -> Result<Vec<Option<Changed>>, StoreError> {
        Ok(vec![None; items.len()])
    }

    async fn sums(&self, ranges: &[ItemRange]) -> Result<Vec<RangeSum>, StoreError> {
        Ok(vec![RangeSum::default(); ranges.len()])
    }

    async fn split(&self, range: &ItemRange, _: usize) -> Result<Vec<(ItemRange, RangeSum)>, StoreError> {
        Ok(vec![(*range, RangeSum::default())])
    }

    async fn items(&self, _: &ItemRange, _: usize) -> Result<Vec<Item>, StoreError> {
        Ok(Vec::new())
    }

    async fn settled(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn tail(server: &Arc<Server>, seq: u64) -> Result<Frames, Refusal> {
    server.answer(Call::Tail, wire::Tail { node: 2, epoch: EPOCH.0, seq }.into()).await
}

/// Reads until a seq is reached; false when the answer ends before.
async fn reaches(frames: &mut Frames, wanted: u64) -> bool {
    let mut decoder = Decoder::default();
    while let Some(bytes) = frames.next().await {
        decoder.push(&bytes);
        while let Some(message) = decoder.next_message().unwrap() {
            if matches!(&message, Message::Reached(reached) if reached.seq >= wanted) {
                return true;
            }
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_does_not_read_costs_one_batch_delays_nobody_and_is_dropped() {
    let source = Scripted::at(1);
    let server = Server::new(source.clone(), Arc::new(Origin(NodeId(1))));
    let mut still = tail(&server, 1).await.unwrap();
    for _ in 0..100 {
        source.change().await;
    }
    // One batch of one record is on its way and one waits to be taken; nobody reads the others.
    let read = source.records_read.load(Ordering::SeqCst);
    assert!((1..=2).contains(&read), "{read}");
    // Another one is told everything, and as soon as it happens.
    let mut good = tail(&server, 1).await.unwrap();
    assert!(reaches(&mut good, 101).await);
    source.change().await;
    let soon = Duration::from_millis(limits::SYNC_HEARTBEAT_MS);
    assert!(tokio::time::timeout(soon, reaches(&mut good, 102)).await.unwrap());

    assert_eq!(server.followers(), 2);
    let reading = tokio::spawn(async move { reaches(&mut good, u64::MAX).await });
    tokio::time::sleep(Duration::from_millis(limits::RESPONSE_STALL_TIMEOUT_MS)).await;
    assert_eq!(server.followers(), 1);
    // What was on its way is still there, then the answer ends. The log was not held: it goes on by reconciling.
    source.log_floor.store(90, Ordering::SeqCst);
    assert!(!reaches(&mut still, 102).await);
    let refusal = tail(&server, 3).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::Gap);
    assert!(refusal.words.contains("does not reach back to 3"), "{refusal}");
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_tail_from_another_history_or_from_what_is_not_yet_is_refused_in_words() {
    let server = Server::new(Scripted::at(5), Arc::new(Origin(NodeId(1))));
    let foreign = wire::Tail { node: 2, epoch: 8, seq: 5 };
    let refusal = server.answer(Call::Tail, foreign.into()).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::ForeignHistory);
    assert!(refusal.words.contains(&Epoch(8).to_string()), "{refusal}");
    assert_eq!(tail(&server, 6).await.err().unwrap().code, RefusalCode::Ahead);
    assert_eq!(tail(&server, 0).await.err().unwrap().code, RefusalCode::Gap);
    assert_eq!(server.followers(), 0);
}

#[tokio::test]
async fn a_node_that_was_never_filled_says_so_and_an_empty_one_is_a_state() {
    let all = wire::Compare { node: 2, ranges: Vec::new() };
    let unfilled = Server::new(Scripted::at(0), Arc::new(Origin(NodeId(1))));
    let refusal = unfilled.answer(Call::Compare, all.clone().into()).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::NotFilled);
    assert!(!unfilled.head().is_filled);
    let empty = Server::new(Scripted::at(1), Arc::new(Origin(NodeId(1))));
    assert!(empty.head().is_filled);
    assert!(empty.answer(Call::Compare, all.into()).await.is_ok());
}

#[tokio::test]
async fn a_fill_that_asks_for_the_same_again_and_again_or_for_too_much_is_refused() {
    let server = Server::new(Scripted::at(5), Arc::new(Origin(NodeId(1))));
    let all = wire::FillRange { from: [0; 40], to: None, items: Vec::new() };
    let fill = |ranges: Vec<wire::FillRange>, subjects| {
        let request = wire::Fill { node: 2, ranges, subjects };
        server.answer(Call::Fill, request.into())
    };
    assert!(fill(vec![all.clone()], Vec::new()).await.is_ok());
    let many =
        wire::FillRange { items: vec![[1; 40]; limits::SYNC_FILL_ITEMS_PER_CALL_MAX + 1], ..all.clone() };
    let subject = wire::Subject::Dataset("u/d".to_owned());
    for (ranges, subjects) in [
        (vec![all.clone(), all], Vec::new()),
        (vec![many], Vec::new()),
        (Vec::new(), vec![subject; limits::SYNC_FILL_SUBJECTS_MAX + 1]),
    ] {
        assert_eq!(fill(ranges, subjects).await.err().unwrap().code, RefusalCode::Malformed);
    }
}
