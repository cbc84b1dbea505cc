//! A stage over a store in memory: changes beside what is served, which it switches to at once.
//!
//! Owns the proof before the switch. What was staged is lost with the node.

use std::sync::Arc;

use async_trait::async_trait;
use outpost_model::items::{Changed, SetHash};
use outpost_model::{Epoch, Position};
use outpost_sync::record::Change;
use outpost_sync::source::{Batch, Stage, StageError, StoreError};

use crate::state::{Size, Step};
use crate::store::{CrashPoint, MemStore, dead};

/// See the module.
pub struct MemStage {
    store: Arc<MemStore>,
    epoch: Epoch,
    changes: Vec<Change>,
}

impl MemStage {
    /// An empty one.
    pub(crate) fn new(store: Arc<MemStore>, epoch: Epoch) -> Self {
        Self { store, epoch, changes: Vec::new() }
    }
}

#[async_trait]
impl Stage for MemStage {
    async fn add(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.store.pause().await?;
        let mut inner = self.store.lock();
        self.store.crash_if(&mut inner, CrashPoint::Staging);
        if inner.is_dead {
            return Err(dead());
        }
        drop(inner);
        self.changes.extend(changes);
        Ok(())
    }

    fn holds(&self, subject: &Changed) -> bool {
        self.changes.iter().any(|change| change.subject() == *subject)
    }

    async fn commit(
        self: Box<Self>,
        reached: Position,
        expected: Option<SetHash>,
        left: Vec<Epoch>,
    ) -> Result<(), StageError> {
        self.store.pause().await?;
        let Self { store, epoch, changes } = *self;
        let batch = Batch { epoch, changes, reached: Some(reached.seq), left };
        let size = if store.lock().random.u8(..4) == 0 { Size::Large } else { Size::Small };
        let step = Step::Switch(batch, size);
        let mut staged = store.lock().visible.clone();
        staged.step(&step);
        let found = staged.digest().set_hash;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(StageError::Differs { expected, found });
        }
        store.step(step, CrashPoint::BeforeSwitch, CrashPoint::Switched)?;
        Ok(store.pause().await?)
    }
}
