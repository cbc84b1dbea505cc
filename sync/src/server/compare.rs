//! `compare`: which ranges differ, and how they look here in parts.
//!
//! Owns the answer's size: parts of about [`limits::SYNC_ITEMS_PER_PART`] items while they are few, larger ones when
//! much differs.

use outpost_model::items::ItemRange;
use outpost_model::limits;

use crate::call::{Refusal, RefusalCode};
use crate::mutation::{Mutation, is_planted};
use crate::ranges;
use crate::source::Source;
use crate::wire;

/// The parts of the ranges that differ.
pub(super) async fn compare(source: &dyn Source, request: &wire::Compare) -> Result<wire::Ranges, Refusal> {
    let asked: Vec<ItemRange> =
        request.ranges.iter().map(|range| ranges::range(&range.from, range.to.as_ref())).collect();
    ranges::check(&asked).map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    let sums = source.sums(&asked).await?;
    let differing: Vec<_> = std::iter::zip(std::iter::zip(&asked, &sums), &request.ranges)
        .filter(|((_, sum), theirs)| {
            !ranges::agrees(sum, theirs) || is_planted(Mutation::CompareTellsWhatAgrees)
        })
        .map(|((range, sum), _)| (range, sum))
        .collect();
    let parts_max = limits::SYNC_RANGES_MAX / differing.len().max(1);
    let mut answer = Vec::new();
    for (range, sum) in differing {
        let items = usize::try_from(sum.count).unwrap_or(usize::MAX);
        let parts = items.div_ceil(limits::SYNC_ITEMS_PER_PART).clamp(1, parts_max.max(1));
        let split = source.split(range, parts).await?;
        answer.extend(split.iter().map(|(range, sum)| ranges::to_wire(range, sum)));
    }
    Ok(wire::Ranges { ranges: answer })
}
