//! Ranges between the wire and the model.
//!
//! Owns the checks of ranges that another node sent: in order, not overlapping, not too many.

use outpost_model::items::{Item, ItemRange, RangeSum};
use outpost_model::limits;

use crate::wire;

/// Ranges that cannot be what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at most {} ranges are taken at once, each behind the one before", limits::SYNC_RANGES_MAX)]
pub struct InvalidRanges;

/// The range of its ends.
#[must_use]
pub fn range(from: &wire::ItemBytes, to: Option<&wire::ItemBytes>) -> ItemRange {
    ItemRange { from: Item::from_bytes(from), to: to.map(Item::from_bytes) }
}

/// A range and what is in it, for the wire.
#[must_use]
pub fn to_wire(range: &ItemRange, sum: &RangeSum) -> wire::Range {
    wire::Range {
        from: range.from.to_bytes(),
        to: range.to.map(|item| item.to_bytes()),
        count: sum.count,
        fingerprint: sum.fingerprint(),
    }
}

/// Whether a node with `sum` in a range agrees with another one about it.
#[must_use]
pub fn agrees(sum: &RangeSum, theirs: &wire::Range) -> bool {
    sum.count == theirs.count && sum.fingerprint() == theirs.fingerprint
}

/// Checks that ranges are in order and do not overlap.
///
/// # Errors
/// [`InvalidRanges`].
pub fn check(ranges: &[ItemRange]) -> Result<(), InvalidRanges> {
    let is_sound = |range: &ItemRange| range.to.is_none_or(|to| range.from < to);
    let follows = |pair: &[ItemRange]| pair[0].to.is_some_and(|to| to <= pair[1].from);
    let is_valid = ranges.len() <= limits::SYNC_RANGES_MAX
        && ranges.iter().all(is_sound)
        && ranges.windows(2).all(follows);
    if is_valid { Ok(()) } else { Err(InvalidRanges) }
}
