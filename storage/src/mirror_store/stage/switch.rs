//! The switch from what is served to a stage.
//!
//! Owns the proof before it and the one write that makes it. Few changes go in one batch. More go into a layer, which
//! one small batch makes count: readers of the engine wait for a batch, and 20,000 changes would keep them waiting for
//! most of a second. Followers of the change log are told each change, at a seq that they have not seen, or start over.

use std::sync::PoisonError;

use bytes::Bytes;
use outpost_model::{Epoch, Position};

use super::drafted::Drafted;
use super::{Listed, StageError, step};
use crate::error::StorageError;
use crate::items::ItemChange;
use crate::kv::Batch;
use crate::mirror::Changed;
use crate::mirror_store::batch::MirrorChange;
use crate::mirror_store::core::{Applied, Core};
use crate::mirror_store::draft::{Draft, Telling};
use crate::mirror_store::mover::Work;
use crate::mirror_store::records::Meta;
use crate::mirror_store::{MirrorStore, Writer, keys};
use crate::record;
use outpost_model::SetHash;

/// Where a stage leads.
pub(super) struct Target {
    pub(super) position: Position,
    pub(super) expected: Option<SetHash>,
    pub(super) cursor: Option<Bytes>,
    /// Histories that the source has left.
    pub(super) left: Vec<Epoch>,
}

impl Target {
    fn check(&self, found: SetHash) -> Result<(), StageError> {
        match self.expected {
            Some(expected) if expected != found => Err(StageError::Differs { expected, found }),
            _ => Ok(()),
        }
    }
}

/// A stage drafted over what is stored now.
struct Switch {
    batch: Batch,
    meta: Meta,
    garbage: Vec<u64>,
    healed: Vec<Changed>,
    items: Vec<ItemChange>,
    applied: Applied,
}

impl MirrorStore {
    /// Switches to a stage that is in memory.
    pub(super) fn switch_listed(
        &self,
        listed: &Listed,
        target: &Target,
        is_large: bool,
    ) -> Result<Applied, StageError> {
        if is_large {
            self.failing(self.settle())?;
        }
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let drafted = draft_listed(&writer.core, &listed.changes, target);
        let switch = self.failing(drafted)?;
        target.check(switch.meta.set_hash)?;
        let done = self.write_locked(&mut writer, |core| switch.make(core, is_large));
        drop(writer);
        self.inner.mover.send(Work::Look);
        Ok(done?)
    }

    /// Switches to a stage that is in a layer.
    pub(super) fn switch_drafted(
        &self,
        drafted: &mut Drafted,
        target: &Target,
    ) -> Result<Applied, StageError> {
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        target.check(drafted.meta.set_hash)?;
        let switched = self.write_locked(&mut writer, |core| switch_layer(self, core, drafted, target));
        release(&mut writer);
        drop(writer);
        self.inner.mover.send(Work::Look);
        Ok(switched?)
    }

    /// A failure of the engine stops the store.
    fn failing<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.inspect_err(|error| self.inner.fault.fail(error))
    }
}

fn release(writer: &mut Writer) {
    if let Some(staging) = &mut writer.staging {
        staging.layer = None;
    }
}

/// Replays the changes over what is stored.
fn draft_listed(core: &Core, changes: &[MirrorChange], target: &Target) -> Result<Switch, StorageError> {
    let told = told_up_to(&core.meta, target);
    let mut draft = Draft::new(&core.kv, &core.damage, core.meta.clone());
    draft.enter(target.position.epoch)?;
    draft.telling = Telling::Later(Vec::new());
    let mut in_order: Vec<&MirrorChange> = changes.iter().collect();
    in_order.sort_by_key(|change| change.seq);
    for change in in_order {
        draft.change(change.clone())?;
    }
    draft.reach(Some(target.position.seq))?;
    draft.take_over(&target.left);
    let is_other_history = core.meta.epoch != target.position.epoch.0;
    // What came and went between the two positions is in no stage, so a follower from there cannot be told of it. At one
    // and the same position there is no seq to tell at: that followers differ they learn from the set hash.
    let is_next = !is_other_history && target.position.seq == told.saturating_add(1);
    if !is_next && (draft.changed > 0 || target.position.seq > told) {
        draft.telling = Telling::Never;
        draft.restart_log(target.position.seq)?;
    }
    draft.tell(told, target.position.seq);
    draft.trim_log(core.log_limits)?;
    if let Some(cursor) = &target.cursor {
        draft.meta.cursor = Some(cursor.to_vec());
    }
    let applied = Applied { changed: draft.changed, ignored: draft.ignored };
    let items = std::mem::take(&mut draft.items);
    let (batch, meta, garbage, healed) = draft.into_parts();
    Ok(Switch { batch, meta, garbage, healed, items, applied })
}

/// The last seq that followers may have asked from: what is told at or before it they never hear of.
fn told_up_to(meta: &Meta, target: &Target) -> u64 {
    if meta.epoch == target.position.epoch.0 { meta.seq } else { 0 }
}

impl Switch {
    fn make(self, core: &mut Core, is_large: bool) -> Result<(Applied, Vec<u64>), StorageError> {
        let Self { batch, meta, mut garbage, healed, items, applied } = self;
        if is_large && !core.kv.has_layer() {
            let layer = core.kv.begin_layer()?;
            step("layer begun");
            core.kv.as_if(layer).state.write_rows(batch)?;
            step("rows");
            // The mover deletes what is marked in the layer.
            garbage = Vec::new();
            core.announce(&meta);
            core.kv.switch(layer, counters(&meta))?;
        } else {
            core.announce(&meta);
            core.kv.state.apply(batch)?;
            step("switched");
        }
        core.reveal(meta, Some(&items), &healed);
        Ok((applied, garbage))
    }
}

fn switch_layer(
    store: &MirrorStore,
    core: &mut Core,
    drafted: &mut Drafted,
    target: &Target,
) -> Result<(Applied, Vec<u64>), StorageError> {
    drafted.draft(store, |draft| {
        draft.reach(Some(target.position.seq))?;
        draft.take_over(&target.left);
        Ok(())
    })?;
    for kind in [keys::LOG, keys::TOMBSTONES] {
        drafted.kv.state.delete_kind(kind)?;
    }
    let mut meta = drafted.meta.clone();
    (meta.log_records, meta.log_bytes, meta.log_last) = (0, 0, (0, 0));
    meta.log_floor = target.position.seq;
    if let Some(cursor) = &target.cursor {
        meta.cursor = Some(cursor.to_vec());
    }
    core.announce(&meta);
    core.kv.switch(drafted.layer, counters(&meta))?;
    core.reveal(meta, None, &drafted.healed);
    Ok((Applied { changed: drafted.changed, ignored: drafted.ignored }, Vec::new()))
}

fn counters(meta: &Meta) -> Batch {
    let mut batch = Batch::new();
    batch.put(keys::META.to_vec(), record::encode(meta));
    batch
}
