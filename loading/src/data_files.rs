//! The shapes that `data_files` may have (dataset-loading.md section 2.5).
//!
//! Owns the way from a YAML value to patterns by split. Any other shape is a `ValueError` or `TypeError`.

use crate::error::LoadError;
use crate::resolve::SplitPatterns;
use crate::yaml::Yaml;

/// The split of patterns that name none.
const DEFAULT_SPLIT: &str = "train";

/// Patterns by split, in the written order.
///
/// # Errors
/// `ValueError` for a wrong shape or a split that comes twice, `TypeError` for a value that is no container.
pub fn sanitize(data_files: &Yaml) -> Result<SplitPatterns, LoadError> {
    match data_files {
        Yaml::Str(pattern) => Ok([(DEFAULT_SPLIT.to_owned(), vec![pattern.to_string()])].into()),
        Yaml::Seq(items) if items.iter().any(|item| matches!(item, Yaml::Map(_))) => by_split(items),
        Yaml::Seq(items) => Ok([(DEFAULT_SPLIT.to_owned(), texts(items)?)].into()),
        Yaml::Map(entries) => {
            entries.iter().map(|(split, paths)| Ok((split.display(), one_or_more(paths)?))).collect()
        }
        other => {
            let message = format!("'{}' object is not iterable", other.type_name());
            Err(LoadError::new("TypeError", message))
        }
    }
}

fn by_split(items: &[Yaml]) -> Result<SplitPatterns, LoadError> {
    let mut patterns = SplitPatterns::new();
    for item in items {
        let (split, path) = split_and_path(item).ok_or_else(|| {
            LoadError::new(
                "ValueError",
                format!(
                    "Invalid format for data_files entry. Each item must be a dictionary with the structure \
                     {{'split': <split_name>, 'path': <path_or_list_of_paths>}}.\nReceived: {}",
                    item.display()
                ),
            )
        })?;
        patterns.insert(split.display(), one_or_more(path)?);
    }
    if patterns.len() < items.len() {
        let splits: Vec<String> = items.iter().filter_map(|item| item.get("split")).map(Yaml::repr).collect();
        let message = format!("Some splits are duplicated in data_files: [{}]", splits.join(", "));
        return Err(LoadError::new("ValueError", message));
    }
    Ok(patterns)
}

/// The members of a mapping with exactly the keys `split` and `path`, the path a text or a list.
#[must_use]
pub fn split_and_path(item: &Yaml) -> Option<(&Yaml, &Yaml)> {
    let is_pair = item.entries().is_some_and(|entries| entries.len() == 2);
    let path = item.get("path").filter(|path| matches!(path, Yaml::Str(_) | Yaml::Seq(_)))?;
    is_pair.then_some((item.get("split")?, path))
}

fn one_or_more(paths: &Yaml) -> Result<Vec<String>, LoadError> {
    match paths {
        Yaml::Seq(items) => texts(items),
        other => texts(std::slice::from_ref(other)),
    }
}

fn texts(items: &[Yaml]) -> Result<Vec<String>, LoadError> {
    let text = |item: &Yaml| {
        item.as_str().map(str::to_owned).ok_or_else(|| {
            let message = format!("'{}' object has no attribute 'decode'", item.type_name());
            LoadError::new("AttributeError", message)
        })
    };
    items.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tables::{object, table};
    use crate::yaml;

    #[test]
    fn shapes_give_the_patterns_of_the_library() {
        for row in table("sanitize_patterns").as_array().unwrap() {
            let value = yaml::load(&row["in"].to_string()).unwrap();
            match sanitize(&value) {
                Ok(patterns) => assert_eq!(object(&patterns), row["out"], "{value:?}"),
                Err(error) => assert_eq!(
                    serde_json::json!([{"class": error.class, "message": error.message}]),
                    row["error"],
                    "{value:?}"
                ),
            }
        }
    }

    #[test]
    fn values_without_items_are_type_errors() {
        assert_eq!(sanitize(&Yaml::Null).unwrap_err().message, "'NoneType' object is not iterable");
        let numbers = yaml::load("[1]").unwrap();
        assert_eq!(sanitize(&numbers).unwrap_err().class, "AttributeError");
    }
}
