//! What following costs: calls and bytes of each reconciliation, held to what differed.
//!
//! Owns the bound (PROTOCOL.md section 4), in bytes before compression. A reconciliation counts when its state was switched to; one that was cut or
//! begun anew is forgotten. What differed is counted when it asks first; what changes from then on, or is not on the
//! upstream's disk yet, is told besides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use outpost_model::items::{ITEM_BYTES, Item};
use outpost_model::limits;
use outpost_sync::{Call, StatusBoard};
use tokio::time::Instant;

use crate::state::{Key, State, Tally, item_of, record_bytes};
use crate::store::MemStore;

/// Header of a frame.
const FRAME: u64 = 20;
/// A node's name, or that of a history.
const NAME: u64 = 17;
/// Nodes on the way from the origin, and nobody where it is not known.
const WAY_NODES_MAX: u64 = 6;
/// A range with its count and fingerprint: two ends, whether there is a second, nine bytes and sixteen.
const RANGE: u64 = 2 * ITEM + 1 + 9 + 16;
const ITEM: u64 = ITEM_BYTES as u64;
/// A range to fill: two ends, whether there is a second, the number of items.
const FILL_RANGE: u64 = 2 * ITEM + 1 + 9;
/// A `Reached` with its hash, or an empty message.
const REACHED: u64 = FRAME + 9 + 33;
/// A subject that is asked for.
const SUBJECT: u64 = 80;

/// A reconciliation under way.
struct Account {
    number: u64,
    upstream: Weak<MemStore>,
    began: Instant,
    /// What was done to the upstream's state that is on disk, at the begin.
    before: Tally,
    mine: u64,
    theirs: u64,
    differing: u64,
    differing_bytes: u64,
    damaged: u64,
    calls: u64,
    bytes: u64,
}

/// See the module.
#[derive(Default)]
pub struct Meter {
    board: OnceLock<Arc<StatusBoard>>,
    mine: OnceLock<Weak<MemStore>>,
    open: Mutex<Option<Account>>,
}

impl Meter {
    /// Of a follower that fills `mine` and says on `board` how many reconciliations it began.
    pub fn watch(&self, mine: &Arc<MemStore>, board: &Arc<StatusBoard>) {
        let _ = self.mine.set(Arc::downgrade(mine));
        let _ = self.board.set(Arc::clone(board));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Account>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is made.
    pub fn called(&self, call: Call, upstream: &Arc<MemStore>, frame: &[u8]) {
        let (Some(board), Some(mine)) = (self.board.get(), self.mine.get().and_then(Weak::upgrade)) else {
            return;
        };
        if !is_counted(call) {
            return;
        }
        let number = board.status().reconciliations;
        let mut open = self.lock();
        let is_same = |account: &Account| account.number == number && account.is_with(upstream);
        if !open.as_ref().is_some_and(is_same) {
            *open = (call != Call::Tail).then(|| Account::open(number, &mine, upstream));
        }
        if let Some(account) = &mut *open {
            account.calls += 1;
            account.bytes += message_bytes(frame);
        }
    }

    /// A frame of an answer is on its way.
    pub fn received(&self, call: Call, upstream: &Arc<MemStore>, frame: &[u8]) {
        if let Some(account) = &mut *self.lock()
            && is_counted(call)
            && account.is_with(upstream)
        {
            account.bytes += message_bytes(frame);
        }
    }

    /// The reconciled state was switched to; what was wrong with its cost.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let number = self.board.get()?.status().reconciliations;
        let account = self.lock().take().filter(|account| account.number == number)?;
        account.excess()
    }
}

/// Bytes of a frame before compression: the header says how many its payload has.
fn message_bytes(frame: &[u8]) -> u64 {
    let payload = frame.get(12..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    FRAME + u64::from(payload)
}

fn is_counted(call: Call) -> bool {
    matches!(call, Call::Compare | Call::Fill | Call::Tail)
}

impl Account {
    fn open(number: u64, mine: &MemStore, upstream: &Arc<MemStore>) -> Self {
        let items = |state: &State| -> BTreeMap<Key, (Item, u64)> {
            let with_bytes =
                |(key, record): (&Key, &Arc<_>)| (key.clone(), (item_of(record), record_bytes(record)));
            state.records().map(with_bytes).collect()
        };
        let here = mine.as_seen(items);
        let damaged: Vec<u64> =
            mine.as_seen(|state| state.damaged().map(|record| record_bytes(record)).collect());
        let there = upstream.as_seen(items);
        let gone = here.keys().filter(|key| !there.contains_key(*key)).count() as u64;
        let other =
            there.iter().filter(|(key, (item, _))| here.get(*key).is_none_or(|(mine, _)| mine != item));
        let sizes: Vec<u64> = other.map(|(_, (_, bytes))| *bytes).collect();
        Self {
            number,
            upstream: Arc::downgrade(upstream),
            began: Instant::now(),
            before: upstream.on_disk(|state| state.tally),
            mine: here.len() as u64,
            theirs: there.len() as u64,
            differing: gone + sizes.len() as u64,
            differing_bytes: sizes.iter().chain(&damaged).sum(),
            damaged: damaged.len() as u64,
            calls: 0,
            bytes: 0,
        }
    }

    fn is_with(&self, upstream: &Arc<MemStore>) -> bool {
        std::ptr::eq(self.upstream.as_ptr(), Arc::as_ptr(upstream))
    }

    fn excess(&self) -> Option<String> {
        let (after, histories) =
            self.upstream.upgrade()?.as_seen(|state| (state.tally, state.left.len() as u64));
        let changes = after.changes - self.before.changes;
        let (calls_max, bytes_max) = (self.calls_max(changes), self.bytes_max(histories, after));
        (self.calls > calls_max || self.bytes > bytes_max).then(|| {
            format!(
                "a reconciliation took {} calls of at most {calls_max} and {} bytes of at most {bytes_max}: {} of {} \
                 records differed, {} were damaged, {changes} changed meanwhile",
                self.calls, self.bytes, self.differing, self.mine, self.damaged
            )
        })
    }

    /// One comparison, one more for each factor by which ranges are split, a fill and a tail.
    fn calls_max(&self, changes: u64) -> u64 {
        self.rounds(changes) + 2
    }

    fn rounds(&self, changes: u64) -> u64 {
        let fanout = limits::SYNC_FIRST_RANGES as u64;
        let mut items = self.mine + self.theirs + changes;
        let mut rounds = u64::from(self.mine > 0);
        while rounds > 0 && items > limits::SYNC_FILL_ITEMS_MAX {
            rounds += 1;
            items /= fanout;
        }
        rounds
    }

    fn bytes_max(&self, histories: u64, after: Tally) -> u64 {
        let changes = after.changes - self.before.changes;
        let first = (limits::SYNC_FIRST_RANGES as u64).min(self.mine);
        let items_of_range = if first == 0 { 0 } else { self.mine.div_ceil(first) };
        // A record differs in the range where it was and in the one where it is; later rounds see what changed since.
        let moved = match self.rounds(changes) {
            // Nothing is compared: all is one range.
            0 => 1,
            1 => self.differing,
            _ => self.differing + changes,
        };
        let of_ranges = moved * 2 * (RANGE + FILL_RANGE + items_of_range * ITEM);
        // An item that is no more is told back, in a message for each range.
        let of_records =
            self.differing_bytes + self.differing * (2 * FRAME + ITEM) + self.damaged * (FRAME + SUBJECT);
        // What changes meanwhile may come by the fill and again by the tail, batch by batch.
        let of_changes = 2 * (after.bytes - self.before.bytes) + changes * 2 * FRAME;
        let of_batches = (after.steps - self.before.steps + 2) * REACHED;
        // A head comes with each call and each second of the tail.
        let head = FRAME + NAME * (2 + WAY_NODES_MAX + histories) + 70;
        let heads = self.calls + self.began.elapsed().as_secs() + 1;
        let asked = self.calls * (FRAME + NAME + 20) + first * RANGE;
        asked + of_ranges + of_records + of_changes + of_batches + heads * head
    }
}
