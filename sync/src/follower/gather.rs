//! Changes that belong together, on their way into the mirror.
//!
//! Owns where they wait: a few in memory, many in a stage. Nothing is seen before it is whole.

use std::sync::Arc;

use outpost_model::items::SetHash;
use outpost_model::{Epoch, Position, limits};

use crate::record::Change;
use crate::source::{Batch, Stage, StageError, StoreError, Target};

/// See the module.
pub(super) struct Gather {
    target: Arc<dyn Target>,
    epoch: Epoch,
    left: Vec<Epoch>,
    changes: Vec<Change>,
    bytes: usize,
    stage: Option<Box<dyn Stage>>,
}

impl Gather {
    pub(super) fn new(target: Arc<dyn Target>, epoch: Epoch, left: Vec<Epoch>) -> Self {
        Self { target, epoch, left, changes: Vec::new(), bytes: 0, stage: None }
    }

    pub(super) async fn add(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.bytes += changes.iter().map(Change::bytes).sum::<usize>();
        self.changes.extend(changes);
        if self.bytes <= limits::SYNC_GATHERED_BYTES_MAX {
            return Ok(());
        }
        let stage = match &mut self.stage {
            Some(stage) => stage,
            None => self.stage.insert(self.target.stage(self.epoch).await?),
        };
        self.bytes = 0;
        stage.add(std::mem::take(&mut self.changes)).await
    }

    /// Makes everything visible, with the position that it leads to.
    pub(super) async fn finish(&mut self, seq: u64, set_hash: Option<SetHash>) -> Result<(), StageError> {
        let changes = std::mem::take(&mut self.changes);
        self.bytes = 0;
        let Some(mut stage) = self.stage.take() else {
            let batch = Batch { epoch: self.epoch, changes, reached: Some(seq), left: self.left.clone() };
            return Ok(self.target.apply(batch).await?);
        };
        stage.add(changes).await?;
        stage.commit(Position { epoch: self.epoch, seq }, set_hash, self.left.clone()).await
    }
}
