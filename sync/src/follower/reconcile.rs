//! Reconciliation: from any state to the upstream's, at the cost of the difference (PROTOCOL.md section 4).
//!
//! Owns the three steps, compare, fill and tail, and what they fill: a stage beside the live data, or the mirror itself
//! while it was never filled. The result counts only when its set hash is the upstream's at the same seq.

use outpost_model::items::{Changed, Item, ItemRange, SetHash};
use outpost_model::{Epoch, Position, limits};

use super::status::Phase;
use super::{End, Follower};
use crate::call::{Answer, Call, CallError, Upstream, unexpected};
use crate::mutation::{Mutation, is_planted};
use crate::ranges;
use crate::record::{self, Change, subject_to_wire};
use crate::source::{Batch, Stage, StageError};
use crate::wire::{self, Message};

/// What a reconciliation fills.
enum Place {
    /// The mirror itself, which was never filled.
    Live,
    Staged(Box<dyn Stage>),
}

/// What is known so far.
struct Course {
    /// The first head that the upstream told: the tail goes on from there.
    first: Option<wire::Head>,
    /// The fill is a state at or before this.
    filled: u64,
    /// Items that the upstream does not have.
    gone: Vec<Item>,
}

impl Follower {
    /// Reconciles; returns the tail to go on with.
    pub(super) async fn reconcile(&self, upstream: &dyn Upstream) -> Result<Answer, End> {
        self.board.change(|status| {
            status.phase = Phase::Reconciling;
            status.reconciliations += 1;
        });
        let damaged = self.target.damaged(limits::SYNC_FILL_SUBJECTS_MAX);
        let mut course = Course { first: None, filled: 0, gone: Vec::new() };
        let differing = self.compare(upstream, &mut course).await?;
        let mut place = None;
        for fill in self.fills(differing, &damaged).await? {
            self.fill(upstream, fill, &mut course, &mut place).await?;
        }
        let Some(first) = course.first.take() else {
            return Err(CallError::Lost("no head".to_owned()).into());
        };
        let epoch = Epoch(first.epoch);
        let mut place = match place {
            Some(place) => place,
            None => self.place(epoch).await?,
        };
        self.drop_gone(&course.gone, &first, &mut place).await?;
        self.catch_up(upstream, &first, course.filled, place).await
    }

    async fn place(&self, epoch: Epoch) -> Result<Place, End> {
        if self.target.visible().seq == 0 {
            return Ok(Place::Live);
        }
        Ok(Place::Staged(self.target.stage(epoch).await?))
    }

    /// The ranges that differ, all small on both sides, or empty here.
    async fn compare(&self, upstream: &dyn Upstream, course: &mut Course) -> Result<Vec<ItemRange>, End> {
        let all = ItemRange::all();
        if self.target.sums(&[all]).await?.iter().all(|sum| sum.count == 0) {
            return Ok(vec![all]);
        }
        let mut asked = self.parts_of(&all, limits::SYNC_FIRST_RANGES).await?;
        let mut differing = Vec::new();
        for round in 1.. {
            let mut next = Vec::new();
            for ranges in asked.chunks(limits::SYNC_RANGES_MAX) {
                let parts = self.ask_ranges(upstream, ranges.to_vec(), course).await?;
                let is_last = round == limits::SYNC_COMPARE_ROUNDS_MAX;
                self.sort_out(&parts, is_last, &mut differing, &mut next).await?;
            }
            if next.is_empty() {
                break;
            }
            asked = next;
        }
        // Those of later rounds lie between those of earlier ones.
        differing.sort_unstable_by_key(|range| range.from);
        Ok(differing)
    }

    async fn parts_of(&self, range: &ItemRange, parts: usize) -> Result<Vec<wire::Range>, End> {
        let parts = self.target.split(range, parts).await?;
        Ok(parts.iter().map(|(range, sum)| ranges::to_wire(range, sum)).collect())
    }

    async fn ask_ranges(
        &self,
        upstream: &dyn Upstream,
        ranges: Vec<wire::Range>,
        course: &mut Course,
    ) -> Result<Vec<wire::Range>, End> {
        let request = wire::Compare { node: self.board.me().0, ranges };
        let mut answer = self.call(upstream, Call::Compare, request).await?;
        let head = self.expect_head(&mut answer).await?;
        course.note(head)?;
        match answer.expect().await? {
            Message::Ranges(wire::Ranges { ranges }) => Ok(ranges),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Puts the upstream's parts to those to fill or to those to compare again, unless both sides agree.
    async fn sort_out(
        &self,
        parts: &[wire::Range],
        is_last_round: bool,
        differing: &mut Vec<ItemRange>,
        next: &mut Vec<wire::Range>,
    ) -> Result<(), End> {
        let asked: Vec<_> = parts.iter().map(|part| ranges::range(&part.from, part.to.as_ref())).collect();
        ranges::check(&asked).map_err(|error| CallError::Nonsense(error.to_string()))?;
        let sums = self.target.sums(&asked).await?;
        for ((range, mine), theirs) in asked.iter().zip(&sums).zip(parts) {
            if ranges::agrees(mine, theirs) {
                continue;
            }
            let is_small = mine.count.saturating_add(theirs.count) <= limits::SYNC_FILL_ITEMS_MAX;
            if is_small || mine.count == 0 || theirs.count == 0 || is_last_round {
                differing.push(*range);
                continue;
            }
            let items = usize::try_from(mine.count).unwrap_or(usize::MAX);
            let parts = items.div_ceil(limits::SYNC_ITEMS_PER_PART).min(limits::SYNC_FIRST_RANGES);
            next.extend(self.parts_of(range, parts).await?);
        }
        Ok(())
    }

    /// Requests for the differing ranges, each with a bounded number of items, and for damaged records.
    async fn fills(&self, differing: Vec<ItemRange>, damaged: &[Changed]) -> Result<Vec<wire::Fill>, End> {
        let node = self.board.me().0;
        let empty = || wire::Fill { node, ranges: Vec::new(), subjects: Vec::new() };
        let mut fills =
            vec![wire::Fill { subjects: damaged.iter().map(subject_to_wire).collect(), ..empty() }];
        let mut items_in_last = 0;
        for mut range in differing {
            loop {
                let items = self.target.items(&range, limits::SYNC_FILL_ITEMS_PER_CALL_MAX).await?;
                let is_cut = items.len() == limits::SYNC_FILL_ITEMS_PER_CALL_MAX;
                let behind = items.last().filter(|_| is_cut).map(Item::successor);
                let part = ItemRange { from: range.from, to: behind.or(range.to) };
                let ranges_in_last = fills.last().map_or(0, |fill| fill.ranges.len());
                if items_in_last + items.len() > limits::SYNC_FILL_ITEMS_PER_CALL_MAX
                    || ranges_in_last == limits::SYNC_RANGES_MAX
                {
                    fills.push(empty());
                    items_in_last = 0;
                }
                items_in_last += items.len();
                let fill = wire::FillRange {
                    from: part.from.to_bytes(),
                    to: part.to.map(|item| item.to_bytes()),
                    items: items.iter().map(Item::to_bytes).collect(),
                };
                fills.last_mut().expect("begun with one").ranges.push(fill);
                match behind {
                    Some(behind) => range = ItemRange { from: behind, to: range.to },
                    None => break,
                }
            }
        }
        fills.retain(|fill| !fill.ranges.is_empty() || !fill.subjects.is_empty());
        Ok(fills)
    }

    async fn fill(
        &self,
        upstream: &dyn Upstream,
        fill: wire::Fill,
        course: &mut Course,
        place: &mut Option<Place>,
    ) -> Result<(), End> {
        let mut answer = self.call(upstream, Call::Fill, fill).await?;
        let head = self.expect_head(&mut answer).await?;
        let (epoch, left) = (Epoch(head.epoch), lineage(&head));
        course.note(head)?;
        let place = match place {
            Some(place) => place,
            None => place.insert(self.place(epoch).await?),
        };
        // The next message is read while what the last one brought is written.
        let mut to_write: Option<Vec<Change>> = None;
        loop {
            let message = match to_write.take() {
                Some(changes) => {
                    let writing = self.put(place, epoch, changes, &left);
                    tokio::try_join!(writing, async { Ok(answer.expect().await?) })?.1
                }
                None => answer.expect().await?,
            };
            match message {
                Message::Records(records) => {
                    // What is sent now is older than anything that the tail tells from the first head on.
                    let seq = course.first.as_ref().map_or(0, |head| head.seq);
                    let changes = self.changes_of(records)?.into_iter().map(|change| at(change, seq));
                    to_write = Some(changes.collect());
                }
                Message::Gone(wire::Gone { items }) => course.gone.extend(record::items(&items)),
                Message::Reached(reached) => {
                    course.filled = course.filled.max(reached.seq);
                    return Ok(());
                }
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    async fn put(
        &self,
        place: &mut Place,
        epoch: Epoch,
        changes: Vec<Change>,
        left: &[Epoch],
    ) -> Result<(), End> {
        match place {
            Place::Live => {
                let batch = Batch { epoch, changes, reached: None, left: left.to_vec() };
                Ok(self.target.apply(batch).await?)
            }
            Place::Staged(stage) => Ok(stage.add(changes).await?),
        }
    }

    /// Deletes what the upstream does not have, unless the fill brought another version of it.
    async fn drop_gone(&self, gone: &[Item], first: &wire::Head, place: &mut Place) -> Result<(), End> {
        for items in gone.chunks(limits::SYNC_FILL_PAGE_ITEMS) {
            let subjects = self.target.subjects_of(items).await?.into_iter().flatten();
            let is_replaced = |subject: &Changed| match &*place {
                Place::Live => false,
                Place::Staged(_) if is_planted(Mutation::GoneDeletesWhatWasReplaced) => false,
                Place::Staged(stage) => stage.holds(subject),
            };
            let lost: Vec<_> = subjects
                .filter(|subject| !is_replaced(subject))
                .map(|subject| Change::Delete(first.seq, subject))
                .collect();
            self.put(place, Epoch(first.epoch), lost, &lineage(first)).await?;
        }
        Ok(())
    }

    /// Takes the tail until the state is a whole one, proves it, and makes it the mirror's.
    async fn catch_up(
        &self,
        upstream: &dyn Upstream,
        first: &wire::Head,
        filled: u64,
        mut place: Place,
    ) -> Result<Answer, End> {
        let request = wire::Tail { node: self.board.me().0, epoch: first.epoch, seq: first.seq };
        let (mut tail, head) = self.open_tail(upstream, request).await?;
        let (epoch, left) = (Epoch(first.epoch), lineage(&head));
        let mut told = (head.seq == first.seq).then_some((head.seq, head.set_hash));
        loop {
            if let Some((seq, Some(set_hash))) = told.filter(|(seq, _)| *seq >= filled) {
                let reached = Position { epoch, seq };
                self.finish(place, reached, SetHash::from_bytes(set_hash), left).await?;
                self.freshness.stands_at(self.target.visible());
                return Ok(tail);
            }
            match tail.expect().await? {
                Message::Records(records) => {
                    let changes = self.changes_of(records)?;
                    self.put(&mut place, epoch, changes, &left).await?;
                    told = None;
                }
                Message::Reached(reached) => told = Some((reached.seq, reached.set_hash)),
                Message::Head(head) => {
                    self.check(&head)?;
                    self.board.heard(&head);
                    // At a seq that was reached the heartbeat knows the hash, if the batch did not.
                    told = told.map(|(seq, hash)| (seq, hash.or(head.set_hash.filter(|_| head.seq == seq))));
                }
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    async fn finish(
        &self,
        place: Place,
        reached: Position,
        set_hash: SetHash,
        left: Vec<Epoch>,
    ) -> Result<(), End> {
        match place {
            Place::Staged(stage) => match stage.commit(reached, Some(set_hash), left).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.differing(error)),
            },
            Place::Live => {
                let found = self.target.stored_hash().await?;
                if found != set_hash {
                    return Err(self.differing(StageError::Differs { expected: set_hash, found }));
                }
                let batch =
                    Batch { epoch: reached.epoch, changes: Vec::new(), reached: Some(reached.seq), left };
                Ok(self.target.apply(batch).await?)
            }
        }
    }

    fn differing(&self, error: StageError) -> End {
        self.board.change(|status| status.differences += 1);
        tracing::error!(%error, "a reconciliation did not lead to the upstream's state");
        error.into()
    }
}

impl Course {
    /// Keeps the first head; a reconciliation is with one history.
    fn note(&mut self, head: wire::Head) -> Result<(), CallError> {
        match &self.first {
            Some(first) if first.epoch != head.epoch => {
                Err(CallError::Lost("the upstream moved to another history".to_owned()))
            }
            Some(_) => Ok(()),
            None => {
                self.filled = head.seq;
                self.first = Some(head);
                Ok(())
            }
        }
    }
}

/// The histories that a follower of this head has left with it.
fn lineage(head: &wire::Head) -> Vec<Epoch> {
    head.left.iter().map(|epoch| Epoch(*epoch)).collect()
}

fn at(change: Change, seq: u64) -> Change {
    match change {
        Change::Put(_, record) => Change::Put(seq, record),
        Change::Delete(_, subject) => Change::Delete(seq, subject),
    }
}
