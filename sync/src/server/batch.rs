//! One batch of a tail: everything that changed from one position to another, exactly.
//!
//! Owns exactness: a record that is read may be newer than the change that it is sent for, and then all changes up to
//! its last one belong to the batch too. A batch that would grow beyond [`limits::SYNC_BATCH_BYTES_MAX`] is a gap; one with a
//! damaged record is an error, because a record that cannot be read is not a deletion.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use outpost_model::items::{Changed, SetHash, subject_bytes};
use outpost_model::limits;

use crate::frame;
use crate::mutation::{Mutation, is_planted};
use crate::record::{Record, subject_to_wire};
use crate::source::{Held, Source, StoreError};
use crate::wire;

const GROUPS_PER_READ: usize = 64;
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// A batch, encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The frames, the last one a [`wire::Reached`].
    pub(super) frames: Vec<Bytes>,
    /// The seq that is reached with it.
    pub(super) end: u64,
}

impl Encoded {
    pub(super) fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }
}

/// What is known of the changes so far.
struct Draft {
    /// The last seq that is part of the batch.
    end: u64,
    /// What was read, with the seq of its last change in the batch.
    read: HashMap<Changed, (u64, Option<Record>)>,
    bytes: usize,
    /// The set hash at `end`, when it is known.
    set_hash: Option<SetHash>,
}

/// The batch after `after`, which is before the source's position; `None` for a gap.
pub(super) async fn after(source: &dyn Source, after: u64) -> Result<Option<Encoded>, StoreError> {
    let mut draft = Draft { end: after, read: HashMap::new(), bytes: 0, set_hash: None };
    let limit = limits::SYNC_BATCH_CHANGES_MAX;
    if !draft.extend(source, limit, limits::SYNC_BATCH_BYTES_TARGET).await? {
        return Ok(None);
    }
    loop {
        let Some(later) = source.changed_since(draft.end).await? else { return Ok(None) };
        let is_exact = !later.iter().any(|subject| draft.read.contains_key(subject));
        if is_exact || is_planted(Mutation::BatchIsNotExact) {
            return Ok(Some(draft.encode()));
        }
        // A change that is not part of the history yet, or not on disk: soon it is.
        tokio::time::sleep(RETRY_PAUSE).await;
        source.settled().await?;
        if !draft.extend(source, usize::MAX, usize::MAX).await? || draft.bytes > limits::SYNC_BATCH_BYTES_MAX
        {
            return Ok(None);
        }
    }
}

impl Draft {
    /// Takes what changed from the draft's end to where the source stands; false for a gap.
    async fn extend(
        &mut self,
        source: &dyn Source,
        limit: usize,
        bytes_target: usize,
    ) -> Result<bool, StoreError> {
        let head = source.head();
        let Some(mut changes) = source.changes_after(self.end, limit).await? else { return Ok(false) };
        let is_all = changes.len() < limit;
        changes.retain(|(seq, _)| *seq <= head.position.seq);
        let took_all = self.take(source, &changes, bytes_target).await?;
        self.set_hash = None;
        if is_all && took_all {
            self.end = self.end.max(head.position.seq);
            self.set_hash = head.set_hash;
        }
        Ok(true)
    }

    /// Reads what `changes` are of, until `bytes_target` is exceeded at the end of a seq; returns whether that was all.
    async fn take(
        &mut self,
        source: &dyn Source,
        changes: &[(u64, Changed)],
        bytes_target: usize,
    ) -> Result<bool, StoreError> {
        let mut groups = changes.chunk_by(|(seq, _), (next, _)| seq == next).peekable();
        while groups.peek().is_some() && self.bytes <= bytes_target {
            // Some groups at a time: each read is a step to the store's thread.
            let now: Vec<_> = groups.by_ref().take(GROUPS_PER_READ).flatten().collect();
            let Some((end, _)) = now.last() else { break };
            let last_seqs: HashMap<&Changed, u64> =
                now.iter().map(|(seq, subject)| (subject, *seq)).collect();
            let mut seen = HashSet::new();
            let subjects: Vec<Changed> =
                now.iter().map(|(_, subject)| subject).filter(|s| seen.insert(*s)).cloned().collect();
            self.read_all(source, &subjects, &last_seqs).await?;
            self.end = *end;
        }
        Ok(groups.peek().is_none())
    }

    async fn read_all(
        &mut self,
        source: &dyn Source,
        subjects: &[Changed],
        seqs: &HashMap<&Changed, u64>,
    ) -> Result<(), StoreError> {
        let mut rest = subjects;
        while !rest.is_empty() {
            let records = source.records(rest, limits::SYNC_FRAME_BYTES_TARGET).await?;
            let (now, later) = rest.split_at(records.len().clamp(1, rest.len()));
            for (subject, held) in now.iter().zip(records) {
                let record = match held {
                    Held::Record(record) => Some(record),
                    Held::Absent => None,
                    Held::Damaged if is_planted(Mutation::DamagedIsGone) => None,
                    // Without it the batch is not what changed; it is fetched again, and then told.
                    Held::Damaged => return Err(StoreError(format!("{subject:?} is damaged"))),
                };
                self.bytes += record.as_ref().map_or(0, Record::bytes);
                let old = self.read.insert(subject.clone(), (seqs[subject], record));
                self.bytes -= old.and_then(|(_, record)| record).map_or(0, |record| record.bytes());
            }
            rest = later;
        }
        Ok(())
    }

    fn encode(self) -> Encoded {
        let (end, set_hash) = (self.end, self.set_hash.map(SetHash::to_bytes));
        let mut frames = Vec::new();
        let (mut message, mut bytes) = (wire::Records::default(), 0);
        let mut read: Vec<_> = self.read.into_iter().collect();
        // The same changes are the same bytes, wherever they are put together.
        read.sort_by_cached_key(|(subject, (seq, _))| (*seq, subject_bytes(subject)));
        for (subject, (seq, record)) in read {
            let length = record.as_ref().map_or(0, Record::bytes);
            if bytes > 0 && bytes + length > limits::SYNC_FRAME_BYTES_TARGET {
                frames.push(frame::encode(&std::mem::take(&mut message).into()));
                bytes = 0;
            }
            bytes += length.max(1);
            match record {
                Some(record) => message.puts.push((seq, record.to_wire())),
                None if is_planted(Mutation::TailSkipsDeletions) => {}
                None => message.deleted.push((seq, subject_to_wire(&subject))),
            }
        }
        if bytes > 0 {
            frames.push(frame::encode(&message.into()));
        }
        frames.push(frame::encode(&wire::Reached { seq: end, set_hash }.into()));
        if is_planted(Mutation::ReachedComesEarly) {
            frames.rotate_right(1);
        }
        Encoded { frames, end }
    }
}
