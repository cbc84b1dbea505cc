//! The names of objects in a shared store.
//!
//! Owns the layout, whose version every name starts with: `v1/content/<2 hex>/<hash of the stored bytes>`, and
//! `v1/rows/<dataset>/<config>/<split>/<revision>/<generation>-<time>-<assets>-<random>` for manifests. Names of datasets
//! are escaped to letters that every file system and bucket takes; one that gets too long is hashed and is then to be
//! read in its manifest.

use object_store::path::Path;
use outpost_model::{AssetSplit, ConfigName, DatasetName, Revision, SplitName};

use super::super::AssetScope;

const VERSION: &str = "v1";
/// Longest escaped name; file systems take 255 bytes.
const SEGMENT_BYTES_MAX: usize = 200;
/// Starts the hash of a name that is too long; escaped names hold no plus.
const HASHED: char = '+';

/// The object that is written when a store opens. Every opening has its own.
pub(super) fn probe() -> Path {
    Path::from_iter([VERSION, "probe", &format!("{:016x}", random())])
}

/// All contents.
pub(super) fn contents() -> Path {
    Path::from_iter([VERSION, "content"])
}

/// The content with these stored bytes.
pub(super) fn content(stored_hash: &[u8; 32]) -> Path {
    let hash = blake3::Hash::from_bytes(*stored_hash).to_hex();
    Path::from_iter([VERSION, "content", &hash[..2], &hash])
}

/// The hash in a content's name.
pub(super) fn content_hash(path: &Path) -> Option<[u8; 32]> {
    let hash = *blake3::Hash::from_hex(path.filename()?).ok()?.as_bytes();
    (content(&hash) == *path).then_some(hash)
}

/// What the manifests of a scope have in common; `None` for those of all.
pub(super) fn scope(scope: Option<&AssetScope>) -> Path {
    match scope {
        None => folder(&[]),
        Some(AssetScope::Dataset(dataset)) => folder(&[dataset.as_str()]),
        Some(AssetScope::Split(dataset, config, split)) => {
            folder(&[dataset.as_str(), config.as_str(), split.as_str()])
        }
        Some(AssetScope::Rows(split)) => rows(split),
    }
}

/// The folder of the manifests of these rows.
pub(super) fn rows(rows: &AssetSplit) -> Path {
    let AssetSplit { dataset, config, split, revision } = rows;
    folder(&[dataset.as_str(), config.as_str(), split.as_str(), revision.as_str()])
}

/// A name behind those of all manifests in a folder, and before those of the next.
pub(super) fn behind(folder: &Path) -> Path {
    folder.clone().join("z")
}

/// The rows that a folder is for; `None` when a name is hashed or no name.
pub(super) fn rows_of(folder: &Path) -> Option<AssetSplit> {
    let parts: Vec<String> =
        folder.parts().skip(2).map(|part| unescape(part.as_ref())).collect::<Option<_>>()?;
    let [dataset, config, split, revision] = parts.as_slice() else { return None };
    Some(AssetSplit {
        dataset: DatasetName::new(dataset).ok()?,
        config: ConfigName::new(config).ok()?,
        split: SplitName::new(split).ok()?,
        revision: Revision::new(revision).ok()?,
    })
}

/// Whether a folder is of this revision.
pub(super) fn is_of_revision(folder: &Path, revision: &Revision) -> bool {
    folder.filename() == Some(escape(revision.as_str()).as_str())
}

fn folder(names: &[&str]) -> Path {
    let fixed = [VERSION.to_owned(), "rows".to_owned()];
    Path::from_iter(fixed.into_iter().chain(names.iter().map(|name| escape(name))))
}

/// The name of a manifest. The greatest of a folder counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManifestName {
    /// One more than that of the manifest which it replaces.
    pub(super) generation: u64,
    /// When it was put, by the clock of who did.
    pub(super) put_at_ms: u64,
    /// Its assets.
    pub(super) assets: u64,
    /// Tells two of one generation apart.
    pub(super) random: u64,
}

impl ManifestName {
    pub(super) fn new(generation: u64, put_at_ms: u64, assets: u64) -> Self {
        Self { generation, put_at_ms, assets, random: random() }
    }

    pub(super) fn path(&self, folder: &Path) -> Path {
        let Self { generation, put_at_ms, assets, random } = self;
        folder.clone().join(format!("{generation:016x}-{put_at_ms:016x}-{assets:016x}-{random:016x}"))
    }

    /// The folder and the name of a manifest; `None` for an object that is none.
    pub(super) fn of(path: &Path) -> Option<(Path, Self)> {
        let name = path.filename()?;
        let folder = Path::parse(path.as_ref().strip_suffix(name)?).ok()?;
        let mut numbers = name.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let mut next = || numbers.next().flatten();
        let (generation, put_at_ms, assets, random) = (next()?, next()?, next()?, next()?);
        let this = Self { generation, put_at_ms, assets, random };
        (folder.parts().count() == 6 && this.path(&folder) == *path).then_some((folder, this))
    }
}

fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && index > 0);
        if is_plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("={byte:02X}"));
        }
    }
    if escaped.len() > SEGMENT_BYTES_MAX {
        return format!("{HASHED}{}", blake3::hash(name.as_bytes()).to_hex());
    }
    escaped
}

fn unescape(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'=' {
            let digits = tail.get(..2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|name| escape(name) == segment)
}

/// Random bits of the standard library's own seed: names must differ, not be hard to guess.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(config: &str) -> AssetSplit {
        AssetSplit {
            dataset: DatasetName::new("u/d.x").unwrap(),
            config: ConfigName::new(config).unwrap(),
            split: SplitName::new("train").unwrap(),
            revision: Revision::new("abc").unwrap(),
        }
    }

    #[test]
    fn names_round_trip_through_folders() {
        for config in ["default", ".x", "a b", "é=2F", "A+~%#1", "-"] {
            let split = split(config);
            assert_eq!(rows_of(&rows(&split)), Some(split), "{config}");
        }
        assert_eq!(rows(&split("a b")).as_ref(), "v1/rows/u=2Fd.x/a=20b/train/abc");
    }

    #[test]
    fn a_long_name_is_hashed_and_not_read_back() {
        let [one, other] = ["é".repeat(100), "è".repeat(100)].map(|config| rows(&split(&config)));
        assert_ne!(one, other);
        assert!(one.as_ref().len() < 300);
        assert_eq!(rows_of(&one), None);
    }

    #[test]
    fn manifests_are_ordered_by_generation_and_lie_before_the_next_folder() {
        let folder = rows(&split("default"));
        let [old, new] = [ManifestName::new(9, 5, 1), ManifestName::new(16, 4, 1)];
        assert!(old < new && old.path(&folder) < new.path(&folder) && new.path(&folder) < behind(&folder));
        assert_eq!(ManifestName::of(&new.path(&folder)), Some((folder.clone(), new)));
        assert_eq!(ManifestName::of(&folder.clone().join("x")), None);
        assert_eq!(ManifestName::of(&new.path(&contents())), None);
    }

    #[test]
    fn contents_are_named_by_their_hash() {
        let path = content(&[0xab; 32]);
        assert_eq!(content_hash(&path), Some([0xab; 32]));
        assert_eq!(content_hash(&contents().join("cd").join("ab".repeat(32))), None);
    }
}
