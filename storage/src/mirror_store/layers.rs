//! The mirror's trees, with a layer of rows that may lie over its records.
//!
//! Owns the switch of a stage that is too large for one batch: its rows are written beside the records first, one by
//! one; a single small batch then makes them count, all at the same time and on disk as in memory; afterwards the mover
//! brings them down one by one. A read looks into the layer first, so it finds the same before and after a row was moved.
//! A scan holds rows still; the mover then waits, never the scan. While a layer lies over the records, writes go into it.
//! A crash leaves a layer that counts, and is moved on, or one that does not, and is swept.

use std::iter::Peekable;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use bincode::{Decode, Encode};

use super::keys;
use crate::blob;
use crate::error::StorageError;
use crate::kv::{self, Batch, Tree, Value};
use crate::record::{self, Record};

/// Marks a row of a layer that deletes the record under it.
const DELETED: u8 = 0;
/// Marks a row of a layer that replaces the record under it; the record follows.
const PRESENT: u8 = 1;
/// No layer counts.
const NONE: u32 = 0;

/// Which layer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
struct LayerRow {
    /// The number of the last layer that was begun; numbers never come again, so leftovers are told from it.
    last: u32,
    counts: bool,
}

impl Record for LayerRow {
    const TAG: u8 = b'Y';
    const VERSION: u8 = 1;
}

/// The engine of a mirror.
pub(super) struct Kv {
    /// Records, index, log and counters.
    pub(super) state: Layered,
    /// Pieces of bodies.
    pub(super) chunks: Tree,
    engine: Arc<kv::Kv>,
}

impl Kv {
    pub(super) fn new(engine: kv::Kv) -> Result<Self, StorageError> {
        let row = read_row(&engine.state)?;
        let state = Layered::new(engine.state.clone(), if row.counts { row.last } else { NONE });
        Ok(Self { state, chunks: engine.chunks.clone(), engine: Arc::new(engine) })
    }

    /// The same as it will be once `layer` counts. Writes through it go into the layer and are seen by nobody else.
    pub(super) fn as_if(&self, layer: u32) -> Self {
        let state = Layered::new(self.state.tree.clone(), layer);
        Self { state, chunks: self.chunks.clone(), engine: self.engine.clone() }
    }

    pub(super) fn engine(&self) -> &kv::Kv {
        &self.engine
    }

    pub(super) fn flush(&self) -> Result<(), StorageError> {
        self.engine.flush()
    }

    /// Numbers a new layer. The caller is the only writer and no layer counts.
    pub(super) fn begin_layer(&self) -> Result<u32, StorageError> {
        let last = read_row(&self.state.tree)?.last.wrapping_add(1).max(1);
        let row = LayerRow { last, counts: false };
        self.state.tree.put(keys::LAYER, record::encode(&row))?;
        Ok(last)
    }

    /// Makes `layer` count, together with `batch`. The caller is the only writer.
    pub(super) fn switch(&self, layer: u32, mut batch: Batch) -> Result<(), StorageError> {
        batch.put(keys::LAYER.to_vec(), record::encode(&LayerRow { last: layer, counts: true }));
        self.state.tree.apply(batch)?;
        super::stage::step("switched");
        self.state.layer.store(layer, Ordering::SeqCst);
        Ok(())
    }

    /// Whether a layer lies over the records.
    pub(super) fn has_layer(&self) -> bool {
        self.state.layer.load(Ordering::SeqCst) != NONE
    }

    /// Moves at most `max` rows of the layer that counts down to the records. The caller is the only writer.
    pub(super) fn move_down(&self, max: usize) -> Result<Moved, StorageError> {
        let layer = self.state.layer.load(Ordering::SeqCst);
        if layer == NONE {
            return Ok(Moved::All);
        }
        let _no_scan = match self.state.still.try_write() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Moved::Waiting),
        };
        let mut rows = 0;
        for pair in self.state.tree.prefix(&layer_prefix(layer)).take(max) {
            let (key, value) = pair?;
            self.move_row(&key[PREFIX_BYTES..], &value)?;
            self.state.tree.delete(&key)?;
            rows += 1;
        }
        if rows > 0 {
            return Ok(Moved::Some);
        }
        self.state.tree.put(keys::LAYER, record::encode(&LayerRow { last: layer, counts: false }))?;
        self.state.layer.store(NONE, Ordering::SeqCst);
        Ok(Moved::All)
    }

    fn move_row(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        match (key.first(), value.split_first()) {
            (Some(&blob::GARBAGE), _) => match blob::blob_of_mark(key) {
                Some(id) => blob::delete_chunks(id, &self.chunks),
                None => Ok(()),
            },
            (_, Some((&PRESENT, record))) => self.state.tree.put(key, record.to_vec()),
            _ => self.state.tree.delete(key),
        }
    }

    /// Deletes at most `max` rows of layers other than the one that counts and `staged`; whether there may be more.
    pub(super) fn sweep(&self, staged: Option<u32>, max: usize) -> Result<bool, StorageError> {
        let kept = [Some(self.state.layer.load(Ordering::SeqCst)), staged];
        let mut from = vec![keys::LAYERS];
        let mut deleted = 0;
        loop {
            let Some(first) = self.state.tree.from(&from).next().transpose()? else { return Ok(false) };
            let Some(layer) = layer_of(&first.0) else { return Ok(false) };
            if kept.contains(&Some(layer)) {
                let Some(next) = layer.checked_add(1) else { return Ok(false) };
                from = layer_prefix(next);
                continue;
            }
            for pair in self.state.tree.prefix(&layer_prefix(layer)).take(max - deleted) {
                self.state.tree.delete(&pair?.0)?;
                deleted += 1;
            }
            if deleted >= max {
                return Ok(true);
            }
        }
    }
}

/// How far the mover came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing is left of the layer.
    All,
    /// There may be more.
    Some,
    /// A scan is under way.
    Waiting,
}

/// The tree of records, with the layer over it.
pub(super) struct Layered {
    tree: Tree,
    layer: AtomicU32,
    still: RwLock<()>,
}

type Pairs<'a> = Peekable<Box<dyn Iterator<Item = Result<(Value, Value), StorageError>> + 'a>>;

impl Layered {
    fn new(tree: Tree, layer: u32) -> Self {
        Self { tree, layer: AtomicU32::new(layer), still: RwLock::new(()) }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>, StorageError> {
        let layer = self.layer.load(Ordering::SeqCst);
        if layer != NONE
            && is_layered(key)
            && let Some(row) = self.tree.get(&layer_key(layer, key))?
        {
            return Ok(record_of(row));
        }
        self.tree.get(key)
    }

    /// Pairs whose key starts with `prefix`, in order.
    pub(super) fn prefix<'a>(&'a self, prefix: &[u8]) -> Scan<'a> {
        let prefix = prefix.to_vec();
        self.scan(&prefix.clone(), move |key| key.starts_with(&prefix))
    }

    /// Pairs of the same kind with `from <= key`, in order.
    pub(super) fn from<'a>(&'a self, from: &[u8]) -> Scan<'a> {
        let kind = from.first().copied();
        self.scan(from, move |key| key.first().copied() == kind)
    }

    fn scan<'a>(&'a self, from: &[u8], belongs: impl Fn(&[u8]) -> bool + Clone + 'a) -> Scan<'a> {
        let still = self.still.read().unwrap_or_else(PoisonError::into_inner);
        let layer = self.layer.load(Ordering::SeqCst);
        let belongs_too = belongs.clone();
        let base = self.tree.from(from).take_while(move |pair| ends_or(pair, &belongs));
        let over: Box<dyn Iterator<Item = _> + 'a> = if layer == NONE {
            Box::new(std::iter::empty())
        } else {
            let prefix = layer_prefix(layer);
            let rows = self.tree.from(&layer_key(layer, from));
            let of_layer = rows.take_while(move |pair| ends_or(pair, |key| key.starts_with(&prefix)));
            let bare = of_layer.map(|pair| pair.map(|(key, row)| (key.without_first(PREFIX_BYTES), row)));
            Box::new(bare.take_while(move |pair| ends_or(pair, &belongs_too)))
        };
        let base: Box<dyn Iterator<Item = _> + 'a> = Box::new(base);
        Scan { base: base.peekable(), over: over.peekable(), _still: still }
    }

    /// Applies all writes of a batch or none, over the layer when one counts.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let layer = self.layer.load(Ordering::SeqCst);
        if layer == NONE {
            return self.tree.apply(batch);
        }
        let mut layered = Batch::new();
        for (key, value) in batch.into_writes() {
            match value {
                _ if is_layered(&key) => layered.put(layer_key(layer, &key), row_of(value)),
                Some(value) => layered.put(key, value),
                None => layered.delete(key),
            }
        }
        self.tree.apply(layered)
    }

    /// Writes into the layer, one row after the other, all but the counters.
    pub(super) fn write_rows(&self, batch: Batch) -> Result<(), StorageError> {
        let layer = self.layer.load(Ordering::SeqCst);
        for (key, value) in batch.into_writes() {
            if is_layered(&key) || key.first() == Some(&blob::GARBAGE) {
                self.tree.put(&layer_key(layer, &key), row_of(value))?;
            }
        }
        Ok(())
    }

    /// Deletes all records of a kind by rows of the layer.
    pub(super) fn delete_kind(&self, kind: u8) -> Result<(), StorageError> {
        let layer = self.layer.load(Ordering::SeqCst);
        for pair in self.tree.prefix(&layer_key(layer, &[kind])) {
            self.tree.put(&pair?.0, row_of(None))?;
        }
        for pair in self.tree.prefix(&[kind]) {
            self.tree.put(&layer_key(layer, &pair?.0), row_of(None))?;
        }
        Ok(())
    }

    /// Whether the layer has a row of `key`.
    pub(super) fn in_layer(&self, key: &[u8]) -> Result<bool, StorageError> {
        Ok(self.tree.get(&layer_key(self.layer.load(Ordering::SeqCst), key))?.is_some())
    }
}

/// A walk in the order of keys over the records and the layer together.
pub(super) struct Scan<'a> {
    base: Pairs<'a>,
    over: Pairs<'a>,
    _still: RwLockReadGuard<'a, ()>,
}

impl Iterator for Scan<'_> {
    type Item = Result<(Value, Value), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.base.peek(), self.over.peek()) {
                (_, None) => return self.base.next(),
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(Ok((base, _))), Some(Ok((over, _)))) => base[..].cmp(&over[..]),
                (Some(Err(_)), _) => return self.base.next(),
                (_, Some(Err(_))) => return self.over.next(),
            };
            if order.is_lt() {
                return self.base.next();
            }
            if order.is_eq() {
                self.base.next();
            }
            match self.over.next()? {
                Ok((key, row)) => {
                    if let Some(record) = record_of(row) {
                        return Some(Ok((key, record)));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn ends_or(pair: &Result<(Value, Value), StorageError>, belongs: impl Fn(&[u8]) -> bool) -> bool {
    pair.as_ref().map_or(true, |(key, _)| belongs(key))
}

fn read_row(tree: &Tree) -> Result<LayerRow, StorageError> {
    tree.get(keys::LAYER)?.map_or(Ok(LayerRow::default()), |bytes| record::decode(&bytes))
}

/// Whether rows of this kind may lie in a layer. Counters and marks of superseded bodies never do.
fn is_layered(key: &[u8]) -> bool {
    !matches!(key.first(), None | Some(&blob::GARBAGE))
        && ![keys::META, keys::FORMAT, keys::LAYER].contains(&key)
}

const PREFIX_BYTES: usize = 5;

fn layer_prefix(layer: u32) -> Vec<u8> {
    [&[keys::LAYERS][..], &layer.to_be_bytes()].concat()
}

fn layer_key(layer: u32, key: &[u8]) -> Vec<u8> {
    [&[keys::LAYERS][..], &layer.to_be_bytes(), key].concat()
}

fn layer_of(key: &[u8]) -> Option<u32> {
    let number = key.strip_prefix(&[keys::LAYERS])?.get(..4)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

fn row_of(value: Option<Vec<u8>>) -> Vec<u8> {
    match value {
        None => vec![DELETED],
        Some(mut value) => {
            value.insert(0, PRESENT);
            value
        }
    }
}

fn record_of(row: Value) -> Option<Value> {
    (row.first() == Some(&PRESENT)).then(|| row.without_first(1))
}
