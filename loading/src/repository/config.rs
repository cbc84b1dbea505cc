//! One config: its module, options, files and features.
//!
//! Owns when files are resolved and when a file is looked at for its schema: at most once, on first use.

use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError};

use outpost_formats::module::{SchemaSplit, reader};
use outpost_formats::{DataFile, Features, Params, Reader, SplitFiles, SplitModule, SplitPlan};
use outpost_hub::RepoFile;

use super::RepositoryFiles;
use crate::error::LoadError;
use crate::extensions::ModuleChoice;
use crate::infos::ConfigInfo;
use crate::resolve::{DataFiles, Extensions, SplitPatterns};
use crate::source::HubSource;

/// Modules whose readers are steered by the features of the card's config alone; the others also by those of
/// `dataset_info` (dataset-loading.md sections 1.6 to 1.9).
const STEERED_BY_CONFIG: &[&str] = &["csv", "text", "conll", "xml"];

/// What the metadata files say about a config: the same for every job of the revision.
pub(super) struct ConfigSpec {
    pub(super) name: String,
    /// The name of its module.
    pub(super) module: &'static str,
    /// Options of the module's extension, overlaid by the card's; unknown ones are still there.
    pub(super) params: Params,
    /// Features of the card's config entry.
    pub(super) features: Option<Features>,
    /// What `dataset_info` declares.
    pub(super) info: ConfigInfo,
    pub(super) origin: ConfigFiles,
}

/// A config of an open repository.
pub(super) struct Config {
    spec: Arc<ConfigSpec>,
    resolved: OnceLock<Result<Arc<DataFiles>, LoadError>>,
    at_open: OnceLock<Result<Option<Features>, LoadError>>,
    plan: OnceLock<Result<Arc<dyn SplitPlan>, LoadError>>,
}

/// Where a config's files come from.
pub(super) enum ConfigFiles {
    /// Found when the module was chosen.
    Resolved(DataFiles),
    /// To be found on first use.
    Patterns { folder: String, patterns: SplitPatterns },
}

impl ConfigSpec {
    pub(super) fn new(name: String, choice: &ModuleChoice, origin: ConfigFiles) -> Self {
        let (module, params) = (choice.module, choice.params.clone());
        Self { name, module, params, features: None, info: ConfigInfo::default(), origin }
    }
}

impl Deref for Config {
    type Target = ConfigSpec;
    fn deref(&self) -> &ConfigSpec {
        &self.spec
    }
}

impl Config {
    pub(super) fn new(spec: Arc<ConfigSpec>) -> Self {
        Self { spec, resolved: OnceLock::new(), at_open: OnceLock::new(), plan: OnceLock::new() }
    }

    /// Its files by split.
    pub(super) fn files(&self, repository: &RepositoryFiles) -> Result<Arc<DataFiles>, LoadError> {
        let resolve = || match &self.origin {
            ConfigFiles::Resolved(files) => Ok(Arc::new(files.clone())),
            ConfigFiles::Patterns { folder, patterns } => {
                repository.resolver.splits(patterns, folder, Extensions::Supported).map(Arc::new)
            }
        };
        self.resolved.get_or_init(resolve).clone()
    }

    /// The reader of its format.
    pub(super) fn reader(&self) -> Result<Reader, LoadError> {
        reader(self.module).ok_or_else(|| left_out(&self.name, self.module))
    }

    /// The options that its module knows.
    pub(super) fn reader_params(&self, reader: Reader) -> Params {
        let known = |name: &str| reader.param_names().contains(&name);
        self.params
            .iter()
            .filter(|(name, _)| known(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Features that the card declares, those of `dataset_info` before those of the config.
    pub(super) fn declared(&self) -> Option<&Features> {
        self.info.features.as_ref().or(self.features.as_ref())
    }

    /// Features that are known before rows are read: declared ones, or those of the first file's schema.
    pub(super) fn announced(&self, repository: &RepositoryFiles) -> Result<Option<Features>, LoadError> {
        if let Ok(Reader::Splits(module)) = self.reader() {
            // What the files tell replaces what `dataset_info` says.
            return Ok(Some(self.plan(module, repository)?.features().clone()));
        }
        match self.declared() {
            Some(features) => Ok(Some(features.clone())),
            None => self.at_open.get_or_init(|| self.look_at_files(repository)).clone(),
        }
    }

    /// What the files of all splits yield together.
    pub(super) fn plan(
        &self,
        module: &'static dyn SplitModule,
        repository: &RepositoryFiles,
    ) -> Result<Arc<dyn SplitPlan>, LoadError> {
        let plan = || {
            let files = self.files(repository)?;
            let params = self.reader_params(Reader::Splits(module));
            let plan = repository
                .with_split_files(&files, |files| module.plan(files, &params, self.features.as_ref()))?;
            Ok(plan.into())
        };
        self.plan.get_or_init(plan).clone()
    }

    /// Features that steer the reading of files.
    pub(super) fn steering(&self, repository: &RepositoryFiles) -> Result<Option<Features>, LoadError> {
        if STEERED_BY_CONFIG.contains(&self.module) {
            Ok(self.features.clone())
        } else {
            self.announced(repository)
        }
    }

    fn look_at_files(&self, repository: &RepositoryFiles) -> Result<Option<Features>, LoadError> {
        let Reader::Files(reader) = self.reader()? else { return Ok(None) };
        let files = self.files(repository)?;
        let split = match reader.schema_split() {
            SchemaSplit::First => files.values().find(|files| !files.is_empty()),
            SchemaSplit::Last => files.values().last(),
        };
        let looked_at = split.map_or(&[][..], Vec::as_slice);
        let mut opened = looked_at.iter().flat_map(|file| {
            let opened = repository.opened(repository.looked_at_file(file), reader);
            opened.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
        });
        Ok(reader.features_at_open(&mut opened, &self.reader_params(Reader::Files(reader)))?)
    }
}

/// The error of a format that is not read here: it names the format and the way out.
fn left_out(config: &str, module: &str) -> LoadError {
    let format = match module {
        "hdf5" => "HDF5",
        "eval" => "Inspect evaluation logs",
        "lance" => "Lance",
        "tsfile" => "Apache TsFile",
        other => other,
    };
    let message = format!(
        "The files of config '{config}' are of the format '{module}' ({format}), which this node does not read. To see \
         their rows, convert each split to Parquet and upload that instead: python -c \"from datasets import \
         load_dataset; load_dataset('<dataset>', '{config}', split='train').to_parquet('train.parquet')\""
    );
    LoadError::new("NotImplementedError", message)
}

impl RepositoryFiles {
    /// A file to be read by ranges; one that was looked at for its types is read on from what that fetched.
    pub(super) fn data_file(&self, file: &RepoFile) -> DataFile {
        let looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        match &*looked_at {
            Some(open) if open.path == file.path => open.clone(),
            _ => self.open_file(file),
        }
    }

    /// A file whose types are wanted before its rows are.
    pub(super) fn looked_at_file(&self, file: &RepoFile) -> DataFile {
        let open = self.data_file(file);
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(open.clone());
        open
    }

    /// Hands on the files of all splits, to be opened by those who need them.
    pub(super) fn with_split_files<T>(&self, files: &DataFiles, read: impl FnOnce(&SplitFiles) -> T) -> T {
        let splits = files.values().map(|files| files.iter().map(|file| file.path.as_str()).collect());
        read(&SplitFiles {
            root: self.resolver.url(""),
            splits: splits.collect(),
            open: &|split, file| self.open_file(&files[split][file]),
        })
    }

    fn open_file(&self, file: &RepoFile) -> DataFile {
        let source = HubSource::new(&self.context, &self.dataset, &self.revision, &file.path, file.size);
        DataFile { path: file.path.clone(), url: self.resolver.url(&file.path), source: Arc::new(source) }
    }
}
