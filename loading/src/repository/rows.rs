//! The first rows of a split, as plain iteration yields them (dataset-loading.md sections 5.1 to 5.3).
//!
//! Owns the walk over files and chunks and the phase of each failure. Rows are gathered up to
//! [`limits::FIRST_ROWS_HELD_BYTES_MAX`]; a failure returns nothing partial.

use std::sync::Arc;

use arrow_schema::FieldRef;
use outpost_formats::cast::{cast_table_to_features, cast_table_to_schema};
use outpost_formats::features::arrow::fields_equal;
use outpost_formats::features::type_text::schema_text;
use outpost_formats::infer::{INFERENCE_ROWS, infer_features};
use outpost_formats::memory;
use outpost_formats::{Features, Module, Params, Reader, SplitModule, Table, TableReader, Value};
use outpost_hub::RepoFile;
use outpost_model::limits;

use super::archives::Opened;
use super::config::Config;
use super::{RepositoryFiles, RowsError, SplitHead, splits_not_found};
use crate::error::LoadError;
use crate::python::repr_list;

type Row = Vec<(Arc<str>, Value)>;

pub(super) fn first_rows(
    repository: &RepositoryFiles,
    config: &Config,
    split: &str,
    limit: usize,
) -> Result<SplitHead, RowsError> {
    let files = config.files(repository).map_err(RowsError::Info)?;
    let reader = config.reader().map_err(RowsError::Info)?;
    let known = known_features(repository, config)?;
    let files_of_split = files.get_full(split).ok_or_else(|| {
        let known = repr_list(files.keys().map(String::as_str));
        LoadError::new("ValueError", format!("Bad split: {split}. Available splits: {known}"))
    });
    let tables = match reader {
        Reader::Files(reader) => {
            files_of_split.and_then(|(_, _, files)| Tables::new(repository, config, reader, files))
        }
        Reader::Splits(module) => {
            return files_of_split
                .and_then(|(index, _, _)| planned_rows(repository, config, module, index, limit))
                .map_err(RowsError::Rows);
        }
    };
    match known {
        Some(features) => {
            let mut tables = tables.map_err(RowsError::Rows)?;
            rows_of(&mut tables, features, limit).map_err(RowsError::Rows)
        }
        None => inferred(tables.map_err(RowsError::Features)?, limit),
    }
}

/// Rows of a format that knows all splits: it encodes them itself.
fn planned_rows(
    repository: &RepositoryFiles,
    config: &Config,
    module: &'static dyn SplitModule,
    split: usize,
    limit: usize,
) -> Result<SplitHead, LoadError> {
    let plan = config.plan(module, repository)?;
    let files = config.files(repository)?;
    let rows = repository.with_split_files(&files, |files| plan.first_rows(files, split, limit))?;
    let features = plan.features().clone();
    let names = || features.0.iter().map(|(name, _)| name.clone());
    let rows: Vec<Row> = rows.into_iter().map(|row| names().zip(row).collect()).collect();
    Ok(SplitHead { exhausted: rows.len() < limit, features, rows })
}

fn known_features(repository: &RepositoryFiles, config: &Config) -> Result<Option<Features>, RowsError> {
    config.announced(repository).map_err(|error| {
        // With declared splits, nothing is looked at before rows are asked for.
        if config.info.splits.is_some() {
            RowsError::Features(error)
        } else {
            RowsError::Info(splits_not_found(error))
        }
    })
}

/// Rows of known features: every row is completed, cast and put in their order. No declared feature at all counts as
/// nothing known about the rows.
fn rows_of(tables: &mut Tables, features: Features, limit: usize) -> Result<SplitHead, LoadError> {
    let mut rows: Vec<Row> = Vec::new();
    let mut held = Held::default();
    while rows.len() < limit && !held.is_full {
        let Some(table) = tables.next(limit - rows.len())? else { break };
        held.add(&table, limit - rows.len())?;
        if features.0.is_empty() {
            rows.extend(plain_rows(table));
        } else {
            rows.extend(plain_rows(cast_table_to_features(table, &features)?));
        }
    }
    Ok(SplitHead { exhausted: rows.len() < limit && !held.is_full, features, rows })
}

/// Rows as they come, and the features that the first of them have.
fn inferred(mut tables: Tables, limit: usize) -> Result<SplitHead, RowsError> {
    let wanted = limit.max(INFERENCE_ROWS);
    let mut head = Vec::new();
    let mut count = 0;
    let mut held = Held::default();
    while count < INFERENCE_ROWS && !held.is_full {
        let Some(table) = tables.next(wanted - count).map_err(RowsError::Features)? else { break };
        held.add(&table, wanted - count).map_err(RowsError::Features)?;
        count += table.rows.len();
        head.push(table);
    }
    check_schemas(&head).map_err(RowsError::Features)?;
    let mut rows: Vec<Row> = head.into_iter().flat_map(plain_rows).collect();
    let features = infer_features(&rows[..rows.len().min(INFERENCE_ROWS)])
        .map_err(|error| RowsError::Features(error.into()))?;
    while rows.len() < limit && !held.is_full {
        let Some(table) = tables.next(limit - rows.len()).map_err(RowsError::Rows)? else { break };
        held.add(&table, limit - rows.len()).map_err(RowsError::Rows)?;
        rows.extend(plain_rows(table));
    }
    let exhausted = rows.len() < limit && !held.is_full;
    rows.truncate(limit);
    Ok(SplitHead { features, rows, exhausted })
}

/// What the gathered rows hold. Rows that are too large for all to be held are cut off behind: what is there is shown.
#[derive(Default)]
struct Held {
    bytes: usize,
    is_full: bool,
}

impl Held {
    fn add(&mut self, table: &Table, row_limit: usize) -> Result<(), LoadError> {
        self.bytes += table.rows.iter().flatten().map(Value::held_bytes).sum::<usize>();
        self.is_full |= self.bytes >= limits::FIRST_ROWS_HELD_BYTES_MAX || table.is_cut(row_limit);
        Ok(memory::hold(self.bytes)?)
    }
}

fn plain_rows(table: Table) -> impl Iterator<Item = Row> {
    let names: Vec<Arc<str>> = table.fields.iter().map(|field| field.name().as_str().into()).collect();
    table.rows.into_iter().map(move |row| names.iter().cloned().zip(row).collect())
}

/// The chunks of a split's files, one file after the other; chunks without rows are skipped.
struct Tables<'a> {
    repository: &'a RepositoryFiles,
    reader: &'static dyn Module,
    params: Params,
    steering: Option<Features>,
    files: std::slice::Iter<'a, Arc<RepoFile>>,
    /// What is left of the data files that the current file stands for.
    opened: Opened,
    open: Option<Box<dyn TableReader>>,
}

impl<'a> Tables<'a> {
    fn new(
        repository: &'a RepositoryFiles,
        config: &'a Config,
        reader: &'static dyn Module,
        files: &'a [Arc<RepoFile>],
    ) -> Result<Self, LoadError> {
        Ok(Self {
            repository,
            reader,
            params: config.reader_params(Reader::Files(reader)),
            steering: config.steering(repository)?,
            files: files.iter(),
            opened: Box::new(std::iter::empty()),
            open: None,
        })
    }

    /// The table as a builder yields it: cast as a whole to the features that steer reading.
    fn built(&self, table: Table) -> Result<Table, LoadError> {
        match &self.steering {
            Some(features) if !features.0.is_empty() => Ok(cast_table_to_schema(table, features)?),
            _ => Ok(table),
        }
    }

    fn next(&mut self, row_limit: usize) -> Result<Option<Table>, LoadError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next_table(row_limit)? {
                    Some(table) if table.rows.is_empty() => continue,
                    Some(table) => return self.built(table).map(Some),
                    None => self.open = None,
                }
            }
            if let Some(file) = self.opened.next() {
                self.open = Some(self.reader.open(&file?, &self.params, self.steering.as_ref())?);
                continue;
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            self.opened = self.repository.opened(self.repository.data_file(file), self.reader)?;
        }
    }
}

/// Fails when the chunks that hold the first rows cannot be put together, as their schemas differ.
fn check_schemas(head: &[Table]) -> Result<(), LoadError> {
    let Some((first, others)) = head.split_first() else { return Ok(()) };
    for (index, other) in others.iter().enumerate() {
        if !schemas_equal(&first.fields, &other.fields) {
            let message = format!(
                "Schema at index {} was different: \n{}\nvs\n{}",
                index + 1,
                schema_text(&first.fields),
                schema_text(&other.fields)
            );
            return Err(LoadError::new("ArrowInvalid", message));
        }
    }
    Ok(())
}

fn schemas_equal(left: &[FieldRef], right: &[FieldRef]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| fields_equal(left, right))
}
