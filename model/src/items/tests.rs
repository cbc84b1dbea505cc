//! The index against a plain ordered set, and what a million items cost.

use std::collections::BTreeSet;
use std::time::Instant;

use super::index::CHUNK_ITEMS_MAX;
use super::*;

/// A repeatable stream of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn item(time: u64, key: u64) -> Item {
    let mut key_hash = [0; 16];
    key_hash[..8].copy_from_slice(&key.to_be_bytes());
    Item { updated_at: TimestampMs(time), key_hash, version_hash: [3; 16] }
}

fn naive(set: &BTreeSet<Item>, range: &ItemRange) -> RangeSum {
    let mut sum = RangeSum::default();
    for item in set.iter().filter(|item| range.contains(item)) {
        sum.count += 1;
        sum.sum.add(item);
    }
    sum
}

fn random_range(numbers: &mut Numbers, times: u64) -> ItemRange {
    let from = item(numbers.below(times), numbers.below(8));
    let to = (numbers.below(4) > 0).then(|| item(numbers.below(times), numbers.below(8)));
    if numbers.below(8) == 0 { ItemRange { from: Item::MIN, to } } else { ItemRange { from, to } }
}

fn assert_ranges_agree(index: &ItemIndex, set: &BTreeSet<Item>, range: &ItemRange, parts: usize) {
    let expected = naive(set, range);
    assert_eq!(index.sum(range), expected, "{range:?}");
    let limit = parts * 3;
    let wanted: Vec<Item> = set.iter().filter(|item| range.contains(item)).take(limit).copied().collect();
    assert_eq!(index.items(range, limit), wanted);
    let split = index.split(range, parts);
    assert!(!split.is_empty() && split.len() <= parts);
    assert_eq!(split[0].0.from, range.from);
    assert_eq!(split[split.len() - 1].0.to, range.to);
    assert!(split.windows(2).all(|pair| pair[0].0.to == Some(pair[1].0.from)));
    for (part, sum) in &split {
        assert_eq!(*sum, naive(set, part));
        if split.len() > 1 {
            let fair = expected.count / parts as u64;
            assert!(sum.count >= 1 && sum.count <= fair + fair / 8 + 1, "{} of {fair}", sum.count);
        }
    }
}

#[test]
fn the_index_agrees_with_a_plain_ordered_set_under_random_changes() {
    for seed in 0..24 {
        let mut numbers = Numbers(seed);
        let (mut index, mut set) = (ItemIndex::new(), BTreeSet::new());
        let times = [40, 1_000, 100_000][seed as usize % 3];
        for round in 0..60 {
            // Grows, then shrinks to nothing.
            let puts_of_ten = if round < 40 { 7 } else { 1 };
            for _ in 0..200 {
                let item = item(numbers.below(times), numbers.below(8));
                if numbers.below(10) < puts_of_ten {
                    assert_eq!(index.insert(item), set.insert(item));
                } else {
                    let near = set.range(item..).next().copied().unwrap_or(item);
                    assert_eq!(index.remove(&near), set.remove(&near));
                }
                assert_eq!(index.contains(&item), set.contains(&item));
            }
            assert!(index.is_sound());
            assert_eq!((index.len(), index.is_empty()), (set.len(), set.is_empty()));
            let range = random_range(&mut numbers, times);
            assert_ranges_agree(&index, &set, &range, 1 + numbers.below(20) as usize);
            assert_ranges_agree(&index, &set, &ItemRange::all(), 16);
        }
        for item in set {
            assert!(index.remove(&item));
        }
        assert!(index.is_empty() && index.is_sound());
        assert_eq!(index.sum(&ItemRange::all()), RangeSum::default());
    }
}

#[test]
fn large_parts_are_about_equal_and_exact() {
    let set: BTreeSet<Item> = (0..80_000).map(|time| item(time, 1)).collect();
    let index = ItemIndex::from_sorted(set.iter().copied());
    assert_ranges_agree(&index, &set, &ItemRange::all(), 16);
    assert_ranges_agree(&index, &set, &ItemRange { from: item(300, 1), to: Some(item(79_000, 1)) }, 4);
}

#[test]
fn a_range_that_ends_before_it_begins_is_empty() {
    let index = ItemIndex::from_sorted((0..2_000).map(|time| item(time, 1)));
    let range = ItemRange { from: item(1_500, 0), to: Some(item(10, 0)) };
    assert_eq!(index.sum(&range), RangeSum::default());
    assert_eq!(index.items(&range, 10), []);
    assert_eq!(index.split(&range, 4), [(range, RangeSum::default())]);
}

#[test]
fn items_out_of_order_and_twice_are_taken() {
    let items = [item(2, 1), item(1, 1), item(2, 1), item(3, 1)];
    let index = ItemIndex::from_sorted(items);
    assert_eq!(index.items(&ItemRange::all(), 9), [item(1, 1), item(2, 1), item(3, 1)]);
    assert!(index.is_sound());
}

#[test]
fn chunks_of_a_growing_history_stay_full() {
    let mut index = ItemIndex::new();
    for time in 0..100 * CHUNK_ITEMS_MAX as u64 {
        index.insert(item(time, 1));
    }
    assert!(index.memory_bytes() < index.len() * 45);
}

#[test]
fn the_fingerprint_tells_counts_and_sums_apart() {
    let mut sum = SetHash::default();
    sum.add(&item(1, 1));
    let one = RangeSum { count: 1, sum };
    assert_ne!(one.fingerprint(), RangeSum { count: 2, sum }.fingerprint());
    assert_ne!(one.fingerprint(), RangeSum { count: 1, sum: SetHash::default() }.fingerprint());
    assert_eq!(one.fingerprint(), one.fingerprint());
}

#[test]
fn bytes_round_trip_and_sort_as_items_do() {
    let (early, later) = (item(255, u64::MAX), item(256, 0));
    assert_eq!(Item::from_bytes(&later.to_bytes()), later);
    assert_eq!(early.cmp(&later), early.to_bytes().cmp(&later.to_bytes()));
}

/// Run with `cargo test -p outpost-model --release -- --ignored --nocapture a_million`.
#[test]
#[ignore = "measures; run it alone and with --release"]
fn a_million_items_are_cheap() {
    let mut numbers = Numbers(1);
    let start = Instant::now();
    let mut index = ItemIndex::from_sorted((0..1_000_000).map(|time| item(time, time)));
    println!("built in {:?}, {} bytes an item", start.elapsed(), index.memory_bytes() / index.len());
    let start = Instant::now();
    let changed = 100_000;
    for _ in 0..changed {
        index.insert(item(numbers.below(1_000_000), numbers.next()));
    }
    println!(
        "inserted at random in {:?} each, {} bytes an item",
        start.elapsed() / changed,
        index.memory_bytes() / index.len()
    );
    let start = Instant::now();
    let mut count = 0;
    for _ in 0..1_000 {
        count += index.sum(&random_range(&mut numbers, 1_000_000)).count;
    }
    println!("a random range of {} on average is summed in {:?}", count / 1_000, start.elapsed() / 1_000);
    let start = Instant::now();
    let parts = index.split(&ItemRange::all(), 16).len();
    println!("everything is split into {parts} in {:?}", start.elapsed());
    assert!(index.is_sound());
}
