//! Cells: the values of a row in the order of the columns, checked against their types.
//!
//! Owns the shape rules of worker-and-store.md section 5.5: a missing column is null, a list is a list of the declared
//! length, a struct has no member that its type lacks. Media become links. Text form is [`write_json`]'s, with cached datetimes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use outpost_formats::json_text::{DatetimeForm, write_json};
use outpost_formats::{Feature, Value};

use super::FirstRowsError;
use super::columns::Column;
use crate::media::{MediaCell, MediaStep};

/// The cells of one row.
pub(super) struct RowCells<'a> {
    columns: &'a [Column<'a>],
    values: Vec<Cow<'a, Value>>,
}

impl<'a> RowCells<'a> {
    pub(super) fn new(columns: &'a [Column<'a>], row: &'a [(Arc<str>, Value)]) -> Self {
        let in_order = row.len() == columns.len()
            && columns.iter().zip(row).all(|(column, (name, _))| column.name == &**name);
        let values = if in_order {
            row.iter().map(|(_, value)| Cow::Borrowed(value)).collect()
        } else {
            let by_name: HashMap<&str, &Value> = row.iter().map(|(name, value)| (&**name, value)).collect();
            let value =
                |column: &Column<'_>| Cow::Borrowed(*by_name.get(column.name).unwrap_or(&&Value::Null));
            columns.iter().map(value).collect()
        };
        Self { columns, values }
    }

    /// Replaces media by what readers get, once the shapes are checked. Their assets are stored also for a row that is
    /// not kept in the end (worker-and-store.md section 5.4 step 2).
    pub(super) fn show_media(&mut self, step: &MediaStep<'_>, row_idx: usize) -> Result<(), FirstRowsError> {
        self.check()?;
        for (column, value) in
            self.columns.iter().zip(&mut self.values).filter(|(column, _)| column.holds_media)
        {
            let shown = MediaCell::new(step, row_idx as u64, column.name).show(value, column.feature);
            *value = Cow::Owned(shown.map_err(|error| FirstRowsError::media(column.name, error))?);
        }
        Ok(())
    }

    /// Hands the JSON text of each checked cell to `take`, in the order of the columns.
    pub(super) fn for_each(&self, mut take: impl FnMut(&Column<'_>, &[u8])) -> Result<(), FirstRowsError> {
        self.check()?;
        let mut text = Vec::new();
        for (column, value) in self.columns.iter().zip(&self.values) {
            text.clear();
            write_json(value, Some(column.feature), DatetimeForm::Cached, &mut text);
            take(column, &text);
        }
        Ok(())
    }

    /// Checks the cells' shapes alone, for rows that are not kept.
    pub(super) fn check(&self) -> Result<(), FirstRowsError> {
        for (column, value) in self.columns.iter().zip(&self.values) {
            check_value(value, column.feature)
                .map_err(|reason| FirstRowsError::Cell { column: column.name.to_string(), reason })?;
        }
        Ok(())
    }
}

fn check_value(value: &Value, feature: &Feature) -> Result<(), String> {
    match (feature, value) {
        (_, Value::Null) => Ok(()),
        (Feature::List { feature, length }, Value::List(items)) => {
            if let Some(length) = length.filter(|length| *length != items.len()) {
                return Err(format!("a list has {} items where its type says {length}", items.len()));
            }
            check_items(items, feature)
        }
        (Feature::LargeList { feature }, Value::List(items)) => check_items(items, feature),
        (Feature::List { .. } | Feature::LargeList { .. }, _) => Err("a cell of a list is not a list".into()),
        (Feature::Struct(features), Value::Struct(members)) => {
            members.iter().try_for_each(|(name, member)| match features.get(name) {
                Some(feature) => check_value(member, feature),
                None => Err(format!("a cell has the member '{name}', which its type lacks")),
            })
        }
        (Feature::Struct(_), _) => Err("a cell of a struct is not a struct".into()),
        (
            Feature::Value { .. }
            | Feature::Media(_)
            | Feature::ClassLabel { .. }
            | Feature::Array { .. }
            | Feature::Translation { .. }
            | Feature::TranslationVariableLanguages { .. }
            | Feature::Json { .. },
            _,
        ) => Ok(()),
    }
}

fn check_items(items: &[Value], feature: &Feature) -> Result<(), String> {
    let nested = matches!(feature, Feature::List { .. } | Feature::LargeList { .. } | Feature::Struct(_));
    if !nested {
        return Ok(());
    }
    items.iter().try_for_each(|item| check_value(item, feature))
}
