//! The runs that count against the datasets' budgets, and the blockages (worker-and-store.md section 2.5).
//!
//! Owns both, in memory and on disk: a run is one record, in the order of the ends; a blockage is one of its dataset.
//! Runs older than the window go with the next run that counts, whichever dataset's. A run is written beside the commit
//! that ends its job: a crash in between costs its dataset's neighbours one run. Damaged records are dropped.

use std::collections::{HashMap, VecDeque};

use bincode::{Decode, Encode};
use outpost_model::{DatasetName, JobId, TimestampMs, budget, limits};

use super::core::Core;
use super::keys;
use crate::error::StorageError;
use crate::kv::Batch;
use crate::record::{self, Record};

/// Prefix of runs.
const RUNS: u8 = b'r';
/// Prefix of blockages.
const BLOCKAGES: u8 = b'b';

/// A run that counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct StoredRun {
    dataset: String,
    seconds: u64,
}

impl Record for StoredRun {
    const TAG: u8 = b'r';
    const VERSION: u8 = 1;
}

/// Until when a dataset's jobs wait.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct StoredBlockage {
    until_ms: u64,
}

impl Record for StoredBlockage {
    const TAG: u8 = b'k';
    const VERSION: u8 = 1;
}

/// One run: its end, its job's number, whose it was, and its length in seconds.
#[derive(Debug)]
struct Run {
    ended_at: TimestampMs,
    job: u64,
    dataset: DatasetName,
    seconds: u64,
}

impl Run {
    fn counts(&self, now: TimestampMs) -> bool {
        self.ended_at.plus_ms(limits::BUDGET_WINDOW_MS) > now
    }

    fn key(&self) -> Vec<u8> {
        [&[RUNS][..], &self.ended_at.0.to_be_bytes(), &self.job.to_be_bytes()].concat()
    }

    fn read(key: &[u8], value: &[u8]) -> Result<Self, StorageError> {
        let damaged = || StorageError::Damaged("a run".to_owned());
        let (ended_at, job) = key.get(1..).and_then(|rest| rest.split_at_checked(8)).ok_or_else(damaged)?;
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged());
        let StoredRun { dataset, seconds } = record::decode(value)?;
        let dataset = DatasetName::new(&dataset).map_err(|_| damaged())?;
        Ok(Self { ended_at: TimestampMs(number(ended_at)?), job: number(job)?, dataset, seconds })
    }
}

/// The runs of the last window.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    /// In the order of their ends.
    runs: VecDeque<Run>,
    /// Their seconds.
    used: HashMap<DatasetName, u64>,
}

impl Budgets {
    fn push(&mut self, run: Run) {
        *self.used.entry(run.dataset.clone()).or_default() += run.seconds;
        self.runs.push_back(run);
    }

    /// Forgets the runs that no longer count.
    fn forget_old(&mut self, now: TimestampMs, batch: &mut Batch) {
        while let Some(run) = self.runs.pop_front_if(|run| !run.counts(now)) {
            batch.delete(run.key());
            if let Some(used) = self.used.get_mut(&run.dataset) {
                *used = used.saturating_sub(run.seconds);
                if *used == 0 {
                    self.used.remove(&run.dataset);
                }
            }
        }
    }
}

/// Counts a run of a job, and blocks its dataset when that was more than its budget.
pub(super) fn count_run(
    core: &mut Core,
    (job, dataset): (JobId, DatasetName),
    duration_ms: u64,
    now: TimestampMs,
) -> Result<(), StorageError> {
    let Some(seconds) = budget::counted_seconds(duration_ms) else { return Ok(()) };
    let mut batch = Batch::new();
    core.budgets.forget_old(now, &mut batch);
    let run = Run { ended_at: now, job: keys::job_number(job), dataset: dataset.clone(), seconds };
    batch.put(run.key(), record::encode(&StoredRun { dataset: dataset.to_string(), seconds }));
    core.budgets.push(run);
    let used = core.budgets.used.get(&dataset).copied().unwrap_or_default();
    if budget::is_exceeded(&dataset, seconds, used) && !core.queue.is_blocked(&dataset, now) {
        tracing::warn!(%dataset, "a dataset used more than its budget and waits");
        let until = now.plus_ms(limits::BLOCKAGE_MS);
        // An earlier one of the same dataset may be among those that ended.
        for ended in core.queue.block(&dataset, until) {
            batch.delete(blockage_key(&ended));
        }
        batch.put(blockage_key(&dataset), record::encode(&StoredBlockage { until_ms: until.0 }));
    }
    core.kv.state.apply(batch)
}

fn blockage_key(dataset: &DatasetName) -> Vec<u8> {
    [&[BLOCKAGES][..], dataset.as_str().as_bytes()].concat()
}

/// Reads what is stored. To be called before the jobs are read.
pub(super) fn load(core: &mut Core) -> Result<(), StorageError> {
    let kv = core.kv.clone();
    let mut strays = Batch::new();
    for pair in kv.state.prefix(&[RUNS]) {
        let (key, value) = pair?;
        match Run::read(&key, &value) {
            Ok(run) => core.budgets.push(run),
            Err(error) => drop_damaged(&error, &key, &mut strays),
        }
    }
    for pair in kv.state.prefix(&[BLOCKAGES]) {
        let (key, value) = pair?;
        match read_blockage(&key, &value) {
            Ok((dataset, until)) => drop(core.queue.block(&dataset, until)),
            Err(error) => drop_damaged(&error, &key, &mut strays),
        }
    }
    kv.state.apply(strays)
}

fn read_blockage(key: &[u8], value: &[u8]) -> Result<(DatasetName, TimestampMs), StorageError> {
    let StoredBlockage { until_ms } = record::decode(value)?;
    let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
    let dataset = name.and_then(|name| DatasetName::new(name).ok());
    Ok((dataset.ok_or_else(|| StorageError::Damaged("a blockage".to_owned()))?, TimestampMs(until_ms)))
}

fn drop_damaged(cause: &StorageError, key: &[u8], strays: &mut Batch) {
    tracing::error!(%cause, "a record of a dataset's budget is damaged and was dropped");
    strays.delete(key.to_vec());
}
