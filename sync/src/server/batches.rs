//! Batches that are shared by the followers who stand at the same place.
//!
//! Owns that a batch is read and encoded once: the first follower at a position makes it, those who come meanwhile wait
//! for it, those who come soon after get the same. Bounded in batches and bytes; a batch that failed is not kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use outpost_model::{Epoch, limits};
use tokio::sync::OnceCell;

use super::batch::{self, Encoded};
use crate::source::{Source, StoreError};

type Slot = Arc<OnceCell<Option<Arc<Encoded>>>>;

pub(super) struct Batches {
    source: Arc<dyn Source>,
    /// Oldest first, by the history and seq that they are after.
    kept: Mutex<VecDeque<((Epoch, u64), Slot)>>,
}

impl Batches {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, kept: Mutex::default() }
    }

    /// The batch after `seq`, which is before the source's position; `None` for a gap.
    pub(super) async fn after(&self, epoch: Epoch, seq: u64) -> Result<Option<Arc<Encoded>>, StoreError> {
        let slot = self.slot((epoch, seq));
        let made = slot
            .get_or_try_init(|| async {
                let encoded = batch::after(&*self.source, seq).await?;
                // What was read under another history is of no use.
                let is_current = self.source.head().position.epoch == epoch;
                Ok::<_, StoreError>(encoded.filter(|_| is_current).map(Arc::new))
            })
            .await?
            .clone();
        if made.is_none() {
            self.forget((epoch, seq));
        }
        Ok(made)
    }

    fn slot(&self, place: (Epoch, u64)) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = kept.iter().find(|(at, _)| *at == place) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        kept.push_back((place, Arc::clone(&slot)));
        let bytes_of = |slot: &Slot| slot.get().and_then(Option::as_ref).map_or(0, |batch| batch.bytes());
        let mut bytes: usize = kept.iter().map(|(_, slot)| bytes_of(slot)).sum();
        while kept.len() > limits::SYNC_BATCHES_KEPT_MAX
            || (kept.len() > 1 && bytes > limits::SYNC_BATCHES_KEPT_BYTES_MAX)
        {
            let dropped = kept.pop_front();
            bytes -= dropped.map_or(0, |(_, slot)| bytes_of(&slot));
        }
        slot
    }

    fn forget(&self, place: (Epoch, u64)) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|(at, _)| *at != place);
    }
}
