//! Modules: one per dataset format, behind one trait and in one table.
//!
//! Owns the table [`MODULES`]. Adding a format is one file with a [`Module`] and one row here (its extensions stand in the
//! loading rules). A module turns open files into tables; which files, in which order, is the loading rules' business.

use std::sync::Arc;

use crate::error::FormatError;
use crate::features::Features;
use crate::source::ByteSource;
use crate::table::TableReader;

/// Options of a module from the README's `configs` entry or the extension table, by name.
pub type Params = serde_json::Map<String, serde_json::Value>;

/// A data file to read: its name and its bytes, already decompressed when [`Module::extracts`] says so.
#[derive(Clone)]
pub struct DataFile {
    /// Path in the repository, for messages and `file_path` columns.
    pub path: String,
    /// Its address as rows show it: `hf://datasets/{dataset}@{revision}/{path}`.
    pub url: String,
    /// Its bytes as stored in the repository.
    pub source: Arc<dyn ByteSource>,
}

/// The split whose files tell the features of a config before rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaSplit {
    /// The first one that has files.
    First,
    /// The last one.
    Last,
}

/// A dataset format.
pub trait Module: Send + Sync {
    /// The name by which `datasets` knows it: `csv`, `json`, `parquet`, `arrow`, `text` ...
    fn name(&self) -> &'static str;

    /// Whether compressed files and zip archives are opened before the module sees them (section 1.5). The module
    /// itself decompresses, through the compression module, so that it can stream.
    fn extracts(&self) -> bool;

    /// Names of the options that a README config may set; others are dropped (section 3.2).
    fn param_names(&self) -> &'static [&'static str];

    /// The split whose files [`Module::features_at_open`] gets.
    fn schema_split(&self) -> SchemaSplit {
        SchemaSplit::First
    }

    /// The features that are known before rows are read: from the schema or the first chunk of the first file of
    /// the split that [`Module::schema_split`] names. `files` opens them one by one. `None` when only reading rows tells.
    ///
    /// # Errors
    /// [`FormatError`] when a file that must be looked at cannot be read.
    fn features_at_open(
        &self,
        files: &mut dyn Iterator<Item = Result<DataFile, FormatError>>,
        params: &Params,
    ) -> Result<Option<Features>, FormatError>;

    /// Opens one file. `features` are the ones that steer reading: those of the config, or those of
    /// [`Module::features_at_open`].
    ///
    /// # Errors
    /// [`FormatError`] when the options are invalid or the file cannot be opened.
    fn open(
        &self,
        file: &DataFile,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn TableReader>, FormatError>;
}

/// Every format that can be read.
pub static MODULES: &[&dyn Module] = &[
    // One row per format, sorted by name.
    &crate::arrow::Arrow,
    &crate::conll::Conll,
    &crate::csv::Csv,
    &crate::json::Json,
    &crate::parquet::Parquet,
    &crate::text::Text,
    &crate::xml::Xml,
];

/// The module with this name.
#[must_use]
pub fn module(name: &str) -> Option<&'static dyn Module> {
    MODULES.iter().copied().find(|module| module.name() == name)
}
