//! Opening a repository: from its metadata files to its configs (dataset-loading.md section 0, steps 1 to 10).

use std::sync::Arc;
use std::sync::Mutex;

use indexmap::IndexMap;
use outpost_model::{DatasetName, Revision, limits};

use super::cache::Outline;
use super::config::{ConfigFiles, ConfigSpec};
use super::hub_errors::load_error;
use super::{LoadContext, RepositoryFiles};
use crate::configs::{CardConfig, check_name, default_name};
use crate::data_files::sanitize;
use crate::error::LoadError;
use crate::extensions::{ModuleChoice, belongs_to};
use crate::infos::{Infos, read_card, read_legacy};
use crate::listing::{Listed, Listing};
use crate::resolve::{DataFiles, Extensions, Resolver, SplitPatterns, is_not_found};
use crate::yaml::Yaml;
use crate::{card, configs, module_choice, patterns};

/// Reads what the metadata files say.
pub(super) fn outline(files: &RepositoryFiles) -> Result<Outline, LoadError> {
    read_outline(files).map_err(|error| {
        if !is_not_found(&error) {
            return error;
        }
        let dataset = &files.dataset;
        let message = format!(
            "Couldn't find any data file at {dataset}. Couldn't find '{dataset}' on the Hugging Face Hub either: \
             FileNotFoundError: {}",
            error.message
        );
        LoadError::new("FileNotFoundError", message)
    })
}

fn read_outline(files: &RepositoryFiles) -> Result<Outline, LoadError> {
    let readme = files.metadata("README.md")?;
    refuse_script(files)?;
    let overlay = files.metadata(".huggingface.yaml")?;
    let card = card::read(readme.as_deref(), overlay.as_deref())?;
    let card_configs = configs::read(&card)?;
    let card_infos = read_card(&card)?;

    let patterns = match card_configs.first().and_then(|config| config.data_files.as_ref()) {
        Some(data_files) => sanitize(data_files)?,
        None => patterns::detect(&files.resolver, "")?,
    };
    let data_files = files.resolver.splits(&patterns, "", Extensions::Supported)?;
    let choice =
        module_choice::choose(&data_files, files.dataset.as_str(), &|file| files.archive_paths(file))?;

    let (mut configs, default) = if card_configs.is_empty() {
        (vec![config_of_files(&choice, data_files)], None)
    } else {
        let default = default_name(&card_configs)?;
        (configs_of_card(&files.resolver, card_configs, &choice)?, default)
    };
    let infos = match files.metadata("dataset_infos.json")? {
        None => card_infos,
        Some(legacy) => merged(read_legacy(&legacy)?, card_infos),
    };
    let only_info = infos.keys().next().filter(|_| infos.len() == 1).cloned();
    for config in &mut configs {
        config.info = infos.get(&config.name).cloned().unwrap_or_default();
    }
    let only_config = configs.first().filter(|_| configs.len() == 1).map(|config| config.name.clone());
    Ok(Outline {
        configs: configs.into_iter().map(Arc::new).collect(),
        default_config: default.or(only_info).or(only_config),
        listed: files.resolver.listing.listed(),
    })
}

fn merged(mut legacy: Infos, card: Infos) -> Infos {
    legacy.extend(card);
    legacy
}

fn refuse_script(files: &RepositoryFiles) -> Result<(), LoadError> {
    let script = format!("{}.py", files.dataset.repo_name());
    match files.metadata(&script) {
        Ok(None) => Ok(()),
        Err(error) if error.class != "LimitExceeded" => Err(error),
        _ => {
            let message = format!("Dataset scripts are no longer supported, but found {script}");
            Err(LoadError::new("RuntimeError", message))
        }
    }
}

/// The one config of a repository whose card declares none.
fn config_of_files(choice: &ModuleChoice, mut files: DataFiles) -> ConfigSpec {
    for files in files.values_mut() {
        files.retain(|file| belongs_to(&file.path, choice.module));
    }
    ConfigSpec::new("default".to_owned(), choice, ConfigFiles::Resolved(files))
}

/// One config per entry of the card, all with the module of the first one's files.
fn configs_of_card(
    resolver: &Resolver,
    card_configs: Vec<CardConfig>,
    choice: &ModuleChoice,
) -> Result<Vec<ConfigSpec>, LoadError> {
    let mut detected: IndexMap<String, SplitPatterns> = IndexMap::new();
    let mut configs = Vec::with_capacity(card_configs.len());
    for card_config in card_configs {
        let folder = data_dir(&card_config)?;
        let patterns = match &card_config.data_files {
            Some(data_files) if *data_files != Yaml::Null => sanitize(data_files)?,
            _ => match detected.get(&folder) {
                Some(patterns) => patterns.clone(),
                None => {
                    let patterns = patterns::detect(resolver, &folder)
                        .map_err(|error| empty_config(resolver, &card_config, error))?;
                    detected.insert(folder.clone(), patterns.clone());
                    patterns
                }
            },
        };
        let name = check_name(&card_config.name)?.to_owned();
        let mut config = ConfigSpec::new(name, choice, ConfigFiles::Patterns { folder, patterns });
        config.params.extend(card_config.params);
        config.features = card_config.features;
        configs.push(config);
    }
    Ok(configs)
}

fn data_dir(config: &CardConfig) -> Result<String, LoadError> {
    match &config.data_dir {
        None => Ok(String::new()),
        Some(Yaml::Str(folder)) => Ok(folder.trim_end_matches('/').to_owned()),
        Some(other) => {
            let message = format!("expected str, bytes or os.PathLike object, not {}", other.type_name());
            Err(LoadError::new("TypeError", message))
        }
    }
}

fn empty_config(resolver: &Resolver, config: &CardConfig, error: LoadError) -> LoadError {
    if error.class != "EmptyDatasetError" {
        return error;
    }
    let message = format!(
        "Dataset at '{}' doesn't contain data files matching the patterns for config '{}', check `data_files` and \
         `data_fir` parameters in the `configs` YAML field in README.md. ",
        resolver.url(""),
        config.name.display()
    );
    LoadError::new("EmptyDatasetError", message).caused_by(error)
}

impl RepositoryFiles {
    pub(super) fn new(
        context: &LoadContext,
        dataset: &DatasetName,
        revision: &Revision,
        listed: Listed,
    ) -> Self {
        let (own_context, own_dataset, own_revision) = (context.clone(), dataset.clone(), revision.clone());
        let list_folder = Box::new(move |folder: &str| {
            own_context.guard.check()?;
            let list = own_context.hub.list_files(&own_dataset, &own_revision, folder);
            match own_context.runtime.block_on(list) {
                Ok(files) => Ok(files),
                Err(outpost_hub::HubError::EntryNotFound(_)) => Ok(Vec::new()),
                Err(error) => Err(load_error(&own_dataset, &error)),
            }
        });
        let resolver = Resolver {
            listing: Listing::new(list_folder, listed),
            dataset: dataset.to_string(),
            revision: revision.to_string(),
            guard: Arc::clone(&context.guard),
        };
        Self {
            context: context.clone(),
            dataset: dataset.clone(),
            revision: revision.clone(),
            resolver,
            looked_at: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    /// A whole metadata file, when it exists.
    fn metadata(&self, path: &str) -> Result<Option<bytes::Bytes>, LoadError> {
        self.context.guard.check()?;
        let read =
            self.context.hub.read_file(&self.dataset, &self.revision, path, limits::METADATA_FILE_BYTES_MAX);
        let bytes = self.context.runtime.block_on(read).map_err(|error| load_error(&self.dataset, &error))?;
        if let Some(bytes) = &bytes {
            self.context.guard.count_bytes(bytes.len() as u64);
        }
        Ok(bytes)
    }
}
