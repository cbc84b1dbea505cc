//! The card's `configs` (dataset-loading.md sections 3.2 and 3.3).
//!
//! Owns what a config entry may say, which one is the default and the classes and messages of refusals.

use indexmap::IndexMap;
use outpost_formats::{Features, Params};

use crate::data_files::split_and_path;
use crate::error::LoadError;
use crate::features;
use crate::yaml::Yaml;
use outpost_formats::features::repr::quoted;

/// Characters that a config name cannot have.
const FORBIDDEN_IN_NAMES: &str = "<>:/\\|?*";

/// A config as the card declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct CardConfig {
    /// Its name as written; [`check_name`] tells whether it can be one.
    pub name: Yaml,
    /// `data_files`; `None` when the key is absent, [`Yaml::Null`] when it is empty.
    pub data_files: Option<Yaml>,
    /// `data_dir`, when not empty.
    pub data_dir: Option<Yaml>,
    /// Whether it calls itself the default.
    pub is_default: bool,
    /// `features`.
    pub features: Option<Features>,
    /// All other keys; the module picks those that it knows.
    pub params: Params,
}

/// The configs of a card, in order; of two with one name the later one, at the place of the first.
///
/// # Errors
/// `ValueError` or `TypeError` when an entry is malformed.
pub fn read(card: &Yaml) -> Result<Vec<CardConfig>, LoadError> {
    let Some(declared) = card.get("configs").filter(|declared| declared.is_truthy()) else {
        return Ok(Vec::new());
    };
    let Yaml::Seq(items) = declared else {
        let message = format!("Expected configs to be a list, but got '{}'", declared.display());
        return Err(LoadError::new("ValueError", message));
    };
    for item in items {
        check_has_name(item)?;
        check_data_files(item.get("data_files").unwrap_or(&Yaml::Null))?;
    }
    let mut configs: IndexMap<String, CardConfig> = IndexMap::new();
    for item in items {
        let config = read_config(item)?;
        configs.insert(config.name.repr(), config);
    }
    Ok(configs.into_values().collect())
}

fn read_config(item: &Yaml) -> Result<CardConfig, LoadError> {
    let mut config = CardConfig {
        name: Yaml::Null,
        data_files: None,
        data_dir: None,
        is_default: false,
        features: None,
        params: Params::new(),
    };
    for (key, value) in item.entries().unwrap_or_default() {
        match key.as_str() {
            Some("config_name") if matches!(value, Yaml::Seq(_) | Yaml::Map(_)) => {
                let message = format!("unhashable type: '{}'", value.type_name());
                return Err(LoadError::new("TypeError", message));
            }
            Some("config_name") => config.name = value.clone(),
            Some("data_files") => config.data_files = Some(value.clone()),
            Some("data_dir") => config.data_dir = value.is_truthy().then(|| value.clone()),
            Some("default") => config.is_default = value.is_truthy(),
            Some("features") => config.features = Some(features::from_yaml(value)?),
            _ => {
                config.params.insert(key.display(), value.to_json());
            }
        }
    }
    Ok(config)
}

fn check_has_name(item: &Yaml) -> Result<(), LoadError> {
    match item {
        Yaml::Map(_) if item.get("config_name").is_some() => Ok(()),
        Yaml::Map(_) | Yaml::Str(_) | Yaml::Seq(_) => {
            let message = format!(
                "Each config must include `config_name` field with a string name of a config, but got {}. ",
                item.display()
            );
            Err(LoadError::new("ValueError", message))
        }
        other => Err(not_iterable(other)),
    }
}

fn not_iterable(value: &Yaml) -> LoadError {
    LoadError::new("TypeError", format!("argument of type '{}' is not iterable", value.type_name()))
}

/// Checks that `data_files` is a text, or a list of texts and of mappings with `split` and `path`.
fn check_data_files(data_files: &Yaml) -> Result<(), LoadError> {
    let items = match data_files {
        Yaml::Null | Yaml::Str(_) => return Ok(()),
        Yaml::Seq(items) => items,
        other => return Err(wrong_data_files(other)),
    };
    for item in items {
        match item {
            Yaml::Str(_) => {}
            Yaml::Map(entries) => {
                let split = item.get("split").filter(|_| entries.len() == 2);
                if let Some(split) = split
                    && split.as_str().is_none()
                {
                    let message =
                        format!("expected string or bytes-like object, got '{}'", split.type_name());
                    return Err(LoadError::new("TypeError", message));
                }
                let is_valid = split.and_then(Yaml::as_str).is_some_and(is_split_name);
                if !is_valid || split_and_path(item).is_none() {
                    return Err(wrong_data_files(data_files));
                }
            }
            _ => return Err(wrong_data_files(data_files)),
        }
    }
    Ok(())
}

/// Whether a text matches `^\w+(\.\w+)*$`.
fn is_split_name(name: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    name.split('.').all(is_word)
}

fn wrong_data_files(data_files: &Yaml) -> LoadError {
    let message = format!(
        "\nExpected data_files in YAML to be either a string or a list of strings\nor a list of dicts with two keys: \
         'split' and 'path', but got {}\nExamples of data_files in YAML:\n\n   data_files: data.csv\n\n   data_files: \
         data/*.png\n\n   data_files:\n    - part0/*\n    - part1/*\n\n   data_files:\n    - split: train\n      path: \
         train/*\n    - split: test\n      path: test/*\n\n   data_files:\n    - split: train\n      path:\n      - \
         train/part1/*\n      - train/part2/*\n    - split: test\n      path: test/*\n\nPS: some symbols like dashes \
         '-' are not allowed in split names\n",
        data_files.display()
    );
    LoadError::new("ValueError", message)
}

/// The config that is taken when none is named.
///
/// # Errors
/// `ValueError` when several claim to be it.
pub fn default_name(configs: &[CardConfig]) -> Result<Option<String>, LoadError> {
    let is_default = |config: &&CardConfig| {
        configs.len() == 1 || config.name.as_str() == Some("default") || config.is_default
    };
    let mut defaults = configs.iter().filter(is_default).map(|config| config.name.display());
    let first = defaults.next();
    if let (Some(first), Some(second)) = (&first, defaults.next()) {
        let message = format!("Dataset has several default configs: '{first}' and '{second}'.");
        return Err(LoadError::new("ValueError", message));
    }
    Ok(first)
}

/// The name of a config, when it can be one.
///
/// # Errors
/// `TypeError` when it is not text, `InvalidConfigName` when it has a character that file names cannot have.
pub fn check_name(name: &Yaml) -> Result<&str, LoadError> {
    let text = name.as_str().ok_or_else(|| not_iterable(name))?;
    if text.contains(|c| FORBIDDEN_IN_NAMES.contains(c)) {
        let message = format!(
            "Bad characters from black list '{FORBIDDEN_IN_NAMES}' found in {}. They could create issues when creating \
             a directory for this config on Windows filesystem.",
            quoted(text)
        );
        return Err(LoadError::new("InvalidConfigName", message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn configs(text: &str) -> Result<Vec<CardConfig>, LoadError> {
        read(&yaml::load(text).unwrap())
    }

    fn refusal(text: &str) -> (String, String) {
        let error = configs(text).unwrap_err();
        (error.class.into_owned(), error.message)
    }

    #[test]
    fn falsy_configs_are_none() {
        for text in ["configs:", "configs: []", "configs: ''", "a: 1"] {
            assert_eq!(configs(text).unwrap(), [], "{text}");
        }
    }

    #[test]
    fn malformed_entries_are_refused_in_the_librarys_words() {
        for (text, class, message) in [
            ("configs: a", "ValueError", "Expected configs to be a list, but got 'a'"),
            (
                "configs: [{data_files: a}]",
                "ValueError",
                "Each config must include `config_name` field with a string name of a config, but got {'data_files': \
                 'a'}. ",
            ),
            ("configs: [1]", "TypeError", "argument of type 'int' is not iterable"),
            ("configs: [{config_name: [a]}]", "TypeError", "unhashable type: 'list'"),
            (
                "configs: [{config_name: a, data_files: [{split: 1, path: a}]}]",
                "TypeError",
                "expected string or bytes-like object, got 'int'",
            ),
        ] {
            assert_eq!(refusal(text), (class.to_owned(), message.to_owned()), "{text}");
        }
    }

    #[test]
    fn data_files_have_few_shapes() {
        for shape in
            ["{train: a}", "1", "[1]", "[{split: a-b, path: x}]", "[{split: a}]", "[{split: a, path: 1}]"]
        {
            let (class, message) = refusal(&format!("configs: [{{config_name: a, data_files: {shape}}}]"));
            assert_eq!(class, "ValueError", "{shape}");
            assert!(message.starts_with("\nExpected data_files in YAML"), "{shape}");
        }
        for shape in ["a", "[a, b]", "[]", "", "[{split: a.b, path: [x]}]", "[a, {split: t, path: x}]"] {
            assert!(
                configs(&format!("configs: [{{config_name: a, data_files: {shape}}}]")).is_ok(),
                "{shape}"
            );
        }
    }

    #[test]
    fn of_two_configs_with_one_name_the_later_one_counts() {
        let found =
            configs("configs: [{config_name: a, x: 1}, {config_name: b}, {config_name: a, x: 2}]").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].params["x"], 2);
    }

    #[test]
    fn the_default_is_alone_or_named_or_marked() {
        let default = |text: &str| default_name(&configs(text).unwrap());
        assert_eq!(default("configs: [{config_name: a}]").unwrap().as_deref(), Some("a"));
        assert_eq!(default("configs: [{config_name: a}, {config_name: b}]").unwrap(), None);
        let marked = "configs: [{config_name: a}, {config_name: b, default: yes}]";
        assert_eq!(default(marked).unwrap().as_deref(), Some("b"));
        let two = "configs: [{config_name: default}, {config_name: b, default: yes}]";
        assert_eq!(
            default(two).unwrap_err().message,
            "Dataset has several default configs: 'default' and 'b'."
        );
    }

    #[test]
    fn names_are_text_without_path_characters() {
        assert_eq!(check_name(&Yaml::Str("é x.y".into())).unwrap(), "é x.y");
        assert_eq!(check_name(&Yaml::Str("a/b".into())).unwrap_err().class, "InvalidConfigName");
        assert_eq!(
            check_name(&Yaml::Bool(true)).unwrap_err().message,
            "argument of type 'bool' is not iterable"
        );
    }
}
