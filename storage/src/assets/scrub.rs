//! Scrubbing assets: reading every stored byte once, dropping what is damaged, deleting what nothing refers to.
//!
//! Owns repair while serving. The walk runs beside reads and writes; what it suspects is looked at again with the
//! index held, and only then is anything changed. Memory grows with the number of contents, not with their size.

use std::collections::{BTreeSet, HashMap, HashSet};

use outpost_model::AssetSplit;

use super::content::{self, NamedFile};
use super::folder::Inner;
use super::index::{self, Index};
use super::records::{Garbage, Meta, StoredAsset, StoredContent};
use super::{AssetScrubReport, keys};
use crate::error::StorageError;
use crate::kv::Kv;
use crate::record;

/// Assets and contents changed by one atomic batch of a repair.
const CHANGED_PER_BATCH: usize = 1_000;

type Hash = [u8; 32];

/// See [`super::AssetStore::scrub`].
pub(super) fn scrub(inner: &Inner) -> Result<AssetScrubReport, StorageError> {
    let mut report = AssetScrubReport::default();
    let suspects = walk(inner, &mut report)?;
    if suspects.needs_repair {
        inner.change(|index| repair(inner, index, suspects.damaged, &mut report))?;
        inner.flush()?;
    }
    delete_orphans(inner, &mut report)?;
    Ok(report)
}

struct Suspects {
    damaged: HashSet<Hash>,
    /// Whether records, counts or contents are not as they should be.
    needs_repair: bool,
}

fn walk(inner: &Inner, report: &mut AssetScrubReport) -> Result<Suspects, StorageError> {
    let mut counts: HashMap<Hash, u64> = HashMap::new();
    let mut damaged = HashSet::new();
    let mut needs_repair = false;
    for pair in inner.kv.state.prefix(&[keys::CONTENTS]) {
        let (key, value) = pair?;
        let content = record::decode::<StoredContent>(&value).ok();
        let (Some(hash), Some(content)) = (keys::hash_of(&key), content) else {
            needs_repair = true;
            continue;
        };
        report.contents_checked += 1;
        counts.insert(hash, content.references);
        if !is_sound(inner, &hash, &content)? {
            damaged.insert(hash);
        }
    }
    for pair in inner.kv.state.prefix(&[keys::ASSETS]) {
        let (key, value) = pair?;
        let asset = record::decode::<StoredAsset>(&value).ok();
        match (asset.and_then(|asset| counts.get_mut(&asset.hash)), keys::rows_of(&key)) {
            (Some(count), Some(_)) => *count = count.wrapping_sub(1),
            _ => needs_repair = true,
        }
    }
    needs_repair |= !damaged.is_empty() || counts.values().any(|left| *left != 0);
    Ok(Suspects { damaged, needs_repair })
}

/// Whether all bytes of a content are there and are those that were put.
fn is_sound(inner: &Inner, hash: &Hash, content: &StoredContent) -> Result<bool, StorageError> {
    match inner.body(hash, content) {
        Ok(Some(body)) => Ok(body.verify()),
        Ok(None) | Err(StorageError::Damaged(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Drops damaged contents with their assets and damaged records, and counts everything again.
fn repair(
    inner: &Inner,
    index: &mut Index,
    suspected: HashSet<Hash>,
    report: &mut AssetScrubReport,
) -> Result<(), StorageError> {
    let mut damaged = HashSet::new();
    for hash in suspected {
        let content = index::read_content(&index.kv, &hash);
        if let Ok(Some(content)) = content
            && !is_sound(inner, &hash, &content)?
        {
            damaged.insert(hash);
        }
    }
    let sound = sound_contents(&index.kv, &damaged)?;
    let mut rows_damaged = BTreeSet::new();
    let references = drop_assets(index, &sound, &mut rows_damaged, report)?;
    let meta = recount(index, &sound, &references, report)?;
    let mut draft = index.draft();
    draft.meta = Meta { ids_reserved: draft.meta.ids_reserved, followed: draft.meta.followed, ..meta };
    index.apply(draft)?;
    report.rows_damaged = rows_damaged.into_iter().collect();
    Ok(())
}

fn sound_contents(kv: &Kv, damaged: &HashSet<Hash>) -> Result<HashMap<Hash, u64>, StorageError> {
    let mut sound = HashMap::new();
    for pair in kv.state.prefix(&[keys::CONTENTS]) {
        let (key, value) = pair?;
        if let (Some(hash), Ok(content)) = (keys::hash_of(&key), record::decode::<StoredContent>(&value))
            && !damaged.contains(&hash)
        {
            sound.insert(hash, content.bytes);
        }
    }
    Ok(sound)
}

/// Deletes the assets that point to nothing sound; returns how many others each content has.
fn drop_assets(
    index: &mut Index,
    sound: &HashMap<Hash, u64>,
    rows_damaged: &mut BTreeSet<AssetSplit>,
    report: &mut AssetScrubReport,
) -> Result<HashMap<Hash, u64>, StorageError> {
    let mut references: HashMap<Hash, u64> = HashMap::new();
    let mut doomed = Vec::new();
    for pair in index.kv.state.prefix(&[keys::ASSETS]) {
        let (key, value) = pair?;
        let rows = keys::rows_of(&key);
        let asset = record::decode::<StoredAsset>(&value).ok();
        match asset.filter(|asset| rows.is_some() && sound.contains_key(&asset.hash)) {
            Some(asset) => *references.entry(asset.hash).or_default() += 1,
            None => {
                rows_damaged.extend(rows);
                doomed.push(key.to_vec());
            }
        }
    }
    report.assets_dropped += doomed.len() as u64;
    for keys in doomed.chunks(CHANGED_PER_BATCH) {
        let mut draft = index.draft();
        keys.iter().for_each(|key| draft.batch.delete(key.clone()));
        index.apply(draft)?;
    }
    Ok(references)
}

/// Drops the contents that are not sound or have no asset, corrects the counts of the others, returns the totals.
fn recount(
    index: &mut Index,
    sound: &HashMap<Hash, u64>,
    references: &HashMap<Hash, u64>,
    report: &mut AssetScrubReport,
) -> Result<Meta, StorageError> {
    let mut totals = Meta::default();
    let mut draft = index.draft();
    let kv = std::sync::Arc::clone(&index.kv);
    for pair in kv.state.prefix(&[keys::CONTENTS]) {
        let (key, value) = pair?;
        let content = record::decode::<StoredContent>(&value).ok();
        let (Some(hash), Some(mut content)) = (keys::hash_of(&key), content) else {
            draft.batch.delete(key.to_vec());
            report.contents_damaged += 1;
            continue;
        };
        let count = references.get(&hash).copied().unwrap_or(0);
        if !sound.contains_key(&hash) || count == 0 {
            report.contents_damaged += u64::from(!sound.contains_key(&hash));
            draft.drop_content(&hash, &content.place);
            continue;
        }
        totals.assets += count;
        totals.asset_bytes += count * content.bytes;
        totals.contents += 1;
        totals.stored_bytes += content.stored_bytes;
        if content.references != count {
            content.references = count;
            draft.batch.put(key.to_vec(), record::encode(&content));
        }
    }
    index.apply(draft)?;
    Ok(totals)
}

/// What is stored and has no record: left by a crash, or by damage to the index.
#[derive(Default)]
struct Orphans {
    chunks: Vec<u64>,
    files: Vec<NamedFile>,
}

fn delete_orphans(inner: &Inner, report: &mut AssetScrubReport) -> Result<(), StorageError> {
    let mut stored = Orphans { chunks: chunk_ids(&inner.kv)?, files: inner.files.list()? };
    // First beside the writers, so that they wait only when there is something to delete.
    let live = Live::read(&inner.kv, &HashSet::new())?;
    live.leave_orphans(&mut stored);
    if stored.chunks.is_empty() && stored.files.is_empty() {
        return Ok(());
    }
    inner.change(|index| {
        Live::read(&index.kv, &index.in_flight)?.leave_orphans(&mut stored);
        report.orphans_deleted = (stored.chunks.len() + stored.files.len()) as u64;
        stored.chunks.iter().try_for_each(|id| content::delete_chunks(*id, &index.kv.chunks))?;
        stored.files.iter().try_for_each(|(path, _)| content::remove(path))
    })
}

fn chunk_ids(kv: &Kv) -> Result<Vec<u64>, StorageError> {
    let mut ids = Vec::new();
    let mut from = 0_u64;
    while let Some(pair) = kv.chunks.from(&from.to_be_bytes()).next() {
        let Some(id) = keys::chunk_id(&pair?.0) else { break };
        ids.push(id);
        let Some(next) = id.checked_add(1) else { break };
        from = next;
    }
    Ok(ids)
}

/// What must stay.
#[derive(Default)]
struct Live {
    chunks: HashSet<u64>,
    files: HashSet<(Hash, u64)>,
    in_flight: HashSet<u64>,
}

impl Live {
    fn read(kv: &Kv, in_flight: &HashSet<u64>) -> Result<Self, StorageError> {
        let mut live = Self { in_flight: in_flight.clone(), ..Self::default() };
        for pair in kv.state.prefix(&[keys::CONTENTS]) {
            let (key, value) = pair?;
            if let (Some(hash), Ok(content)) = (keys::hash_of(&key), record::decode::<StoredContent>(&value))
            {
                live.chunks.extend(content.place.id());
                live.files.extend(content.place.id().map(|id| (hash, id)));
            }
        }
        // What is marked is deleted by whoever marked it.
        for pair in kv.state.prefix(&[keys::GARBAGE]) {
            let (key, value) = pair?;
            live.chunks.extend(keys::garbage_id(&key));
            if let Ok(Garbage { id, file: Some(hash) }) = record::decode(&value) {
                live.files.insert((hash, id));
            }
        }
        Ok(live)
    }

    fn leave_orphans(&self, stored: &mut Orphans) {
        stored.chunks.retain(|id| !self.chunks.contains(id));
        stored.files.retain(|(_, name)| {
            name.is_none_or(|(hash, id)| !self.files.contains(&(hash, id)) && !self.in_flight.contains(&id))
        });
    }
}
