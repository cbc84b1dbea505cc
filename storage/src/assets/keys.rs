//! The layout of keys in the index of assets.
//!
//! Owns which prefix holds what. Names are separated by NUL, which none of them holds; the order puts the assets of a
//! dataset, of a split and of one revision of a split next to each other.

use outpost_model::{AssetPath, AssetSplit, ConfigName, DatasetName, Revision, SplitName};

use super::AssetScope;

/// The format version, outside any record so that every version of the code can read it.
pub(super) const FORMAT: &[u8] = b"f";
/// The [`super::records::Meta`] record.
pub(super) const META: &[u8] = b"m";
/// The owner's bookmark.
pub(super) const BOOKMARK: &[u8] = b"b";
/// Prefix of assets.
pub(super) const ASSETS: u8 = b'a';
/// Prefix of contents.
pub(super) const CONTENTS: u8 = b'c';
/// Prefix of stored values that are no longer referred to and not yet deleted.
pub(super) const GARBAGE: u8 = b'g';

fn names(parts: &[&str]) -> Vec<u8> {
    let mut key = vec![ASSETS];
    for part in parts {
        key.extend_from_slice(part.as_bytes());
        key.push(0);
    }
    key
}

/// The common prefix of the assets of a scope.
pub(super) fn scope(scope: &AssetScope) -> Vec<u8> {
    match scope {
        AssetScope::Dataset(dataset) => names(&[dataset.as_str()]),
        AssetScope::Split(dataset, config, split) => {
            names(&[dataset.as_str(), config.as_str(), split.as_str()])
        }
        AssetScope::Rows(split) => rows(split),
    }
}

/// The common prefix of the assets of one split at one revision.
pub(super) fn rows(rows: &AssetSplit) -> Vec<u8> {
    let AssetSplit { dataset, config, split, revision } = rows;
    names(&[dataset.as_str(), config.as_str(), split.as_str(), revision.as_str()])
}

/// The first key behind all assets of these rows.
pub(super) fn behind_rows(split: &AssetSplit) -> Vec<u8> {
    let mut key = rows(split);
    // The closing NUL gives way to the next byte.
    key.pop();
    key.push(1);
    key
}

pub(super) fn asset(path: &AssetPath) -> Vec<u8> {
    let mut key = rows(path.rows());
    key.extend_from_slice(&path.row_idx().to_be_bytes());
    key.extend_from_slice(path.column().as_bytes());
    key.push(0);
    key.extend_from_slice(path.filename().as_bytes());
    key
}

/// The rows that an asset's key belongs to; `None` for a key that holds no valid names.
pub(super) fn rows_of(key: &[u8]) -> Option<AssetSplit> {
    let mut parts = key.strip_prefix(&[ASSETS])?.splitn(5, |byte| *byte == 0);
    let mut next = || std::str::from_utf8(parts.next()?).ok();
    let dataset = DatasetName::new(next()?).ok()?;
    let config = ConfigName::new(next()?).ok()?;
    let split = SplitName::new(next()?).ok()?;
    let revision = Revision::new(next()?).ok()?;
    Some(AssetSplit { dataset, config, split, revision })
}

pub(super) fn content(hash: &[u8; 32]) -> Vec<u8> {
    [&[CONTENTS][..], hash].concat()
}

/// The hash in a content's key.
pub(super) fn hash_of(key: &[u8]) -> Option<[u8; 32]> {
    key.get(1..)?.try_into().ok()
}

pub(super) fn garbage(id: u64) -> Vec<u8> {
    [&[GARBAGE][..], &id.to_be_bytes()].concat()
}

/// A chunk's key in the tree of chunks: value, then index.
pub(super) fn chunk(id: u64, index: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &index.to_be_bytes()].concat()
}

/// The number in a garbage mark's key.
pub(super) fn garbage_id(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// The value that a chunk belongs to.
pub(super) fn chunk_id(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(..8)?.try_into().ok()?))
}
