//! Metadata files: their tables, and the columns of file names that become media (dataset-loading.md section 1.10).
//!
//! Owns the renaming of `file_name` and its kin, in features and in rows. Fails with `ValueError` when the files disagree
//! or name no media, and with the errors of the csv, json and parquet readers.

use std::sync::Arc;

use serde_json::json;

use super::Folder;
use super::analysis::Analysis;
use super::location;
use crate::error::{ErrorClass, FormatError};
use crate::features::repr::features_text;
use crate::features::repr::quoted;
use crate::features::{Feature, Features};
use crate::module::{DataFile, Module, Params, SplitFiles};
use crate::table::{Table, TableReader};

/// The features of the metadata files of all splits, which must be the same.
///
/// # Errors
/// See the module.
pub(super) fn features(
    folder: &Folder,
    files: &SplitFiles,
    analysis: &Analysis,
    declared: Option<&Features>,
) -> Result<Features, FormatError> {
    check_extensions(analysis)?;
    let mut first: Option<(&str, Features)> = None;
    for (split, found) in analysis.splits.iter().enumerate() {
        for (address, metadata) in &found.metadata {
            let file = metadata.open(files, split)?;
            let Some(features) = features_of_file(&file, address, declared)? else { continue };
            match &first {
                None => first = Some((address, features)),
                Some((first, of_first)) if *of_first != features => {
                    let message = format!(
                        "Metadata files {address} and {first} have different features: ({}, {}) != {}",
                        quoted(first),
                        features_text(of_first),
                        features_text(&features)
                    );
                    return Err(FormatError::new(ErrorClass::ValueError, message));
                }
                Some(_) => {}
            }
            break;
        }
    }
    let (_, features) =
        first.ok_or_else(|| FormatError::new(ErrorClass::IndexError, "list index out of range"))?;
    let mut found = false;
    let features = with_media(folder, features, &mut found);
    if !found {
        let message = "`file_name`, `*_file_name`, `file_names` or `*_file_names` must be present as dictionary key \
                       in metadata files";
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    Ok(features)
}

fn check_extensions(analysis: &Analysis) -> Result<(), FormatError> {
    let mut extensions = Vec::new();
    for address in analysis.splits.iter().flat_map(|split| split.metadata.keys()) {
        let extension = extension(address);
        if !extensions.contains(&extension) {
            extensions.push(extension);
        }
    }
    if extensions.len() > 1 {
        let names: Vec<String> = extensions.into_iter().map(quoted).collect();
        let message = format!("Found metadata files with different extensions: [{}]", names.join(", "));
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    Ok(())
}

fn extension(address: &str) -> &str {
    location::split_extension(location::base_name(address)).1
}

/// The features of the first rows of a file; `None` when it has no rows.
fn features_of_file(
    file: &DataFile,
    address: &str,
    declared: Option<&Features>,
) -> Result<Option<Features>, FormatError> {
    let Some(table) = Rows::open(file, address, declared)?.next_table(0)? else { return Ok(None) };
    match extension(address) {
        ".csv" | ".jsonl" => Features::from_schema(&table.fields, None).map(Some),
        // Only the schema of the file itself has what was written about its features.
        _ => crate::parquet::Parquet.features_at_open(&mut [Ok(file.clone())].into_iter(), &Params::new()),
    }
}

/// The tables with rows of a metadata file.
pub(super) struct Rows {
    tables: Box<dyn TableReader>,
}

impl Rows {
    /// Opens a file; declared features steer how csv is read.
    ///
    /// # Errors
    /// Those of the file's reader.
    pub(super) fn open(
        file: &DataFile,
        address: &str,
        declared: Option<&Features>,
    ) -> Result<Self, FormatError> {
        let tables = match extension(address) {
            ".csv" => crate::csv::Csv.open(file, &Params::new(), declared)?,
            ".jsonl" => {
                let params = Params::from_iter([("on_mixed_types".to_owned(), json!(null))]);
                crate::json::Json.open(file, &params, None)?
            }
            _ => crate::parquet::Parquet.open(file, &Params::new(), None)?,
        };
        Ok(Self { tables })
    }

    /// The next table that has rows.
    ///
    /// # Errors
    /// Those of the file's reader.
    pub(super) fn next_table(&mut self, row_limit: usize) -> Result<Option<Table>, FormatError> {
        loop {
            match self.tables.next_table(row_limit)? {
                Some(table) if table.row_count == 0 => {}
                other => return Ok(other),
            }
        }
    }
}

/// The features with media in the place of file names, however deep; `found` tells whether there was any.
fn with_media(folder: &Folder, features: Features, found: &mut bool) -> Features {
    let columns: Vec<_> = features
        .0
        .into_iter()
        .map(|(name, feature)| match media_column(folder, &name, &feature) {
            Some(column) => {
                *found = true;
                column
            }
            None => (name, nested_with_media(folder, feature, found)),
        })
        .collect();
    Features::from_columns(columns)
}

fn nested_with_media(folder: &Folder, feature: Feature, found: &mut bool) -> Feature {
    match feature {
        Feature::Struct(members) => Feature::Struct(with_media(folder, members, found)),
        Feature::List { feature, length } => {
            Feature::List { feature: Box::new(nested_with_media(folder, *feature, found)), length }
        }
        Feature::LargeList { feature } => {
            Feature::LargeList { feature: Box::new(nested_with_media(folder, *feature, found)) }
        }
        other => other,
    }
}

/// The column that stands for a column of file names.
fn media_column(folder: &Folder, name: &str, feature: &Feature) -> Option<(Arc<str>, Feature)> {
    if is_text(feature) {
        let name = match name.strip_suffix("file_name")? {
            "" => folder.column,
            prefix => prefix.strip_suffix('_')?,
        };
        // `_file_name` has nothing before it.
        return Some((if name.is_empty() { folder.column } else { name }.into(), folder.feature()));
    }
    let Feature::List { feature: item, length: None } = feature else { return None };
    if !is_text(item) {
        return None;
    }
    let prefix = match name.strip_suffix("file_names")? {
        "" => "",
        prefix => prefix.strip_suffix('_')?,
    };
    let name = if prefix.is_empty() { format!("{}s", folder.column) } else { prefix.to_owned() };
    Some((name.into(), Feature::list(folder.feature())))
}

fn is_text(feature: &Feature) -> bool {
    matches!(feature, Feature::Value { dtype, .. } if matches!(&**dtype, "string" | "large_string"))
}
