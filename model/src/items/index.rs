//! Items in order, with the sum of any range of them.
//!
//! Owns the shape that makes both cheap: chunks of at most [`CHUNK_ITEMS_MAX`] items, each with its sum. A change touches
//! one chunk; a range costs the sums of the chunks inside it and at most half a chunk of hashes at either end. Takes
//! about 45 bytes for each item. Nothing here fails.

use super::{Item, SetHash};

/// Items of a chunk.
pub(super) const CHUNK_ITEMS_MAX: usize = 512;
/// A chunk with fewer is joined with its neighbour when the two fit in one with room to spare.
const CHUNK_ITEMS_MIN: usize = CHUNK_ITEMS_MAX / 4;
/// Two chunks are joined when they have at most this many together.
const JOINED_ITEMS_MAX: usize = CHUNK_ITEMS_MAX / 4 * 3;
/// Parts of at least this many items are cut between chunks: uneven by less than an eighth, and cheap to sum.
const WHOLE_CHUNKS_PART_MIN: usize = CHUNK_ITEMS_MAX * 8;

/// How many items a range has, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RangeSum {
    /// Number of items.
    pub count: u64,
    /// Sum of their hashes.
    pub sum: SetHash,
}

impl RangeSum {
    /// The first 16 bytes of BLAKE3 over the sum and the big-endian count: equal for equal sets, short to send.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.sum.to_bytes());
        hasher.update(&self.count.to_be_bytes());
        super::short(hasher.finalize().as_bytes())
    }
}

/// Consecutive items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemRange {
    /// The first item that it can hold.
    pub from: Item,
    /// The first item after it, `None` when there is none.
    pub to: Option<Item>,
}

impl ItemRange {
    /// The range that holds every item.
    #[must_use]
    pub fn all() -> Self {
        Self { from: Item::MIN, to: None }
    }

    /// Whether `item` is in the range.
    #[must_use]
    pub fn contains(&self, item: &Item) -> bool {
        *item >= self.from && self.to.is_none_or(|to| *item < to)
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct ItemIndex {
    chunks: Vec<Chunk>,
    count: usize,
}

/// Items in order, never none, and the sum of their hashes.
#[derive(Debug, Clone)]
struct Chunk {
    items: Vec<Item>,
    sum: SetHash,
}

impl Chunk {
    fn of(items: Vec<Item>) -> Self {
        let sum = sum_of(&items);
        Self { items, sum }
    }

    fn last(&self) -> Option<&Item> {
        self.items.last()
    }

    /// The sum of the items `from..to`, by what is in them or what is not, whichever is less to hash.
    fn part(&self, from: usize, to: usize) -> SetHash {
        if 2 * (to - from) <= self.items.len() {
            return sum_of(&self.items[from..to]);
        }
        let mut sum = self.sum;
        sum.subtract(sum_of(&self.items[..from]));
        sum.subtract(sum_of(&self.items[to..]));
        sum
    }
}

fn sum_of(items: &[Item]) -> SetHash {
    let mut sum = SetHash::default();
    items.iter().for_each(|item| sum.add(item));
    sum
}

/// A place between items: before the item `at` of a chunk. Places that are the same are equal: `at` is 0 after the last
/// item of a chunk, in the next chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    chunk: usize,
    at: usize,
}

impl ItemIndex {
    /// An index without items.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The index of items that come in order. One out of order is put where it belongs, at the cost of an insertion; one
    /// that comes twice is there once.
    #[must_use]
    pub fn from_sorted(items: impl IntoIterator<Item = Item>) -> Self {
        let mut index = Self::new();
        for item in items {
            index.insert(item);
        }
        for chunk in &mut index.chunks {
            chunk.items.shrink_to_fit();
        }
        index
    }

    /// Adds an item; `false` when it was there.
    pub fn insert(&mut self, item: Item) -> bool {
        let place = self.place(&item);
        if self.at(place) == Some(&item) {
            return false;
        }
        self.count += 1;
        // Before the first item of a chunk is after the last of the one before; new items mostly come at the end.
        let place = match place {
            Place { chunk, at: 0 } if chunk > 0 => {
                Place { chunk: chunk - 1, at: self.chunks[chunk - 1].items.len() }
            }
            place => place,
        };
        let Some(chunk) = self.chunks.get_mut(place.chunk) else {
            self.chunks.push(Chunk::of(vec![item]));
            return true;
        };
        if chunk.items.len() < CHUNK_ITEMS_MAX {
            chunk.items.insert(place.at, item);
            chunk.sum.add(&item);
        } else {
            self.split_chunk(place, item);
        }
        true
    }

    /// Adds an item to a full chunk.
    fn split_chunk(&mut self, place: Place, item: Item) {
        let chunk = &mut self.chunks[place.chunk];
        // At the end, the full chunk stays full: that is where a growing history adds.
        if place.at == chunk.items.len() {
            self.chunks.insert(place.chunk + 1, Chunk::of(vec![item]));
            return;
        }
        chunk.items.insert(place.at, item);
        chunk.sum.add(&item);
        let upper = Chunk::of(chunk.items.split_off(chunk.items.len() / 2));
        chunk.items.shrink_to_fit();
        chunk.sum.subtract(upper.sum);
        self.chunks.insert(place.chunk + 1, upper);
    }

    /// Takes an item out; `false` when it was not there.
    pub fn remove(&mut self, item: &Item) -> bool {
        let place = self.place(item);
        if self.at(place) != Some(item) {
            return false;
        }
        self.count -= 1;
        let chunk = &mut self.chunks[place.chunk];
        chunk.items.remove(place.at);
        chunk.sum.remove(item);
        if chunk.items.is_empty() {
            self.chunks.remove(place.chunk);
        } else if chunk.items.len() < CHUNK_ITEMS_MIN {
            let lower = place.chunk.saturating_sub(1);
            self.join(lower);
            self.join(place.chunk.min(self.chunks.len() - 1));
        }
        true
    }

    /// Joins a chunk with the one after it when there is room for both.
    fn join(&mut self, lower: usize) {
        let Some([one, two]) = self.chunks.get(lower..lower + 2) else { return };
        if one.items.len() + two.items.len() > JOINED_ITEMS_MAX {
            return;
        }
        let two = self.chunks.remove(lower + 1);
        let one = &mut self.chunks[lower];
        one.items.extend(two.items);
        one.sum.merge(two.sum);
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an item is there.
    #[must_use]
    pub fn contains(&self, item: &Item) -> bool {
        self.at(self.place(item)) == Some(item)
    }

    /// The items of a range, added up. A range that ends before it begins has none.
    #[must_use]
    pub fn sum(&self, range: &ItemRange) -> RangeSum {
        let (from, to) = self.places(range);
        self.sum_between(from, to)
    }

    /// At most `parts` ranges of about equal counts, in order, which together are exactly `range`, each with its sum. A
    /// range without items stays one.
    #[must_use]
    pub fn split(&self, range: &ItemRange, parts: usize) -> Vec<(ItemRange, RangeSum)> {
        let (from, to) = self.places(range);
        let count = self.count_between(from, to);
        let parts = parts.clamp(1, count.max(1));
        let mut cuts = Vec::with_capacity(parts);
        for number in 1..parts {
            let steps = count / parts * number + count % parts * number / parts;
            let mut cut = self.advance(from, steps);
            if count / parts >= WHOLE_CHUNKS_PART_MIN {
                cut.at = 0;
            }
            cuts.push(cut);
        }
        let mut found = Vec::with_capacity(parts);
        let (mut low, mut low_item) = (from, range.from);
        for cut in cuts {
            let Some(item) = self.at(cut).copied() else { continue };
            found.push((ItemRange { from: low_item, to: Some(item) }, self.sum_between(low, cut)));
            (low, low_item) = (cut, item);
        }
        found.push((ItemRange { from: low_item, to: range.to }, self.sum_between(low, to)));
        found
    }

    /// The items of a range, in order, at most `limit`.
    #[must_use]
    pub fn items(&self, range: &ItemRange, limit: usize) -> Vec<Item> {
        let (from, to) = self.places(range);
        let count = self.count_between(from, to).min(limit);
        let mut items = Vec::with_capacity(count);
        let mut at = from.at;
        for chunk in self.chunks.get(from.chunk..).unwrap_or_default() {
            if items.len() == count {
                break;
            }
            let some = &chunk.items[at..];
            items.extend_from_slice(&some[..some.len().min(count - items.len())]);
            at = 0;
        }
        items
    }

    /// The place before the first item that is not less than `item`.
    fn place(&self, item: &Item) -> Place {
        let chunk = self.chunks.partition_point(|chunk| chunk.last() < Some(item));
        let at = self.chunks.get(chunk).map_or(0, |chunk| chunk.items.partition_point(|other| other < item));
        Place { chunk, at }
    }

    fn places(&self, range: &ItemRange) -> (Place, Place) {
        let from = self.place(&range.from);
        let end = Place { chunk: self.chunks.len(), at: 0 };
        let to = range.to.map_or(end, |to| self.place(&to));
        (from, to.max(from))
    }

    fn at(&self, place: Place) -> Option<&Item> {
        self.chunks.get(place.chunk)?.items.get(place.at)
    }

    fn count_between(&self, from: Place, to: Place) -> usize {
        let whole: usize = self.chunks[from.chunk..to.chunk].iter().map(|chunk| chunk.items.len()).sum();
        whole + to.at - from.at
    }

    fn sum_between(&self, from: Place, to: Place) -> RangeSum {
        let mut sum = SetHash::default();
        let mut add = |chunk: usize, low: usize, high: usize| {
            if low < high {
                sum.merge(self.chunks[chunk].part(low, high));
            }
        };
        if from.chunk == to.chunk {
            add(from.chunk, from.at, to.at);
        } else {
            add(from.chunk, from.at, self.chunks[from.chunk].items.len());
            for chunk in from.chunk + 1..to.chunk {
                add(chunk, 0, self.chunks[chunk].items.len());
            }
            add(to.chunk, 0, to.at);
        }
        RangeSum { count: self.count_between(from, to) as u64, sum }
    }

    /// The place `steps` items after `place`.
    fn advance(&self, place: Place, steps: usize) -> Place {
        let mut left = place.at + steps;
        for (number, chunk) in self.chunks.iter().enumerate().skip(place.chunk) {
            if left < chunk.items.len() {
                return Place { chunk: number, at: left };
            }
            left -= chunk.items.len();
        }
        Place { chunk: self.chunks.len(), at: 0 }
    }

    /// Whether the shape is as the module says.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        let items: Vec<&Item> = self.chunks.iter().flat_map(|chunk| &chunk.items).collect();
        let is_chunk_sound = |chunk: &Chunk| {
            (1..=CHUNK_ITEMS_MAX).contains(&chunk.items.len()) && chunk.sum == sum_of(&chunk.items)
        };
        items.len() == self.count
            && items.is_sorted_by(|a, b| a < b)
            && self.chunks.iter().all(is_chunk_sound)
    }

    /// Bytes that the items and chunks take.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let items: usize = self.chunks.iter().map(|chunk| chunk.items.capacity() * size_of::<Item>()).sum();
        items + self.chunks.capacity() * size_of::<Chunk>()
    }
}
