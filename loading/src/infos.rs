//! What the card's `dataset_info` and `dataset_infos.json` say about configs (dataset-loading.md section 3.4).
//!
//! Owns the two forms of an info and their precedence. Anything malformed in any info fails the whole listing, as it
//! does in `datasets`.

use indexmap::{IndexMap, IndexSet};
use outpost_formats::Features;

use crate::card::decode;
use crate::error::LoadError;
use crate::features;
use crate::yaml::{Yaml, load_json};

/// Keys that an entry of `splits` may have.
const SPLIT_KEYS: &[&str] =
    &["name", "num_bytes", "num_examples", "shard_lengths", "original_shard_lengths", "dataset_name"];

/// What is declared about a config.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigInfo {
    /// Declared features; an empty list of them is declared too.
    pub features: Option<Features>,
    /// Declared split names, in order.
    pub splits: Option<Vec<String>>,
}

/// Infos by config name.
pub type Infos = IndexMap<String, ConfigInfo>;

/// The infos of a card.
///
/// # Errors
/// The library's classes for malformed features, splits or versions.
pub fn read_card(card: &Yaml) -> Result<Infos, LoadError> {
    let items = match card.get("dataset_info") {
        Some(Yaml::Seq(items)) => items.as_slice(),
        Some(single @ Yaml::Map(_)) => std::slice::from_ref(single),
        _ => &[],
    };
    let mut infos = Infos::new();
    for item in items {
        if !matches!(item, Yaml::Map(_)) {
            let message = format!("'{}' object has no attribute 'get'", item.type_name());
            return Err(LoadError::new("AttributeError", message));
        }
        let name = item.get("config_name").map_or_else(|| "default".to_owned(), Yaml::display);
        infos.insert(name, read_info(item, features::from_yaml)?);
    }
    Ok(infos)
}

/// The infos of `dataset_infos.json`; a single one belongs to `default`.
///
/// # Errors
/// `JSONDecodeError` and the classes of malformed infos.
pub fn read_legacy(bytes: &[u8]) -> Result<Infos, LoadError> {
    let file = load_json(decode(bytes)?)?;
    let Some(entries) = file.entries() else {
        let message = format!("'{}' object has no attribute 'items'", file.type_name());
        return Err(LoadError::new("AttributeError", message));
    };
    let infos: Result<Infos, LoadError> = entries
        .iter()
        .map(|(name, info)| {
            let name = if entries.len() == 1 { "default".to_owned() } else { name.display() };
            Ok((name, read_info(info, features::from_json)?))
        })
        .collect();
    infos
}

type ReadFeatures = fn(&Yaml) -> Result<Features, LoadError>;

fn read_info(info: &Yaml, read_features: ReadFeatures) -> Result<ConfigInfo, LoadError> {
    let declared = |key: &str| info.get(key).filter(|value| **value != Yaml::Null);
    if let Some(version) = declared("version") {
        check_version(version)?;
    }
    Ok(ConfigInfo {
        features: declared("features").map(read_features).transpose()?,
        splits: declared("splits").map(read_splits).transpose()?,
    })
}

fn check_version(version: &Yaml) -> Result<(), LoadError> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    match version {
        Yaml::Map(_) => Ok(()),
        Yaml::Str(text) if text.split('.').count() == 3 && text.split('.').all(is_number) => Ok(()),
        Yaml::Str(text) => {
            let message =
                format!("Invalid version '{text}'. Format should be x.y.z with {{x,y,z}} being digits.");
            Err(LoadError::new("ValueError", message))
        }
        other => {
            let message = format!("'{}' object has no attribute 'items'", other.type_name());
            Err(LoadError::new("AttributeError", message))
        }
    }
}

/// Split names from a list of split infos, or from a mapping to them.
fn read_splits(splits: &Yaml) -> Result<Vec<String>, LoadError> {
    let items: Vec<&Yaml> = match splits {
        Yaml::Seq(items) => items.iter().collect(),
        Yaml::Map(entries) => entries.iter().map(|(_, item)| item).collect(),
        other => {
            let message = format!("'{}' object is not iterable", other.type_name());
            return Err(LoadError::new("TypeError", message));
        }
    };
    let mut names = IndexSet::with_capacity(items.len());
    for item in items {
        let (place, is_new) = names.insert_full(split_name(item)?);
        if !is_new {
            return Err(LoadError::new("ValueError", format!("Split {} already present", names[place])));
        }
    }
    Ok(names.into_iter().collect())
}

fn split_name(item: &Yaml) -> Result<String, LoadError> {
    let Some(entries) = item.entries() else {
        let message = format!("'{}' object has no attribute 'get'", item.type_name());
        return Err(LoadError::new("AttributeError", message));
    };
    let unknown = entries.iter().find(|(key, _)| !key.as_str().is_some_and(|key| SPLIT_KEYS.contains(&key)));
    if let Some((key, _)) = unknown {
        let message = format!("SplitInfo.__init__() got an unexpected keyword argument {}", key.repr());
        return Err(LoadError::new("TypeError", message));
    }
    Ok(item.get("name").map_or_else(String::new, Yaml::display))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn infos(text: &str) -> Result<Infos, LoadError> {
        read_card(&yaml::load(text).unwrap())
    }

    #[test]
    fn a_mapping_is_the_info_of_the_default_config() {
        let found = infos("dataset_info: {splits: [{name: train}, {name: b}], foo: 1}").unwrap();
        assert_eq!(found["default"].splits.as_deref().unwrap(), ["train", "b"]);
        assert_eq!(found["default"].features, None);
        assert!(infos("dataset_info: hello").unwrap().is_empty());
    }

    #[test]
    fn a_list_names_its_configs() {
        let found = infos("dataset_info: [{config_name: a, splits: []}, {config_name: b}]").unwrap();
        assert_eq!(found["a"].splits.as_deref().unwrap(), [""; 0]);
        assert_eq!(found["b"], ConfigInfo::default());
    }

    #[test]
    fn malformed_infos_fail_the_listing() {
        for (text, class) in [
            ("dataset_info: {splits: [{name: a, x: 1}]}", "TypeError"),
            ("dataset_info: {splits: [{name: a}, {name: a}]}", "ValueError"),
            ("dataset_info: {splits: 3}", "TypeError"),
            ("dataset_info: [a]", "AttributeError"),
            ("dataset_info: {version: '1.0'}", "ValueError"),
            ("dataset_info: {version: 1.0}", "AttributeError"),
        ] {
            assert_eq!(infos(text).unwrap_err().class, class, "{text}");
        }
        assert!(infos("dataset_info: {version: 1.0.0}").is_ok());
    }

    #[test]
    fn a_single_legacy_info_belongs_to_the_default_config() {
        let one = br#"{"user--name": {"splits": {"train": {"name": "train", "num_bytes": 1}}}}"#;
        assert_eq!(read_legacy(one).unwrap()["default"].splits.as_deref().unwrap(), ["train"]);
        let two = br#"{"a": {}, "b": {"splits": null}}"#;
        assert_eq!(read_legacy(two).unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read_legacy(b"{").unwrap_err().class, "JSONDecodeError");
        assert_eq!(read_legacy(b"[]").unwrap_err().class, "AttributeError");
    }
}
