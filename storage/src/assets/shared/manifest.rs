//! Manifests: the assets of one split at one revision, in one object.
//!
//! Owns their form (framed records of bounded size, one behind the other) and their life: a commit writes the next
//! generation and deletes what it replaces, and the greatest generation counts, so that a reader always sees the whole
//! of one job's assets. Refuses what is not exactly what was written.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use bytes::Bytes;
use object_store::path::Path;
use outpost_model::{AssetPath, AssetSplit, ConfigName, DatasetName, Revision, SplitName, limits};

use super::layout::{self, ManifestName};
use super::objects::Objects;
use crate::error::StorageError;
use crate::record::{self, Record};

/// What an asset adds to a manifest in memory, its names apart.
const ENTRY_BYTES: usize = 256;
/// Times that a reader looks again when the manifest is replaced under it.
const READ_TRIES_MAX: usize = 100;

/// Where an asset is within its rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) struct AssetKey {
    row_idx: u64,
    column: String,
    filename: String,
}

impl AssetKey {
    pub(super) fn of(path: &AssetPath) -> Self {
        let (row_idx, column, filename) =
            (path.row_idx(), path.column().to_owned(), path.filename().to_owned());
        Self { row_idx, column, filename }
    }
}

/// An asset: what it is and which content it has.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct SharedAsset {
    pub(super) content_type: String,
    pub(super) bytes: u64,
    pub(super) hash: [u8; 32],
    pub(super) stored_bytes: u64,
    /// Whether the stored bytes are a zstd frame.
    pub(super) compressed: bool,
    /// BLAKE3 of the stored bytes, the name of the content.
    pub(super) stored_hash: [u8; 32],
}

/// One record of a manifest.
#[derive(Debug, Encode, Decode)]
struct Part {
    /// Dataset, config, split and revision.
    rows: [String; 4],
    /// Parts that the manifest has.
    parts: u32,
    assets: Vec<(AssetKey, SharedAsset)>,
}

impl Record for Part {
    const TAG: u8 = b'M';
    const VERSION: u8 = 1;
}

/// The assets of some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) rows: AssetSplit,
    pub(super) assets: BTreeMap<AssetKey, SharedAsset>,
}

impl Manifest {
    /// Roughly the memory that it takes.
    pub(super) fn weight(&self) -> usize {
        ENTRY_BYTES + self.assets.iter().map(|(key, asset)| cost(key, asset)).sum::<usize>()
    }

    fn encode(&self) -> Result<Bytes, StorageError> {
        let mut groups: Vec<Vec<(AssetKey, SharedAsset)>> = vec![Vec::new()];
        let mut group_bytes = 0;
        for (key, asset) in &self.assets {
            group_bytes += cost(key, asset);
            if group_bytes > limits::ASSET_MANIFEST_PART_BYTES_MAX {
                groups.push(Vec::new());
                group_bytes = cost(key, asset);
            }
            groups.last_mut().expect("there is a group from the start").push((key.clone(), asset.clone()));
        }
        let AssetSplit { dataset, config, split, revision } = &self.rows;
        let rows = [dataset.as_str(), config.as_str(), split.as_str(), revision.as_str()].map(str::to_owned);
        let parts = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        for assets in groups {
            bytes.extend(record::encode(&Part { rows: rows.clone(), parts, assets }));
        }
        if bytes.len() as u64 > limits::ASSET_MANIFEST_BYTES_MAX {
            let (count, max) = (self.assets.len(), limits::ASSET_MANIFEST_BYTES_MAX);
            return Err(StorageError::Engine(format!(
                "the index of {count} assets of one split is larger than {max} bytes"
            )));
        }
        Ok(bytes.into())
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, StorageError> {
        let damaged = |why: &str| StorageError::Damaged(format!("manifest of assets: {why}"));
        let (mut parts_read, mut manifest) = (0_u32, None);
        let mut parts_expected = 1;
        while !bytes.is_empty() {
            let (first, rest) = record::split_first(bytes).ok_or_else(|| damaged("it ends early"))?;
            let part: Part = record::decode(first)?;
            let rows = parse_rows(&part.rows).ok_or_else(|| damaged("its names are not valid"))?;
            let whole = manifest.get_or_insert_with(|| Self { rows: rows.clone(), assets: BTreeMap::new() });
            if whole.rows != rows {
                return Err(damaged("its parts are of different rows"));
            }
            whole.assets.extend(part.assets);
            (parts_read, parts_expected, bytes) = (parts_read + 1, part.parts, rest);
        }
        manifest.filter(|_| parts_read == parts_expected).ok_or_else(|| damaged("parts are missing"))
    }
}

fn cost(key: &AssetKey, asset: &SharedAsset) -> usize {
    ENTRY_BYTES + key.column.len() + key.filename.len() + asset.content_type.len()
}

fn parse_rows([dataset, config, split, revision]: &[String; 4]) -> Option<AssetSplit> {
    Some(AssetSplit {
        dataset: DatasetName::new(dataset).ok()?,
        config: ConfigName::new(config).ok()?,
        split: SplitName::new(split).ok()?,
        revision: Revision::new(revision).ok()?,
    })
}

/// The names of the manifests in a folder, the one that counts last.
pub(super) fn names(objects: &Objects, folder: &Path) -> Result<Vec<ManifestName>, StorageError> {
    let mut names = Vec::new();
    for meta in objects.list(folder, None) {
        names.extend(ManifestName::of(&meta?.location).filter(|(of, _)| of == folder).map(|(_, name)| name));
    }
    names.sort();
    Ok(names)
}

/// Reads a manifest by name; `None` when it was deleted.
pub(super) fn read(
    objects: &Objects,
    folder: &Path,
    name: &ManifestName,
) -> Result<Option<Manifest>, StorageError> {
    let Some(bytes) = objects.get(&name.path(folder), limits::ASSET_MANIFEST_BYTES_MAX)? else {
        return Ok(None);
    };
    let manifest = Manifest::decode(&bytes)?;
    if layout::rows(&manifest.rows) != *folder {
        return Err(StorageError::Damaged(format!("manifest of assets: {folder} holds that of other rows")));
    }
    Ok(Some(manifest))
}

/// Reads the manifest that counts.
pub(super) fn read_newest(
    objects: &Objects,
    folder: &Path,
) -> Result<Option<(ManifestName, Manifest)>, StorageError> {
    for _ in 0..READ_TRIES_MAX {
        let Some(name) = names(objects, folder)?.pop() else { return Ok(None) };
        if let Some(manifest) = read(objects, folder, &name)? {
            return Ok(Some((name, manifest)));
        }
    }
    Err(StorageError::Engine(format!("{folder} is replaced faster than it can be read")))
}

/// Makes `manifest` the one that counts, in place of those that are there.
pub(super) fn publish(objects: &Objects, manifest: &Manifest, put_at_ms: u64) -> Result<(), StorageError> {
    let folder = layout::rows(&manifest.rows);
    let replaced = names(objects, &folder)?;
    let superseded = replaced.iter().map(|name| name.path(&folder)).collect();
    if manifest.assets.is_empty() {
        return objects.delete(superseded);
    }
    let generation = replaced.last().map_or(1, |last| last.generation.saturating_add(1));
    let name = ManifestName::new(generation, put_at_ms, manifest.assets.len() as u64);
    objects.put(&name.path(&folder), manifest.encode()?)?;
    if let Err(error) = objects.delete(superseded) {
        tracing::warn!(%error, "failed to delete a manifest of assets that was replaced; a scrub will");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(assets: u64) -> Manifest {
        let rows = ["u/d", "default", "train", "abc"].map(str::to_owned);
        let entry = |row_idx: u64| {
            let key = AssetKey { row_idx, column: "c".repeat(400), filename: "image.jpg".to_owned() };
            let asset = SharedAsset {
                content_type: "image/jpeg".to_owned(),
                bytes: row_idx,
                hash: [1; 32],
                stored_bytes: row_idx,
                compressed: false,
                stored_hash: [1; 32],
            };
            (key, asset)
        };
        Manifest { rows: parse_rows(&rows).unwrap(), assets: (0..assets).map(entry).collect() }
    }

    #[test]
    fn a_manifest_round_trips_also_in_many_parts() {
        for assets in [0, 1, 20_000] {
            let manifest = manifest(assets);
            assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest), "{assets}");
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_damage() {
        let bytes = manifest(3).encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "length {length}");
        }
        for index in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[index] ^= 0x10;
            assert!(Manifest::decode(&flipped).is_err(), "byte {index}");
        }
    }

    #[test]
    fn a_missing_part_is_damage() {
        let bytes = manifest(20_000).encode().unwrap();
        let (first, rest) = record::split_first(&bytes).unwrap();
        assert!(!rest.is_empty());
        assert!(Manifest::decode(first).is_err());
        assert!(Manifest::decode(rest).is_err());
    }
}
