//! `fill`: the records that a follower lacks in some ranges, and the items that it has and this node does not.
//!
//! Owns the order of reads that makes the answer true: the head is read before anything, so all that is sent is at
//! least as new; and nothing is sent before it is on disk. What changes meanwhile is the tail's to tell. Damaged records
//! are left out: of a range that held one the answer does not come to its end.

use std::collections::HashSet;
use std::sync::Arc;

use outpost_model::items::{Changed, Item, ItemRange};
use outpost_model::limits;

use super::{Ended, Out, Server};
use crate::call::{Refusal, RefusalCode};
use crate::mutation::{Mutation, is_planted};
use crate::record::{self, subject_from_wire, subject_to_wire};
use crate::source::{Held, Source};
use crate::wire;
use crate::{frame, ranges};

/// Whether an answer can be given at a cost that the request is worth: what overlaps would be sent again and again.
pub(super) fn check(request: &wire::Fill) -> Result<(), Refusal> {
    let malformed = |words: String| Refusal::new(RefusalCode::Malformed, words);
    let wanted: Vec<ItemRange> =
        request.ranges.iter().map(|range| ranges::range(&range.from, range.to.as_ref())).collect();
    ranges::check(&wanted).map_err(|error| malformed(error.to_string()))?;
    let named: usize = request.ranges.iter().map(|range| range.items.len()).sum();
    if named > limits::SYNC_FILL_ITEMS_PER_CALL_MAX || request.subjects.len() > limits::SYNC_FILL_SUBJECTS_MAX
    {
        return Err(malformed(format!(
            "a fill names at most {} items and {} subjects",
            limits::SYNC_FILL_ITEMS_PER_CALL_MAX,
            limits::SYNC_FILL_SUBJECTS_MAX
        )));
    }
    Ok(())
}

/// Writes the whole answer.
pub(super) async fn fill(
    server: Arc<Server>,
    head: wire::Head,
    request: wire::Fill,
    out: Out,
) -> Result<(), Ended> {
    let source = &*server.source;
    let seq = head.seq;
    out.send(head).await?;
    let mut damaged = 0;
    for wanted in &request.ranges {
        damaged += fill_range(source, seq, wanted, &out).await?;
    }
    let subjects: Result<Vec<_>, _> = request.subjects.iter().map(subject_from_wire).collect();
    let subjects = subjects.map_err(|error| Ended::Failed(error.to_string()))?;
    send_records(source, seq, &subjects, Absence::IsTold, &out).await?;
    if damaged > 0 {
        return Err(Ended::Failed(format!("{damaged} of the records asked for are damaged")));
    }
    // Everything that was sent is at or before this.
    let reached = source.head().position.seq;
    out.send(wire::Reached { seq: reached, set_hash: None }).await
}

/// Returns how many records were left out because they are damaged.
async fn fill_range(
    source: &dyn Source,
    seq: u64,
    wanted: &wire::FillRange,
    out: &Out,
) -> Result<usize, Ended> {
    let mut damaged = 0;
    let mut range = ranges::range(&wanted.from, wanted.to.as_ref());
    let mut theirs: HashSet<Item> = record::items(&wanted.items).into_iter().collect();
    loop {
        let page = source.items(&range, limits::SYNC_FILL_PAGE_ITEMS).await?;
        let is_all_sent = is_planted(Mutation::FillSendsWhatIsKnown);
        let is_lacking = |item: &&Item| !theirs.remove(*item) || is_all_sent;
        let lacking: Vec<Item> = page.iter().filter(is_lacking).copied().collect();
        // An item that is no more has changed since: the tail tells how.
        let subjects: Vec<Changed> = source.subjects_of(&lacking).await?.into_iter().flatten().collect();
        damaged += send_records(source, seq, &subjects, Absence::IsLeftOut, out).await?;
        let Some(last) = page.last().filter(|_| page.len() == limits::SYNC_FILL_PAGE_ITEMS) else { break };
        range = ItemRange { from: last.successor(), to: range.to };
    }
    let mut gone: Vec<_> = theirs.into_iter().map(|item| item.to_bytes()).collect();
    gone.sort_unstable();
    for items in gone.chunks(limits::SYNC_FILL_ITEMS_PER_CALL_MAX) {
        out.send(wire::Gone { items: items.to_vec() }).await?;
    }
    Ok(damaged)
}

/// What is said of a subject without a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absence {
    IsTold,
    IsLeftOut,
}

/// Sends records in frames of a bounded size; returns how many are damaged. All carry `seq`, so that whatever the tail
/// tells from there on wins.
async fn send_records(
    source: &dyn Source,
    seq: u64,
    subjects: &[Changed],
    absence: Absence,
    out: &Out,
) -> Result<usize, Ended> {
    let (mut rest, mut damaged) = (subjects, 0);
    while !rest.is_empty() {
        let records = source.records(rest, limits::SYNC_FRAME_BYTES_TARGET).await?;
        source.settled().await?;
        let (now, later) = rest.split_at(records.len().clamp(1, rest.len()));
        let mut message = wire::Records::default();
        for (subject, held) in now.iter().zip(records) {
            match held {
                Held::Record(_) if is_planted(Mutation::FillDropsARecord) && message.puts.len() == 1 => {}
                Held::Record(record) => message.puts.push((seq, record.to_wire())),
                Held::Damaged if !is_planted(Mutation::DamagedIsGone) => damaged += 1,
                _ if absence == Absence::IsTold => message.deleted.push((seq, subject_to_wire(subject))),
                _ => {}
            }
        }
        out.send_frame(frame::encode(&message.into())).await?;
        rest = later;
    }
    Ok(damaged)
}
