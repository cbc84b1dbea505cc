//! Ids of relayed webhooks that were applied.
//!
//! Owns their bound in age and number: ids lie in the order of their times beside the way from an id to its time, and
//! every new one drops some that are too old or too many. A time row without its id does no harm and goes with age.

use bincode::{Decode, Encode};
use outpost_model::{TimestampMs, WebhookId, limits};

use super::core::Core;
use crate::error::StorageError;
use crate::kv::{Batch, Kv};
use crate::record::{self, Record};

/// Prefix of ids.
const IDS: u8 = b'w';
/// Prefix of times.
const TIMES: u8 = b'v';
/// Ids dropped at a time at most.
const DROPPED_MAX: usize = 64;

/// When a webhook was taken.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct TakenAt(u64);

impl Record for TakenAt {
    const TAG: u8 = b'W';
    const VERSION: u8 = 1;
}

fn id_key(id: WebhookId) -> Vec<u8> {
    [&[IDS][..], &id.0.to_be_bytes()].concat()
}

fn time_key(at: TimestampMs, id: WebhookId) -> Vec<u8> {
    [&[TIMES][..], &at.0.to_be_bytes(), &id.0.to_be_bytes()].concat()
}

/// Time and id of a key made by [`time_key`].
fn parts(key: &[u8]) -> Option<(TimestampMs, WebhookId)> {
    let (at, id) = key.get(1..)?.split_at_checked(8)?;
    Some((
        TimestampMs(u64::from_be_bytes(at.try_into().ok()?)),
        WebhookId(u128::from_be_bytes(id.try_into().ok()?)),
    ))
}

/// Whether `id` is known. A damaged record counts: the key is what matters.
pub(super) fn is_taken(kv: &Kv, id: WebhookId) -> Result<bool, StorageError> {
    Ok(kv.state.get(&id_key(id))?.is_some())
}

/// Remembers `id`; the first time counts.
pub(super) fn mark_taken(core: &mut Core, id: WebhookId, now: TimestampMs) -> Result<(), StorageError> {
    mark_within(core, id, now, limits::WEBHOOK_IDS_MAX)
}

fn mark_within(core: &mut Core, id: WebhookId, now: TimestampMs, ids_max: u64) -> Result<(), StorageError> {
    if is_taken(&core.kv, id)? {
        return Ok(());
    }
    let mut count = known(core)? + 1;
    let mut batch = Batch::new();
    batch.put(id_key(id), record::encode(&TakenAt(now.0)));
    batch.put(time_key(now, id), Vec::new());
    for pair in core.kv.state.prefix(&[TIMES]).take(DROPPED_MAX) {
        let (key, _) = pair?;
        let Some((at, id)) = parts(&key) else {
            batch.delete(key.to_vec());
            continue;
        };
        if now.since_ms(at) <= limits::WEBHOOK_ID_AGE_MS_MAX && count <= ids_max {
            break;
        }
        batch.delete(key.to_vec());
        batch.delete(id_key(id));
        count = count.saturating_sub(1);
    }
    core.kv.state.apply(batch)?;
    core.writes += 1;
    core.webhook_ids = Some(count);
    Ok(())
}

/// How many ids are known; counted when the first one since opening is marked.
fn known(core: &Core) -> Result<u64, StorageError> {
    match core.webhook_ids {
        Some(count) => Ok(count),
        None => core.kv.state.prefix(&[TIMES]).try_fold(0, |count, pair| pair.map(|_| count + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::load::load;

    #[test]
    fn the_oldest_ids_go_when_they_are_too_old_or_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let (mut core, ..) = load(directory.path(), 1_000).unwrap();
        let at = |number: u128| TimestampMs(u64::try_from(number).unwrap());
        for number in 1..=20 {
            mark_within(&mut core, WebhookId(number), at(number), 10).unwrap();
            mark_within(&mut core, WebhookId(number), at(number + 5), 10).unwrap();
        }
        let taken = |core: &Core| (1..=21).filter(|id| is_taken(&core.kv, WebhookId(*id)).unwrap()).count();
        assert_eq!(taken(&core), 10);
        assert!(is_taken(&core.kv, WebhookId(11)).unwrap() && !is_taken(&core.kv, WebhookId(10)).unwrap());
        core.webhook_ids = None;
        assert_eq!(known(&core).unwrap(), 10);
        let later = TimestampMs(limits::WEBHOOK_ID_AGE_MS_MAX + 16);
        mark_within(&mut core, WebhookId(21), later, 10).unwrap();
        // 16 to 20 are not too old yet.
        assert_eq!((taken(&core), known(&core).unwrap()), (6, 6));
        assert_eq!(core.kv.state.prefix(&[IDS]).count(), 6);
    }
}
