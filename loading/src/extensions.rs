//! Which file extensions belong to which module (dataset-loading.md section 1.1).
//!
//! Owns the extension table as data. It names every module of the library, also those that cannot be read here, so
//! that the choice of a module is the library's.

use std::sync::LazyLock;

use indexmap::IndexMap;
use outpost_formats::Params;
use outpost_formats::folder::{
    AUDIO_FOLDER, IMAGE_FOLDER, MESH_FOLDER, NIFTI_FOLDER, PDF_FOLDER, VIDEO_FOLDER,
};

/// A module and the options that its extension implies.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleChoice {
    /// The module's name.
    pub module: &'static str,
    /// Default options, such as the separator of `.tsv`.
    pub params: Params,
}

struct Row {
    module: &'static str,
    extensions: &'static str,
    param: Option<(&'static str, &'static str)>,
    /// Whether the upper-case spellings are registered too.
    upper_case: bool,
}

const fn text(module: &'static str, extensions: &'static str) -> Row {
    Row { module, extensions, param: None, upper_case: false }
}

const fn media(module: &'static str, extensions: &'static str) -> Row {
    Row { module, extensions, param: None, upper_case: true }
}

/// In the library's order of registration; a later row takes over an extension but not its place.
static ROWS: &[Row] = &[
    text("csv", ".csv"),
    Row { module: "csv", extensions: ".tsv", param: Some(("sep", "\t")), upper_case: false },
    text("json", ".json .jsonl .ndjson"),
    text("parquet", ".parquet .geoparquet .gpq"),
    text("arrow", ".arrow"),
    text("text", ".txt"),
    text("conll", ".conll"),
    Row { module: "conll", extensions: ".conllu", param: Some(("comment_prefix", "#")), upper_case: false },
    text("webdataset", ".tar"),
    text("xml", ".xml"),
    text("hdf5", ".hdf5 .h5"),
    text("eval", ".eval"),
    text("lance", ".lance"),
    text("tsfile", ".tsfile"),
    media("imagefolder", IMAGE_FOLDER.extensions),
    media("audiofolder", AUDIO_FOLDER.extensions),
    media("videofolder", VIDEO_FOLDER.extensions),
    media("meshfolder", MESH_FOLDER.extensions),
    media("pdffolder", PDF_FOLDER.extensions),
    media("niftifolder", NIFTI_FOLDER.extensions),
];

/// Extensions of a lance dataset's own files.
const LANCE_METADATA: &[&str] = &[".idx", ".txn", ".manifest"];

/// Names of files that describe others: they vote for a module only when nothing else does.
pub const METADATA_FILE_NAMES: &[&str] =
    &["metadata.csv", "metadata.jsonl", "metadata.parquet", "latest_version_hint.json"];

static TABLE: LazyLock<IndexMap<String, ModuleChoice>> = LazyLock::new(|| {
    let mut table = IndexMap::new();
    for row in ROWS {
        let params: Params = row.param.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        let choice = ModuleChoice { module: row.module, params };
        for extension in row.extensions.split_ascii_whitespace() {
            table.insert(extension.to_owned(), choice.clone());
        }
        if row.upper_case {
            for extension in row.extensions.split_ascii_whitespace() {
                table.insert(extension.to_ascii_uppercase(), choice.clone());
            }
        }
    }
    table
});

static ALLOWED: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    TABLE.keys().map(String::as_str).chain([".zip"]).chain(LANCE_METADATA.iter().copied()).collect()
});

/// The module of an extension, dot and case as given.
#[must_use]
pub fn module_of(extension: &str) -> Option<&'static ModuleChoice> {
    TABLE.get(extension)
}

/// Every extension that a data file may have, in the library's order.
#[must_use]
pub fn allowed() -> &'static [&'static str] {
    &ALLOWED
}

/// Whether any part of a file's base name is an allowed extension, as in `a.csv.gz`.
#[must_use]
pub fn is_allowed(path: &str) -> bool {
    suffixes(path)
        .any(|suffix| TABLE.contains_key(suffix) || suffix == ".zip" || LANCE_METADATA.contains(&suffix))
}

/// The dot-led parts of a path's base name: `.v1`, `.csv`, `.gz` of `a.v1.csv.gz`.
pub fn suffixes(path: &str) -> impl Iterator<Item = &str> {
    let base = base_name(path);
    let starts = base.match_indices('.').map(|(start, _)| start);
    let ends = base.match_indices('.').map(|(start, _)| start).skip(1).chain([base.len()]);
    starts.zip(ends).map(|(start, end)| &base[start..end])
}

/// The last part of a path.
#[must_use]
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a module reads this file when no config says so (dataset-loading.md section 1.4).
#[must_use]
pub fn belongs_to(path: &str, module: &str) -> bool {
    let own =
        TABLE.iter().filter(|(_, choice)| choice.module == module).map(|(extension, _)| extension.as_str());
    let lance = if module == "lance" { LANCE_METADATA } else { &[] };
    own.chain([".zip"]).chain(lance.iter().copied()).any(|extension| ends_with_extension(path, extension))
        || metadata_names(module).iter().any(|name| path.ends_with(name))
}

/// Whether the extension ends the path or is followed by further dot-led text.
fn ends_with_extension(path: &str, extension: &str) -> bool {
    path.match_indices(extension).any(|(start, _)| {
        let rest = &path[start + extension.len()..];
        rest.is_empty() || (rest.starts_with('.') && rest.len() > 1)
    })
}

fn metadata_names(module: &str) -> &'static [&'static str] {
    match module {
        "lance" => &METADATA_FILE_NAMES[3..],
        folder if folder.ends_with("folder") => &METADATA_FILE_NAMES[..3],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tables::table;

    #[test]
    fn extensions_choose_the_modules_of_the_library_in_its_order() {
        let expected = table("extension_to_module");
        let ours: serde_json::Map<String, serde_json::Value> = TABLE
            .iter()
            .map(|(extension, choice)| (extension.clone(), serde_json::json!([choice.module, choice.params])))
            .collect();
        let ours = serde_json::Value::Object(ours);
        assert_eq!(ours, expected);
        assert_eq!(ours.to_string(), expected.to_string());
    }

    #[test]
    fn a_file_is_allowed_by_any_part_of_its_name() {
        for (path, expected) in [
            ("a.csv.gz", true),
            ("d/a.json.foo", true),
            ("a.CSV", false),
            ("a.Jpg", false),
            ("a.JPG", true),
            ("d.csv/a", false),
            ("a.zip", true),
            ("csv", false),
        ] {
            assert_eq!(is_allowed(path), expected, "{path}");
        }
    }

    #[test]
    fn a_module_keeps_its_own_files() {
        for (path, module, expected) in [
            ("a.csv", "csv", true),
            ("a.csv.gz", "csv", true),
            ("a.csv.", "csv", false),
            ("a.csvx", "csv", false),
            ("a.zip", "csv", true),
            ("metadata.csv", "imagefolder", true),
            ("metadata.csv", "text", false),
            ("a.png", "csv", false),
        ] {
            assert_eq!(belongs_to(path, module), expected, "{path} {module}");
        }
    }
}
