//! A stage that no longer fits in memory: drafted in a layer of the store.
//!
//! Owns the layer until it counts. Every piece of changes is drafted over the records and the layer together, and its
//! rows are written into the layer, so memory holds one piece. Since the drafts rely on what they found, nobody else
//! writes to the mirror meanwhile.

use std::sync::PoisonError;

use outpost_model::Epoch;

use super::{Listed, slot_of};
use crate::error::StorageError;
use crate::mirror::Changed;
use crate::mirror_store::batch::MirrorChange;
use crate::mirror_store::draft::{Draft, Telling};
use crate::mirror_store::layers::Kv;
use crate::mirror_store::records::Meta;
use crate::mirror_store::{MirrorStore, keys};

/// Changes drafted at a time.
const PIECE: usize = 512;

/// See the module.
pub(super) struct Drafted {
    pub(super) layer: u32,
    /// The store as it will be.
    pub(super) kv: Kv,
    /// The counters as they will be.
    pub(super) meta: Meta,
    pub(super) changed: usize,
    pub(super) ignored: usize,
    /// Damaged records that are written anew or deleted.
    pub(super) healed: Vec<Changed>,
    /// Blobs written while the stage was in memory.
    listed_blobs: Vec<u64>,
}

impl Drafted {
    /// Moves a stage from memory into a layer.
    pub(super) fn begin(store: &MirrorStore, epoch: Epoch, listed: Listed) -> Result<Self, StorageError> {
        store.settle()?;
        let mut drafted = {
            let mut writer = store.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let layer = store.inner.kv.begin_layer()?;
            if let Some(staging) = &mut writer.staging {
                staging.layer = Some(layer);
            }
            Self {
                layer,
                kv: store.inner.kv.as_if(layer),
                meta: writer.core.meta.clone(),
                changed: 0,
                ignored: 0,
                healed: Vec::new(),
                listed_blobs: listed.blobs,
            }
        };
        super::step("layer begun");
        drafted.draft(store, |draft| draft.enter(epoch))?;
        drafted.add(store, listed.changes)?;
        Ok(drafted)
    }

    pub(super) fn add(
        &mut self,
        store: &MirrorStore,
        changes: Vec<MirrorChange>,
    ) -> Result<(), StorageError> {
        let mut changes = changes.into_iter();
        while changes.len() > 0 {
            let mut piece = changes.by_ref().take(PIECE);
            self.draft(store, |draft| piece.try_for_each(|change| draft.change(change)))?;
            super::step("rows");
        }
        Ok(())
    }

    /// Drafts something and writes it into the layer.
    pub(super) fn draft(
        &mut self,
        store: &MirrorStore,
        run: impl FnOnce(&mut Draft<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let damage = &store.inner.damage;
        let mut draft = Draft::new(&self.kv, damage, self.meta.clone());
        draft.telling = Telling::Never;
        run(&mut draft)?;
        self.changed += draft.changed;
        self.ignored += draft.ignored;
        let (batch, meta, _marked_in_layer, healed) = draft.into_parts();
        self.kv.state.write_rows(batch)?;
        self.meta = meta;
        self.healed.extend(healed.into_iter().filter(|subject| damage.holds(subject)));
        Ok(())
    }

    pub(super) fn holds(&self, subject: &Changed) -> bool {
        let has_row = |key: &[u8]| self.kv.state.in_layer(key).unwrap_or(false);
        has_row(&slot_of(subject)) || has_row(&keys::tombstone(subject))
    }

    /// The next blob's id: no other writer gives out ids meanwhile.
    pub(super) fn next_blob(&self) -> u64 {
        self.meta.next_blob
    }

    /// The blobs to delete when the stage comes to nothing; those from `first` on were written in the layer.
    pub(super) fn abandoned_blobs(&mut self, first: u64) -> Vec<u64> {
        let mut blobs = std::mem::take(&mut self.listed_blobs);
        blobs.extend(first..self.meta.next_blob);
        blobs
    }
}
