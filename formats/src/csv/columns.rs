//! Columns of a file: names, order, and which fields of a row they take.
//!
//! Owns header rules of dataset-loading.md section 1.6: unnamed and duplicate names, surplus fields as index columns, `names`,
//! `usecols`, `index_col`. Index columns come last, under `__index_level_{k}__` when they have no name.

use std::collections::{HashMap, HashSet};

use super::dialect::Row;
use super::options::{ColumnRef, IndexColumns, Options};
use crate::error::{ErrorClass, FormatError};

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name in the table.
    pub(super) name: String,
    /// Which field of a row it is.
    pub(super) field: usize,
    /// Whether dtypes and markers by column name apply.
    by_name: bool,
}

impl Column {
    /// The name by which options may speak of the column.
    pub(super) fn option_name(&self) -> Option<&str> {
        self.by_name.then_some(self.name.as_str())
    }
}

/// The names in a header row: empty ones filled in, duplicates numbered.
pub(super) fn header_names(row: &Row) -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> = (0..row.len())
        .map(|index| match row.field(index) {
            b"" => (format!("Unnamed: {index}"), false),
            bytes => (String::from_utf8_lossy(bytes).into_owned(), true),
        })
        .collect();
    // Names that stand in the file keep theirs before made-up ones do.
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&index| !names[index].1);
    let mut present: HashSet<String> = names.iter().map(|(name, _)| name.clone()).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for index in order {
        let original = names[index].0.clone();
        let mut name = original.clone();
        let mut count = counts.get(&name).copied().unwrap_or(0);
        while count > 0 {
            counts.insert(original.clone(), count + 1);
            name = format!("{original}.{count}");
            if present.contains(&name) {
                count += 1;
            } else {
                count = counts.get(&name).copied().unwrap_or(0);
            }
        }
        present.insert(name.clone());
        names[index].0.clone_from(&name);
        counts.insert(name, count + 1);
    }
    names
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Layout {
    /// Data columns in file order, then index columns.
    pub(super) columns: Vec<Column>,
    /// Surplus fields at the start of each row.
    pub(super) surplus: usize,
}

/// Lays out the columns: `header` holds the names of the header row with whether each stands in the file, `width`
/// is the number of fields of the first row.
///
/// # Errors
/// `ValueError` or `ParserError` when chosen columns do not exist.
pub(super) fn layout(
    options: &Options,
    header: Option<Vec<(String, bool)>>,
    width: usize,
) -> Result<Layout, FormatError> {
    let has_header = header.is_some() || options.names.is_some();
    let names: Vec<(String, bool)> = match (&options.names, header) {
        (Some(names), _) => names.iter().map(|name| (name.clone(), true)).collect(),
        (None, Some(names)) => names,
        (None, None) => (0..width).map(|index| (index.to_string(), true)).collect(),
    };
    let surplus = match options.index {
        IndexColumns::Never => 0,
        _ => width.saturating_sub(names.len()),
    };
    let mut columns = Vec::with_capacity(names.len());
    let mut unnamed = Vec::new();
    for (index, (name, in_file)) in names.into_iter().enumerate() {
        let field = surplus + index;
        if !in_file {
            unnamed.push(field);
        }
        columns.push(Column { name, field, by_name: has_header });
    }
    if let Some(chosen) = &options.usecols {
        columns = choose(columns, chosen)?;
    }
    let index = index_columns(options, &mut columns, surplus, &unnamed)?;
    columns.extend(index);
    Ok(Layout { columns, surplus })
}

/// Takes the index columns out of the data columns, or makes them from surplus fields.
fn index_columns(
    options: &Options,
    columns: &mut Vec<Column>,
    surplus: usize,
    unnamed: &[usize],
) -> Result<Vec<Column>, FormatError> {
    let mut index = Vec::new();
    match &options.index {
        IndexColumns::Chosen(chosen) if surplus == 0 => {
            let fields =
                chosen.iter().map(|column| position(columns, column)).collect::<Result<Vec<_>, _>>()?;
            index = fields.iter().map(|&at| columns[at].clone()).collect();
            columns.retain(|column| index.iter().all(|taken: &Column| taken.field != column.field));
        }
        IndexColumns::Chosen(chosen) if chosen.len() != surplus => {
            return Err(FormatError::new(
                ErrorClass::ParserError,
                format!(
                    "Could not construct index. Requested to use {} number of columns, but {surplus} left to parse.",
                    chosen.len()
                ),
            ));
        }
        IndexColumns::Never => {}
        _ => {
            index = (0..surplus).map(|field| Column { name: String::new(), field, by_name: false }).collect();
        }
    }
    for (level, column) in index.iter_mut().enumerate() {
        let nameless = column.name.is_empty() || unnamed.contains(&column.field);
        if nameless || columns.iter().any(|other| other.name == column.name) {
            column.name = format!("__index_level_{level}__");
        }
    }
    Ok(index)
}

/// Where each column stands, the first of those that share a name.
pub(super) fn positions(columns: &[Column]) -> HashMap<&str, usize> {
    columns.iter().enumerate().rev().map(|(at, column)| (column.name.as_str(), at)).collect()
}

/// Where a chosen index column stands.
fn position(columns: &[Column], chosen: &ColumnRef) -> Result<usize, FormatError> {
    match chosen {
        ColumnRef::Name(name) => columns
            .iter()
            .position(|column| column.name == *name)
            .ok_or_else(|| FormatError::new(ErrorClass::ValueError, format!("Index {name} invalid"))),
        ColumnRef::Position(at) => {
            let from_end = i64::try_from(columns.len()).unwrap_or(i64::MAX).saturating_add(*at);
            usize::try_from(if *at < 0 { from_end } else { *at })
                .ok()
                .filter(|at| *at < columns.len())
                .ok_or_else(|| FormatError::new(ErrorClass::ValueError, format!("Index {at} invalid")))
        }
    }
}

/// Keeps the chosen columns, in file order.
fn choose(columns: Vec<Column>, chosen: &[ColumnRef]) -> Result<Vec<Column>, FormatError> {
    let by_name = positions(&columns);
    let mut keep = vec![false; columns.len()];
    let mut absent = Vec::new();
    for column in chosen {
        let at = match column {
            ColumnRef::Name(name) => by_name.get(name.as_str()).copied(),
            ColumnRef::Position(at) => usize::try_from(*at).ok().filter(|at| *at < columns.len()),
        };
        match (at, column) {
            (Some(at), _) => keep[at] = true,
            (None, ColumnRef::Name(name)) => absent.push(format!("'{name}'")),
            (None, ColumnRef::Position(at)) => absent.push(at.to_string()),
        }
    }
    if !absent.is_empty() {
        let absent = absent.join(", ");
        let message = format!("Usecols do not match columns, columns expected but not found: [{absent}]");
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    Ok(columns.into_iter().zip(keep).filter_map(|(column, keep)| keep.then_some(column)).collect())
}
