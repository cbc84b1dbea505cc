//! Modules: one per dataset format, behind one trait and in one table.
//!
//! Owns the tables [`MODULES`] and [`SPLIT_MODULES`]. Adding a format is one file with a [`Module`] and one row here (its
//! extensions stand in the loading rules). A module turns open files into tables; which files, in which order, is the
//! loading rules' business. A [`SplitModule`] is for formats whose rows are about files: it gets the lists of all splits.

use std::sync::Arc;

use crate::error::FormatError;
use crate::features::Features;
use crate::source::ByteSource;
use crate::table::TableReader;
use crate::value::Value;

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
    /// the split that [`Module::schema_split`] names. `files` opens them one by one. `None` when only reading rows tells,
    /// as with text formats.
    ///
    /// # Errors
    /// [`FormatError`] when a file that must be looked at cannot be read.
    fn features_at_open(
        &self,
        files: &mut dyn Iterator<Item = Result<DataFile, FormatError>>,
        params: &Params,
    ) -> Result<Option<Features>, FormatError> {
        let (_, _) = (files, params);
        Ok(None)
    }

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

/// The files of a config, split by split.
pub struct SplitFiles<'a> {
    /// What stands before the paths in addresses: `hf://datasets/{dataset}@{revision}`.
    pub root: String,
    /// Paths in the repository, per split in order.
    pub splits: Vec<Vec<&'a str>>,
    /// Opens the file at these indices of `splits`.
    pub open: &'a dyn Fn(usize, usize) -> DataFile,
}

impl SplitFiles<'_> {
    /// The address of a file as rows show it.
    #[must_use]
    pub fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }
}

/// A dataset format whose features and rows come from the lists of files of all splits.
pub trait SplitModule: Send + Sync {
    /// The name by which `datasets` knows it: `imagefolder` ...
    fn name(&self) -> &'static str;

    /// Names of the options that a README config may set; others are dropped (section 3.2).
    fn param_names(&self) -> &'static [&'static str];

    /// Looks at the files of all splits, once. `features` are those of the README's config.
    ///
    /// # Errors
    /// [`FormatError`] when the options are invalid or a file that must be looked at cannot be read.
    fn plan(
        &self,
        files: &SplitFiles,
        params: &Params,
        features: Option<&Features>,
    ) -> Result<Box<dyn SplitPlan>, FormatError>;
}

/// What a [`SplitModule`] found out about a config.
pub trait SplitPlan: Send + Sync {
    /// The features of all splits.
    fn features(&self) -> &Features;

    /// The first `limit` rows of the split at this index, each with one value per feature, encoded as Python encodes
    /// examples (section 5.3). `files` are those of the plan.
    ///
    /// # Errors
    /// [`FormatError`] when a file cannot be read or a value does not fit its feature.
    fn first_rows(
        &self,
        files: &SplitFiles,
        split: usize,
        limit: usize,
    ) -> Result<Vec<Vec<Value>>, FormatError>;
}

/// How a format is read.
#[derive(Clone, Copy)]
pub enum Reader {
    /// File by file.
    Files(&'static dyn Module),
    /// All splits together.
    Splits(&'static dyn SplitModule),
}

impl Reader {
    /// Names of the options that a README config may set.
    #[must_use]
    pub fn param_names(&self) -> &'static [&'static str] {
        match self {
            Self::Files(module) => module.param_names(),
            Self::Splits(module) => module.param_names(),
        }
    }
}

/// Every format that is read file by file.
pub static MODULES: &[&dyn Module] = &[
    // One row per format, sorted by name.
    &crate::arrow::Arrow,
    &crate::conll::Conll,
    &crate::csv::Csv,
    &crate::json::Json,
    &crate::parquet::Parquet,
    &crate::text::Text,
    &crate::xml::Xml,
    &crate::webdataset::WebDataset,
];

/// Every format that is read from the files of all splits.
pub static SPLIT_MODULES: &[&dyn SplitModule] = &[
    // One row per format, sorted by name.
    &crate::folder::AUDIO_FOLDER,
    &crate::folder::IMAGE_FOLDER,
    &crate::folder::MESH_FOLDER,
    &crate::folder::NIFTI_FOLDER,
    &crate::folder::PDF_FOLDER,
    &crate::folder::VIDEO_FOLDER,
];

/// The reader of the format with this name.
#[must_use]
pub fn reader(name: &str) -> Option<Reader> {
    let files = MODULES.iter().copied().find(|module| module.name() == name).map(Reader::Files);
    let splits = || SPLIT_MODULES.iter().copied().find(|module| module.name() == name).map(Reader::Splits);
    files.or_else(splits)
}
