//! Options of the csv module, from a README config to checked values.
//!
//! Owns names, defaults and error texts of the pandas parameters in dataset-loading.md section 1.6. What pandas would hand to its
//! Python engine (regular expressions, footers, converters) is refused with `ValueError` naming the option.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::cells::{CellRules, Missing, MissingRules};
use super::dialect::{Delimiter, Dialect, OnBadLine, SkipLines};
use super::number::NumberStyle;
use crate::encoding::{Encoding, OnInvalid};
use crate::error::{ErrorClass, FormatError};
use crate::module::Params;

/// Every option that a config may set.
pub(super) const PARAM_NAMES: &[&str] = &[
    "sep",
    "delimiter",
    "header",
    "names",
    "column_names",
    "index_col",
    "usecols",
    "prefix",
    "mangle_dupe_cols",
    "engine",
    "converters",
    "true_values",
    "false_values",
    "skipinitialspace",
    "skiprows",
    "nrows",
    "na_values",
    "keep_default_na",
    "na_filter",
    "verbose",
    "skip_blank_lines",
    "thousands",
    "decimal",
    "lineterminator",
    "quotechar",
    "quoting",
    "escapechar",
    "comment",
    "encoding",
    "dialect",
    "error_bad_lines",
    "warn_bad_lines",
    "skipfooter",
    "doublequote",
    "memory_map",
    "float_precision",
    "chunksize",
    "features",
    "encoding_errors",
    "on_bad_lines",
    "date_format",
];

/// Rows per chunk, inferred together.
const CHUNK_ROWS: usize = 10_000;

/// A column by name or by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ColumnRef {
    Name(String),
    /// From the end when negative.
    Position(i64),
}

/// Which columns are the index, which comes last in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IndexColumns {
    /// The surplus ones at the start, when rows are longer than the header.
    Surplus,
    /// None, and surplus fields are dropped.
    Never,
    Chosen(Vec<ColumnRef>),
}

/// Checked options.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) dialect: Dialect,
    /// The row that names the columns, counted after skipped and blank ones; `None` without header.
    pub(super) header: Option<u64>,
    pub(super) names: Option<Vec<String>>,
    pub(super) index: IndexColumns,
    pub(super) usecols: Option<Vec<ColumnRef>>,
    pub(super) rows_max: u64,
    pub(super) chunk_rows: usize,
    pub(super) encoding: Encoding,
    pub(super) on_invalid: OnInvalid,
    pub(super) missing: MissingRules,
    pub(super) cells: CellRules,
}

impl Options {
    /// Checks the options of a config.
    ///
    /// # Errors
    /// `ValueError` or `TypeError` with pandas' text where pandas refuses too.
    pub(super) fn from_params(params: &Params) -> Result<Self, FormatError> {
        let params = Reader(params);
        params.refuse_unsupported()?;
        let names = params.names()?;
        let quoting = params.quoting()?;
        Ok(Self {
            header: params.header(names.is_some())?,
            names,
            index: params.index()?,
            usecols: params.usecols()?,
            rows_max: params.whole("nrows")?.unwrap_or(u64::MAX),
            chunk_rows: params.chunk_rows()?,
            encoding: Encoding::named(params.text("encoding")?.unwrap_or("utf-8"))?,
            on_invalid: OnInvalid::named(params.text("encoding_errors")?.unwrap_or("strict"))?,
            missing: params.missing()?,
            cells: CellRules {
                numbers: NumberStyle {
                    decimal: params.decimal()?,
                    thousands: params.byte("thousands", "Only length-1 thousands markers supported")?,
                    round_trip: params.round_trip()?,
                },
                true_words: params.words("true_values")?,
                false_words: params.words("false_values")?,
                integers: quoting != QUOTE_NONNUMERIC,
            },
            dialect: params.dialect(quoting)?,
        })
    }
}

const QUOTE_NONNUMERIC: u64 = 2;
const QUOTE_NONE: u64 = 3;

fn value_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

fn type_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::TypeError, message)
}

fn unsupported(name: &str, advice: &str) -> FormatError {
    value_error(format!("csv option '{name}' is not supported with this value: {advice}"))
}

/// Options as they stand in the config.
struct Reader<'a>(&'a Params);

impl<'a> Reader<'a> {
    /// The value of an option; null counts as not set.
    fn get(&self, name: &str) -> Option<&'a Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, FormatError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(type_error(format!("csv option '{name}' must be a string, not {other}"))),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, FormatError> {
        match self.get(name) {
            None => Ok(default),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(Json::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Some(other) => Err(type_error(format!("csv option '{name}' must be true or false, not {other}"))),
        }
    }

    fn whole(&self, name: &str) -> Result<Option<u64>, FormatError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => whole_number(value)
                .map(|number| Some(u64::try_from(number).unwrap_or(0)))
                .ok_or_else(|| value_error(format!("'{name}' must be an integer >=0"))),
        }
    }

    /// A single ASCII character.
    fn byte(&self, name: &str, refusal: &str) -> Result<Option<u8>, FormatError> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match text.as_bytes() {
                [byte] => Ok(Some(*byte)),
                _ => Err(value_error(refusal)),
            },
        }
    }

    fn refuse_unsupported(&self) -> Result<(), FormatError> {
        for name in ["prefix", "error_bad_lines", "warn_bad_lines"] {
            let default = Json::String("deprecated".into());
            if self.get(name).is_some_and(|value| *value != default) {
                return Err(type_error(format!("read_csv() got an unexpected keyword argument '{name}'")));
            }
        }
        if self.get("mangle_dupe_cols").is_some_and(|value| *value != Json::Bool(true)) {
            return Err(type_error("read_csv() got an unexpected keyword argument 'mangle_dupe_cols'"));
        }
        if self.get("skipfooter").is_some_and(|value| whole_number(value) != Some(0)) {
            return Err(value_error("'skipfooter' not supported for iteration"));
        }
        if self.get("converters").is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty())) {
            return Err(unsupported("converters", "functions cannot be given in YAML"));
        }
        if self.get("dialect").is_some() {
            return Err(unsupported("dialect", "set sep, quotechar and escapechar instead"));
        }
        match self.text("engine")? {
            None | Some("c" | "python") => Ok(()),
            Some(_) => Err(unsupported("engine", "leave it out")),
        }
    }

    /// `column_names` replaces `names`.
    fn names(&self) -> Result<Option<Vec<String>>, FormatError> {
        let Some(value) = self.get("column_names").or_else(|| self.get("names")) else { return Ok(None) };
        let Json::Array(items) = value else {
            return Err(value_error("Names should be an ordered collection."));
        };
        let names: Vec<String> = items.iter().map(python_text).collect();
        let unique: HashSet<&String> = names.iter().collect();
        if unique.len() < names.len() {
            return Err(value_error("Duplicate names are not allowed."));
        }
        Ok(Some(names))
    }

    fn header(&self, has_names: bool) -> Result<Option<u64>, FormatError> {
        let Some(value) = self.0.get("header") else { return Ok((!has_names).then_some(0)) };
        match value {
            Json::Null => Ok(None),
            Json::String(text) if text == "infer" => Ok((!has_names).then_some(0)),
            Json::Bool(_) => Err(type_error(
                "Passing a bool to header is invalid. Use header=None for no header or header=int or list-like \
                 of ints to specify the row(s) making up the column names",
            )),
            Json::Number(_) => match whole_number(value) {
                Some(row @ 0..) => Ok(Some(row.unsigned_abs())),
                Some(_) => Err(value_error(
                    "Passing negative integer to header is invalid. For no header, use header=None instead",
                )),
                None => Err(value_error("header must be integer or list of integers")),
            },
            Json::Array(_) => Err(unsupported("header", "only one header row can be read")),
            _ => Err(value_error("header must be integer or list of integers")),
        }
    }

    fn column_refs(&self, value: &Json, refusal: &str) -> Result<Vec<ColumnRef>, FormatError> {
        let items = match value {
            Json::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let one = |item: &Json| match item {
            Json::String(name) => Some(ColumnRef::Name(name.clone())),
            Json::Number(_) => whole_number(item).map(ColumnRef::Position),
            _ => None,
        };
        items.iter().map(one).collect::<Option<_>>().ok_or_else(|| value_error(refusal))
    }

    fn index(&self) -> Result<IndexColumns, FormatError> {
        match self.get("index_col") {
            None => Ok(IndexColumns::Surplus),
            Some(Json::Bool(false)) => Ok(IndexColumns::Never),
            Some(Json::Bool(true)) => Err(value_error("The value of index_col couldn't be 'True'")),
            Some(value) => {
                let refusal = "index_col must only contain row numbers or column names";
                Ok(IndexColumns::Chosen(self.column_refs(value, refusal)?))
            }
        }
    }

    fn usecols(&self) -> Result<Option<Vec<ColumnRef>>, FormatError> {
        let refusal =
            "'usecols' must either be list-like of all strings, all unicode, all integers or a callable.";
        let Some(value) = self.get("usecols") else { return Ok(None) };
        if !value.is_array() {
            return Err(value_error(refusal));
        }
        let refs = self.column_refs(value, refusal)?;
        let named = refs.iter().filter(|column| matches!(column, ColumnRef::Name(_))).count();
        if named != 0 && named != refs.len() {
            return Err(value_error(refusal));
        }
        Ok(Some(refs))
    }

    fn chunk_rows(&self) -> Result<usize, FormatError> {
        match self.0.get("chunksize") {
            None => Ok(CHUNK_ROWS),
            Some(Json::Null) => Ok(usize::MAX),
            Some(value) => match whole_number(value).map(usize::try_from) {
                Some(Ok(rows @ 1..)) => Ok(rows),
                _ => Err(value_error("'chunksize' must be an integer >=1")),
            },
        }
    }

    fn decimal(&self) -> Result<u8, FormatError> {
        Ok(self.byte("decimal", "Only length-1 decimal markers supported")?.unwrap_or(b'.'))
    }

    fn round_trip(&self) -> Result<bool, FormatError> {
        match self.text("float_precision")? {
            None | Some("high") => Ok(false),
            Some("round_trip") => Ok(true),
            Some("legacy") => Err(unsupported("float_precision", "use 'high' or 'round_trip'")),
            Some(other) => Err(value_error(format!("Unrecognized float_precision option: {other}"))),
        }
    }

    fn words(&self, name: &str) -> Result<HashSet<Vec<u8>>, FormatError> {
        match self.get(name) {
            None => Ok(HashSet::new()),
            Some(Json::Array(items)) => Ok(items.iter().map(|item| python_text(item).into_bytes()).collect()),
            Some(_) => Err(type_error(format!("csv option '{name}' must be a list"))),
        }
    }

    fn missing(&self) -> Result<MissingRules, FormatError> {
        if !self.flag("na_filter", true)? {
            return Ok(MissingRules::default());
        }
        let defaults = self.flag("keep_default_na", true)?;
        let common = Arc::new(Missing { defaults, ..Missing::default() });
        let mut rules = MissingRules { common, ..MissingRules::default() };
        match self.get("na_values") {
            None => {}
            Some(Json::Object(by_column)) => {
                for (column, value) in by_column {
                    rules.by_column.insert(column.clone(), Arc::new(missing_markers(value, defaults)));
                }
            }
            Some(value) => rules.common = Arc::new(missing_markers(value, defaults)),
        }
        Ok(rules)
    }

    fn quoting(&self) -> Result<u64, FormatError> {
        match self.whole("quoting")?.unwrap_or(0) {
            quoting @ 0..=3 => Ok(quoting),
            _ => Err(type_error("bad \"quoting\" value")),
        }
    }

    fn delimiter(&self) -> Result<Delimiter, FormatError> {
        let advice = "use one ASCII character, or '\\s+'";
        let text = match self.text("delimiter")? {
            Some(text) => text,
            None if self.0.get("sep").is_some_and(Json::is_null) => return Err(unsupported("sep", advice)),
            None => self.text("sep")?.unwrap_or(","),
        };
        match text.as_bytes() {
            [byte] => Ok(Delimiter::Byte(*byte)),
            b"\\s+" => Ok(Delimiter::Spaces),
            b"\\t" => Ok(Delimiter::Byte(b'\t')),
            [] => Err(value_error(
                "only single character unicode strings can be converted to Py_UCS4, got length 0",
            )),
            _ => Err(unsupported("sep", advice)),
        }
    }

    fn quote(&self, quoting: u64) -> Result<Option<u8>, FormatError> {
        if quoting == QUOTE_NONE {
            return Ok(None);
        }
        match self.0.get("quotechar") {
            None => Ok(Some(b'"')),
            Some(Json::Null) => Err(type_error("quotechar must be set if quoting enabled")),
            Some(_) => self
                .byte("quotechar", "\"quotechar\" must be a 1-character string")
                .map_err(|error| type_error(error.message)),
        }
    }

    fn skip_lines(&self) -> Result<SkipLines, FormatError> {
        match self.get("skiprows") {
            None => Ok(SkipLines::First(0)),
            Some(Json::Array(lines)) => {
                let lines =
                    lines.iter().map(|line| whole_number(line).and_then(|line| u64::try_from(line).ok()));
                lines
                    .collect::<Option<_>>()
                    .map(SkipLines::These)
                    .ok_or_else(|| type_error("an integer is required"))
            }
            Some(value) => whole_number(value)
                .map(|count| SkipLines::First(u64::try_from(count).unwrap_or(0)))
                .ok_or_else(|| type_error("an integer is required")),
        }
    }

    fn dialect(&self, quoting: u64) -> Result<Dialect, FormatError> {
        Ok(Dialect {
            delimiter: self.delimiter()?,
            quote: self.quote(quoting)?,
            escape: self.byte("escapechar", "Only length-1 escapes supported")?,
            comment: self.byte("comment", "Only length-1 comment characters supported")?,
            terminator: self.byte("lineterminator", "Only length-1 line terminators supported")?,
            double_quote: self.flag("doublequote", true)?,
            skip_initial_space: self.flag("skipinitialspace", false)?,
            skip_blank_lines: self.flag("skip_blank_lines", true)?,
            skip_lines: self.skip_lines()?,
            on_bad_line: match self.text("on_bad_lines")? {
                None | Some("error") => OnBadLine::Fail,
                Some("warn" | "skip") => OnBadLine::Skip,
                Some(other) => {
                    return Err(value_error(format!("Argument {other} is invalid for on_bad_lines")));
                }
            },
        })
    }
}

/// An integer, also when written as a float.
fn whole_number(value: &Json) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // The bounds keep the conversion exact.
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    })
}

/// A scalar as Python's `str` shows it.
fn python_text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Bool(true) => "True".into(),
        Json::Bool(false) => "False".into(),
        Json::Null => "None".into(),
        other => other.to_string(),
    }
}

/// Markers from one value or a list: each as written, and numbers also as integer and float texts.
fn missing_markers(value: &Json, defaults: bool) -> Missing {
    let items = match value {
        Json::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut missing = Missing { defaults, ..Missing::default() };
    for item in items {
        let text = python_text(item);
        if let Ok(number) = text.trim().parse::<f64>()
            && !number.is_nan()
        {
            missing.floats.push(number);
            if number.fract() == 0.0 && number.abs() < 1e15 {
                missing.texts.insert(format!("{number:.1}").into_bytes());
                missing.texts.insert(format!("{number:.0}").into_bytes());
            }
        }
        missing.texts.insert(text.into_bytes());
    }
    missing
}
