//! Made-up entries whose bodies hardly compress, the same for the same number and version.

use outpost_model::{
    ArtifactKey, ConfigName, DatasetName, Epoch, Revision, SplitName, StepKind, TimestampMs,
};
use outpost_storage::MirrorStore;
use outpost_storage::mirror_store::{EntryPut, MirrorBatch, MirrorChange, MirrorWrite};

/// The history that all stores are in.
pub const EPOCH: Epoch = Epoch(0x0ff1ce);
const PER_BATCH: usize = 2_000;

/// The key of an entry.
pub fn key(number: usize) -> ArtifactKey {
    let dataset = DatasetName::new(&format!("bench/d{number:07}")).expect("a name");
    let config = ConfigName::new("default").expect("a name");
    let split = SplitName::new("train").expect("a name");
    ArtifactKey::new(StepKind::SplitFirstRows, dataset, Some(config), Some(split)).expect("names of a split")
}

/// An entry whose body takes about `bytes` as stored.
pub fn entry(number: usize, version: u64, bytes: usize) -> anyhow::Result<EntryPut> {
    let mut random = fastrand::Rng::with_seed(number as u64 ^ (version << 40));
    let text: String = (0..bytes * 8 / 6).map(|_| random.alphanumeric()).collect();
    let entry = outpost_model::Entry {
        key: key(number),
        http_status: 200,
        error_code: None,
        revision: Revision::new("0123456789012345678901234567890123456789")?,
        body: format!("{{\"rows\":\"{text}\"}}").into(),
        details: None,
        names: Vec::new(),
        progress: Some(1.0),
        job_runner_version: 1,
        failed_runs: 0,
        updated_at: TimestampMs(1_700_000_000_000 + number as u64 + version * 10_000_000),
        duration_ms: 1,
    };
    Ok(EntryPut::new(&entry, None)?)
}

/// Puts entries `from..to`, the seq of each one more than its number and `seq_offset`.
pub fn fill(
    store: &MirrorStore,
    numbers: std::ops::Range<usize>,
    bytes: usize,
    seq_offset: u64,
    version_of: impl Fn(usize) -> u64,
) -> anyhow::Result<()> {
    let numbers: Vec<usize> = numbers.collect();
    for part in numbers.chunks(PER_BATCH) {
        let put = |number: &usize| {
            let put = entry(*number, version_of(*number), bytes)?;
            Ok(MirrorChange {
                seq: seq_offset + *number as u64 + 1,
                write: MirrorWrite::PutEntry(Box::new(put)),
            })
        };
        let changes: anyhow::Result<Vec<_>> = part.iter().map(put).collect();
        let reached = part.last().map(|number| seq_offset + *number as u64 + 1);
        store.apply(MirrorBatch {
            epoch: EPOCH,
            changes: changes?,
            reached,
            cursor: None,
            left: Vec::new(),
        })?;
    }
    Ok(())
}

/// Puts one entry as the change `seq`.
pub fn put(store: &MirrorStore, number: usize, version: u64, bytes: usize, seq: u64) -> anyhow::Result<()> {
    let write = MirrorWrite::PutEntry(Box::new(entry(number, version, bytes)?));
    let changes = vec![MirrorChange { seq, write }];
    store.apply(MirrorBatch { epoch: EPOCH, changes, reached: Some(seq), cursor: None, left: Vec::new() })?;
    Ok(())
}
