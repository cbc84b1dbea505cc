//! The cases of `cases.json`.

use base64::Engine;
use serde_json::Value;

/// A dataset repository and what the library says about it.
pub struct Case {
    /// Its name, also of its folder.
    pub name: String,
    /// Path and content of its files.
    pub files: Vec<(String, Vec<u8>)>,
    /// Arguments that the library was called with; a card's config says the same.
    pub arguments: Value,
    /// The library's answer, in the environment that is closest to the public viewer's.
    pub expected: Value,
}

impl Case {
    /// The family: the first word of the name, `dataset_info` being one word.
    pub fn family(&self) -> &str {
        if self.name.starts_with("dataset_info") {
            return "dataset_info";
        }
        self.name.split('_').next().unwrap_or(&self.name)
    }
}

/// Reads all cases.
pub fn read_all() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/cases.json");
    let text = std::fs::read_to_string(path).expect("cases.json is part of the tree");
    let mut file: Value = serde_json::from_str(&text).expect("cases.json is JSON");
    let Value::Array(cases) = file["cases"].take() else { panic!("cases.json has no cases") };
    cases.into_iter().map(read_case).collect()
}

fn read_case(mut case: Value) -> Case {
    let pinned = case["variants"]["viewer_pins"].take();
    let expected = if pinned.is_null() { case["result"].take() } else { pinned };
    let files = case["files"].as_object().expect("a case has files");
    Case {
        name: case["name"].as_str().expect("a case has a name").to_owned(),
        arguments: case["load_kwargs"].clone(),
        files: files.iter().map(|(path, content)| (path.clone(), content_of(content))).collect(),
        expected,
    }
}

fn content_of(content: &Value) -> Vec<u8> {
    if let Some(text) = content["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(text) = content["base64"].as_str() {
        return base64::engine::general_purpose::STANDARD.decode(text).expect("base64 of a case");
    }
    let generated = &content["generated"];
    let line = |key: &str| format!("{}\n", generated[key].as_str().expect("a generated line"));
    let repeat = generated["repeat"].as_u64().expect("a number of lines");
    let repeat = usize::try_from(repeat).expect("a small number of lines");
    format!("{}{}{}", line("header"), line("repeat_line").repeat(repeat), line("last_line")).into_bytes()
}
