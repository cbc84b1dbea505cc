//! Cases as repositories of a folder Hub.
//!
//! Arguments that the library was called with become the config of a card: that is how a dataset says the same to a
//! viewer, which calls without arguments (dataset-loading.md section 3.2).

use std::path::Path;

use serde_json::{Value, json};

use crate::case::Case;

/// Writes a case to `{hub}/u/{name}`.
pub fn write(hub: &Path, case: &Case) {
    let root = hub.join("u").join(&case.name);
    std::fs::create_dir_all(&root).expect("the case's folder");
    for (path, content) in &case.files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder of the case");
        std::fs::write(path, content).expect("a file of the case");
    }
    if let Some(arguments) = case.arguments.as_object().filter(|arguments| !arguments.is_empty()) {
        let readme = root.join("README.md");
        assert!(!readme.exists(), "{} has a card and arguments", case.name);
        std::fs::write(readme, card(arguments)).expect("the card of the case");
    }
}

/// A card with one config, `default`, of these arguments; JSON is YAML.
fn card(arguments: &serde_json::Map<String, Value>) -> String {
    let mut config = arguments.clone();
    config.insert("config_name".to_owned(), "default".into());
    if let Some(Value::Object(splits)) = config.get("data_files") {
        let split = |(split, path): (&String, &Value)| json!({"split": split, "path": path});
        let files: Value = splits.iter().map(split).collect();
        config.insert("data_files".to_owned(), files);
    }
    format!("---\n{}\n---\n", json!({"configs": [config]}))
}
