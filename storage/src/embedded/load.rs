//! Opening: from a directory to a writer's state.
//!
//! Owns what happens to a store that is new, of another version, damaged, or left behind by a crash. Costs the number
//! of live jobs, not of entries. Running jobs lose their lease: one process holds the store, so their workers died.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use outpost_model::{JobId, JobState, SetHash, TimestampMs, limits};

use super::budgets::{self, Budgets};
use super::core::{Core, EntryCounts, by_status};
use super::keys;
use super::queue::QueueIndex;
use super::records::{
    FORMAT_VERSION, FORMAT_VERSION_BEFORE, LiveJob, Meta, MetaBefore, StoredCount, StoredJob,
};
use super::scrub::recount;
use super::summaries::Summaries;
use super::witness::Witness;
use super::{index, lineage};
use crate::blob;
use crate::error::StorageError;
use crate::kv::{self, Batch, Kv, OpenReport};
use crate::stored::{self, Found, Layout};
use crate::{random, record};

const LAYOUT: Layout = Layout {
    format: keys::FORMAT,
    meta: keys::META,
    version: FORMAT_VERSION,
    previous: FORMAT_VERSION_BEFORE,
};

/// Opens the store under `root`; one that cannot be read is set aside and an empty one takes its place.
pub(super) fn load(root: &Path, lock_wait_ms: u64) -> Result<(Core, Witness, OpenReport), StorageError> {
    kv::rebuilding(root, || attempt(root, lock_wait_ms))
}

fn attempt(root: &Path, lock_wait_ms: u64) -> Result<(Core, Witness, OpenReport), StorageError> {
    let (kv, mut report) = kv::open(root, lock_wait_ms, limits::STORE_CACHE_BYTES)?;
    let found = stored::read_meta::<Meta, MetaBefore>(&kv, &LAYOUT)?;
    let is_new = matches!(found, Found::Nothing);
    let meta = match found {
        Found::Current(meta) => meta,
        Found::Previous(before) => {
            tracing::info!("making the index of a store of the version before");
            let indexed = index::rewrite(&kv)?;
            write_meta(&kv, before.into_current(indexed))?
        }
        Found::Nothing => create(&kv)?,
    };
    let mut core = core_over(Arc::new(kv), begun(meta));
    let witness = call_witness(root, &mut core, is_new, &mut report)?;
    load_counts(&mut core)?;
    budgets::load(&mut core)?;
    load_jobs(&mut core, &mut report)?;
    blob::delete_leftovers(&core.kv, core.meta.next_blob)?;
    core.kv.flush()?;
    Ok((core, witness, report))
}

/// Where a history begins, before any change. Seq 0 is left to stores that were never filled: that nothing is stored is
/// known of this one, and can be mirrored (PROTOCOL.md section 1).
const FIRST_SEQ: u64 = 1;

fn create(kv: &Kv) -> Result<Meta, StorageError> {
    let meta = Meta {
        epoch: random::bits(),
        seq: FIRST_SEQ,
        log_first: FIRST_SEQ + 1,
        next_job: 1,
        tokens_reserved: 1,
        next_blob: 1,
        datasets: 0,
        entries: Vec::new(),
        indexed: 0,
        set_hash: SetHash::default(),
    };
    write_meta(kv, meta)
}

/// A store in which nothing was ever changed stands at [`FIRST_SEQ`], also one that an earlier version made.
fn begun(meta: Meta) -> Meta {
    if meta.seq > 0 { meta } else { Meta { seq: FIRST_SEQ, log_first: FIRST_SEQ + 1, ..meta } }
}

/// Makes `meta` that of the store, in the current layout.
fn write_meta(kv: &Kv, meta: Meta) -> Result<Meta, StorageError> {
    let mut batch = Batch::new();
    batch.put(keys::FORMAT.to_vec(), FORMAT_VERSION.to_be_bytes().to_vec());
    batch.put(keys::META.to_vec(), record::encode(&meta));
    kv.state.apply(batch)?;
    kv.flush()?;
    Ok(meta)
}

/// Compares the store with what was acknowledged; when that went further, the surviving data gets a new epoch.
fn call_witness(
    root: &Path,
    core: &mut Core,
    is_new: bool,
    report: &mut OpenReport,
) -> Result<Witness, StorageError> {
    let (mut witness, remembered) = Witness::open(root)?;
    let seq = core.meta.seq;
    let is_whole = is_new
        || remembered.is_some_and(|(epoch, acknowledged)| epoch == core.meta.epoch && acknowledged <= seq);
    if !is_whole {
        tracing::error!(seq, ?remembered, "acknowledged history is missing, the store starts a new epoch");
        report.history_lost = true;
        core.change_meta(|meta| meta.epoch = random::bits())?;
        core.kv.flush()?;
    }
    let witnessed = remembered.map(|(epoch, _)| epoch);
    core.left = lineage::enter(root, core.meta.epoch, witnessed)?;
    witness.begin(core.meta.epoch, seq)?;
    Ok(witness)
}

fn core_over(kv: Arc<Kv>, meta: Meta) -> Core {
    let next_token = meta.tokens_reserved;
    let shown = Arc::new(AtomicU64::new(meta.seq));
    Core {
        kv,
        meta,
        entry_counts: EntryCounts::new(),
        queue: QueueIndex::default(),
        summaries: Summaries::default(),
        budgets: Budgets::default(),
        log_records_max: limits::CHANGE_LOG_RECORDS_MAX,
        writes: 0,
        next_token,
        garbage: Vec::new(),
        webhook_ids: None,
        items: Arc::default(),
        shown,
        left: Vec::new(),
    }
}

/// Reads the counts of entries; counts again when they do not add up to the store's counters, as after a version that
/// did not keep them.
fn load_counts(core: &mut Core) -> Result<(), StorageError> {
    let mut strays = Batch::new();
    for pair in core.kv.state.prefix(&[keys::COUNTS]) {
        let (key, value) = pair?;
        match (keys::class_of_count(&key), record::decode::<StoredCount>(&value)) {
            (Some(class), Ok(StoredCount(entries))) => {
                core.entry_counts.insert(class, entries);
            }
            _ => strays.delete(key.to_vec()),
        }
    }
    core.kv.state.apply(strays)?;
    if by_status(&core.entry_counts) != core.meta.entries {
        tracing::info!("counting the stored entries");
        recount(core)?;
    }
    Ok(())
}

fn load_jobs(core: &mut Core, report: &mut OpenReport) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    let kv = core.kv.clone();
    for pair in kv.state.prefix(&[keys::JOBS]) {
        let (key, value) = pair?;
        let id = keys::number(&key).map(|number| JobId(number.into()));
        let live = id
            .ok_or_else(|| StorageError::Damaged("job key".to_owned()))
            .and_then(|id| record::decode::<StoredJob>(&value)?.into_live(id));
        match live {
            Ok(live) => core.queue.put(interrupted(live, &mut batch, report)),
            Err(StorageError::Damaged(cause)) => {
                tracing::error!(%cause, "a stored job is damaged and was dropped; maintenance creates it again");
                report.records_damaged += 1;
                batch.delete(key.to_vec());
            }
            Err(error) => return Err(error),
        }
    }
    core.kv.state.apply(batch)
}

/// A restart is not the job's fault, so it counts no attempt. A job that was running at several ends of the process
/// may be what ends it: then its run counts as a failed one, as if its lease had run out.
fn interrupted(mut live: LiveJob, batch: &mut Batch, report: &mut OpenReport) -> LiveJob {
    let JobState::Started { lease_expires_at, .. } = &mut live.job.state else { return live };
    report.jobs_interrupted += 1;
    live.interruptions = live.interruptions.saturating_add(1);
    if live.interruptions > limits::JOB_INTERRUPTIONS_MAX {
        *lease_expires_at = TimestampMs(0);
    } else {
        live.job.state = JobState::Waiting { not_before: live.job.created_at };
    }
    batch.put(keys::job(live.job.id), record::encode(&StoredJob::new(&live)));
    live
}
