//! Our answer against the library's, part by part.

use outpost_loading::{LoadContext, LoadError, Repository, RowsError, SplitHead};
use outpost_model::{DatasetName, Revision};
use serde_json::Value;

use crate::values::{is_equal, row_json};

/// Rows that `cases.json` keeps of a split.
const ROWS_KEPT: usize = 30;

/// What differs, one line each; empty when nothing does.
pub fn differences(
    context: &LoadContext,
    dataset: &DatasetName,
    revision: &Revision,
    expected: &Value,
) -> Vec<String> {
    let mut differences = Vec::new();
    match Repository::open(context, dataset, revision) {
        Err(error) => check_error(&mut differences, "opening", &expected["config_names_error"], Some(&error)),
        Ok(repository) if expected.get("config_names_error").is_some() => {
            let names = repository.config_names();
            differences.push(format!("configs {names:?} instead of {}", expected["config_names_error"]));
        }
        Ok(repository) => check_repository(&mut differences, &repository, expected),
    }
    differences
}

fn check_repository(differences: &mut Vec<String>, repository: &Repository, expected: &Value) {
    let names = Value::from(repository.config_names());
    check(differences, "config names", &names, &expected["config_names"]);
    let default = Value::from(repository.default_config());
    check(differences, "default config", &default, &expected["default_config"]);
    for (config, expected) in expected["configs"].as_object().expect("a case has configs") {
        check_config(differences, repository, config, expected);
    }
}

fn check_config(differences: &mut Vec<String>, repository: &Repository, config: &str, expected: &Value) {
    let splits = repository.split_names(config);
    if let Some(error) = expected.get("builder_error") {
        return check_error(differences, config, error, splits.err().as_ref());
    }
    match repository.module_name(config) {
        Ok(module) => check(differences, "module", &module.into(), &expected["module"]),
        Err(error) => differences.push(format!("module: {error}")),
    }
    check_data_files(differences, repository, config, &expected["data_files"]);
    match (splits, expected.get("splits_error")) {
        (Ok(splits), None) => check(differences, "splits", &Value::from(splits), &expected["splits"]),
        (splits, error) => {
            check_error(differences, "splits", error.unwrap_or(&Value::Null), splits.err().as_ref());
        }
    }
    for (split, expected) in expected["per_split"].as_object().expect("a config has splits") {
        check_split(differences, repository, config, split, expected);
    }
}

fn check_data_files(differences: &mut Vec<String>, repository: &Repository, config: &str, expected: &Value) {
    let files = match repository.data_files(config) {
        Ok(files) => files,
        Err(error) => return differences.push(format!("data files: {error}")),
    };
    let rooted = |path: String| Value::from(format!("<ROOT>/{path}"));
    let ours: serde_json::Map<String, Value> =
        files.into_iter().map(|(split, paths)| (split, paths.into_iter().map(rooted).collect())).collect();
    check(differences, "data files", &Value::Object(ours), expected);
}

fn check_split(
    differences: &mut Vec<String>,
    repository: &Repository,
    config: &str,
    split: &str,
    expected: &Value,
) {
    let known = repository.known_features(config).is_ok_and(|features| features.is_some());
    if let Some(expected) = expected.get("features_known_at_open") {
        check(differences, "known at open", &known.into(), expected);
    }
    let head = repository.first_rows(config, split, ROWS_KEPT + 1);
    let error = if known { &expected["rows_error_after"] } else { &expected["plain_iteration_error"] };
    let error = expected.get("features_error").unwrap_or(error);
    match head {
        Err(found) => check_error(differences, split, error, Some(cause(&found))),
        Ok(_) if !error.is_null() => check_error(differences, split, error, None),
        Ok(head) => check_head(differences, &head, known, expected),
    }
}

/// The error of the data, without the link that says that splits could not be listed.
fn cause(error: &RowsError) -> &LoadError {
    let error = error.error();
    if error.class == "SplitsNotFoundError" { error.cause.as_deref().unwrap_or(error) } else { error }
}

fn check_head(differences: &mut Vec<String>, head: &SplitHead, known: bool, expected: &Value) {
    check(differences, "features", &head.features.to_json(), &expected["features"]);
    let plain = expected.get("rows_plain_iteration").filter(|_| !known);
    let rows = plain.unwrap_or(&expected["rows"]).as_array().expect("a split has rows");
    let features = known.then_some(&head.features);
    for (index, expected) in rows.iter().enumerate() {
        let Some(row) = head.rows.get(index) else {
            return differences.push(format!("{} rows instead of {}", head.rows.len(), rows.len()));
        };
        let row = row_json(row, features);
        let names = |row: &Value| row.as_object().map(|row| row.keys().cloned().collect::<Vec<_>>());
        if !is_equal(&row, expected) || names(&row) != names(expected) {
            return differences.push(format!("row {index} is {row}\ninstead of {expected}"));
        }
    }
    let surplus = head.rows.len().min(ROWS_KEPT);
    if surplus > rows.len() {
        differences.push(format!("{surplus} rows or more instead of {}", rows.len()));
    }
}

fn check(differences: &mut Vec<String>, what: &str, ours: &Value, expected: &Value) {
    // The texts tell the order of keys, which equality does not.
    let (ours, expected) = (ours.to_string(), expected.to_string());
    if ours != expected {
        differences.push(format!("{what}: {ours}\ninstead of {expected}"));
    }
}

/// Compares two chains link by link, as far as the expected one goes: classes, and messages that do not name a folder.
fn check_error(differences: &mut Vec<String>, what: &str, expected: &Value, found: Option<&LoadError>) {
    let links = expected.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = found else {
        return differences.push(format!("{what}: no error instead of {expected}"));
    };
    let mut chain = found.chain();
    let is_equal = !links.is_empty()
        && links.iter().all(|link| chain.next().is_some_and(|found| is_link_equal(found, link)));
    if !is_equal {
        differences.push(format!("{what}: {found}\ninstead of {expected}"));
    }
}

fn is_link_equal(found: &LoadError, expected: &Value) -> bool {
    let message = expected["message"].as_str().unwrap_or_default();
    // Where the library worked on a folder we work on a Hub, and pandas' schema metadata is not kept.
    let is_comparable = !message.contains("<ROOT>") && !message.contains("-- schema metadata --");
    expected["class"] == *found.class && (!is_comparable || without_revision(&found.message) == message)
}

/// A message that names the dataset's folder on the Hub, `name@revision`, as it names that of the library.
fn without_revision(message: &str) -> String {
    let is_revision = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match message.rsplit_once('@') {
        Some((name, revision)) if is_revision(revision) => name.to_owned(),
        _ => message.to_owned(),
    }
}
