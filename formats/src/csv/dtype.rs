//! Dtypes that a config's features ask for, and values of finished columns.
//!
//! Owns what pandas does with a `dtype` per column (dataset-loading.md section 1.6): text stays text, numbers are read as such or
//! refused with pandas' words. Without a dtype a column takes its inferred type.

use std::sync::Arc;

use arrow_schema::DataType;

use super::cells::{CellRules, Missing};
use super::infer::{ColumnState, Inferred};
use super::number::{self, NotInteger, NumberStyle, Unsigned};
use crate::error::{ErrorClass, FormatError};
use crate::features::Feature;
use crate::value::Value;

/// What a feature makes pandas read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Objects: text, whatever it looks like.
    Text,
    /// An integer type of this width and sign.
    Integer(DataType),
    /// `float16`, `float32`, `float64`.
    Float(DataType),
    Bool,
    /// Dates, timestamps and durations: pandas refuses them with these words.
    Refused(String),
}

impl Wanted {
    /// The pandas dtype of a feature.
    pub(super) fn of_feature(feature: &Feature) -> Self {
        let Feature::Value { dtype, .. } = feature else { return Self::Text };
        match &**dtype {
            "int8" => Self::Integer(DataType::Int8),
            "int16" => Self::Integer(DataType::Int16),
            "int32" => Self::Integer(DataType::Int32),
            "int64" => Self::Integer(DataType::Int64),
            "uint8" => Self::Integer(DataType::UInt8),
            "uint16" => Self::Integer(DataType::UInt16),
            "uint32" => Self::Integer(DataType::UInt32),
            "uint64" => Self::Integer(DataType::UInt64),
            "float16" => Self::Float(DataType::Float16),
            "float32" | "float" => Self::Float(DataType::Float32),
            "float64" | "double" => Self::Float(DataType::Float64),
            "bool" | "bool_" => Self::Bool,
            dtype => Self::of_other(dtype),
        }
    }

    fn of_other(dtype: &str) -> Self {
        let dates = "pass this column using parse_dates instead";
        let inner = dtype.split_once('[').map_or("ms]", |(_, inner)| inner);
        if dtype.starts_with("timestamp") || matches!(dtype, "date32" | "date64") {
            let inner = inner.replace("tz=", "");
            Self::Refused(format!("the dtype datetime64[{inner} is not supported for parsing, {dates}"))
        } else if dtype.starts_with("duration") {
            Self::Refused(format!("the dtype timedelta64[{inner} is not supported for parsing"))
        } else {
            Self::Text
        }
    }
}

/// What the cells so far allow besides their inferred type.
#[derive(Debug, Clone)]
struct Fallback {
    /// Floats that are whole and in the wanted integer's range.
    whole: bool,
    /// Numbers that are 0 or 1.
    zero_or_one: bool,
    /// The first cell that Python's `int` or `float` refuses; `None` inside for a missing one.
    refused: Option<Option<String>>,
}

/// A column while its cells stream by.
#[derive(Debug, Clone)]
pub(super) struct ColumnReader {
    wanted: Option<Wanted>,
    missing: Arc<Missing>,
    state: ColumnState,
    fallback: Fallback,
}

/// A finished column.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) data_type: DataType,
    form: Form,
}

/// How cells of a finished column become values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Signed integers, cut to the column's width.
    Int,
    UInt,
    FloatFromInt,
    Float,
    Bool,
    /// Numbers that stand for booleans.
    BoolFromNumber,
    /// Booleans that stand for numbers.
    IntFromBool,
    FloatFromBool,
    /// Whole floats read as integers.
    IntFromFloat,
    Text,
    RawText,
}

impl ColumnReader {
    pub(super) fn new(wanted: Option<Wanted>, missing: Arc<Missing>, rules: &CellRules) -> Self {
        let fallback = Fallback { whole: true, zero_or_one: true, refused: None };
        Self { wanted, missing, state: ColumnState::new(rules), fallback }
    }

    /// Forgets the cells of the chunk before.
    pub(super) fn restart(&mut self, rules: &CellRules) {
        self.state = ColumnState::new(rules);
        self.fallback = Fallback { whole: true, zero_or_one: true, refused: None };
    }

    /// Takes the next cell.
    pub(super) fn observe(&mut self, cell: &[u8], rules: &CellRules) {
        match &self.wanted {
            None => {}
            Some(Wanted::Text) => return,
            Some(_) => self.observe_fallback(cell, rules.numbers),
        }
        self.state.observe(cell, &self.missing, rules);
    }

    fn observe_fallback(&mut self, cell: &[u8], style: NumberStyle) {
        if self.missing.contains(cell) {
            if matches!(self.wanted, Some(Wanted::Integer(_))) {
                self.fallback.refused.get_or_insert(None);
            }
            return;
        }
        let value = number::parse_f64(cell, style);
        if let Some(value) = value {
            self.fallback.whole &= value.fract() == 0.0 && self.in_range(value);
            self.fallback.zero_or_one &= value == 0.0 || value == 1.0;
        }
        let refused = match &self.wanted {
            Some(Wanted::Integer(_)) => number::parse_i64(cell, style) == Err(NotInteger::Malformed),
            _ => value.is_none(),
        };
        if refused && self.fallback.refused.is_none() {
            self.fallback.refused = Some(Some(String::from_utf8_lossy(cell).into_owned()));
        }
    }

    fn in_range(&self, value: f64) -> bool {
        match &self.wanted {
            Some(Wanted::Integer(data_type)) => {
                let (low, high) = integer_range(data_type);
                value >= low && value < high
            }
            _ => true,
        }
    }

    /// The column's type after a chunk; `index` is its number for messages.
    ///
    /// # Errors
    /// `ValueError`, `TypeError` or `OverflowError` when the cells do not fit the dtype of the features.
    pub(super) fn finish(&self, index: usize) -> Result<Finished, FormatError> {
        match &self.wanted {
            None => Ok(self.inferred()),
            Some(Wanted::Text) => Ok(Finished { data_type: DataType::Utf8, form: Form::Text }),
            Some(Wanted::Integer(data_type)) => self.finish_integer(data_type, index),
            Some(Wanted::Float(data_type)) => self.finish_float(data_type),
            Some(Wanted::Bool) => self.finish_bool(index),
            Some(Wanted::Refused(message)) => Err(FormatError::new(ErrorClass::TypeError, message)),
        }
    }

    fn inferred(&self) -> Finished {
        let (data_type, form) = match self.state.inferred() {
            Inferred::Int64 => (DataType::Int64, Form::Int),
            Inferred::UInt64 => (DataType::UInt64, Form::UInt),
            Inferred::FloatFromInt => (DataType::Float64, Form::FloatFromInt),
            Inferred::Float64 => (DataType::Float64, Form::Float),
            Inferred::Bool => (DataType::Boolean, Form::Bool),
            Inferred::Text => (DataType::Utf8, Form::Text),
            Inferred::RawText => (DataType::Utf8, Form::RawText),
        };
        Finished { data_type, form }
    }

    fn finish_integer(&self, data_type: &DataType, index: usize) -> Result<Finished, FormatError> {
        if self.state.overflown() {
            return Err(FormatError::new(ErrorClass::OverflowError, "Overflow"));
        }
        let finished = |data_type: &DataType, form| Ok(Finished { data_type: data_type.clone(), form });
        match self.state.inferred() {
            Inferred::Int64 => finished(data_type, Form::Int),
            // pandas leaves these as they are when int64 is asked for.
            Inferred::UInt64 if *data_type == DataType::Int64 => finished(&DataType::UInt64, Form::UInt),
            Inferred::UInt64 => finished(data_type, Form::UInt),
            Inferred::FloatFromInt => {
                Err(value_error(format!("Integer column has NA values in column {index}")))
            }
            Inferred::RawText => Err(value_error("Cannot convert to numerical dtype")),
            Inferred::Float64 if self.fallback.whole && !self.state.missing => {
                finished(data_type, Form::IntFromFloat)
            }
            Inferred::Float64 => Err(self.unsafe_conversion(data_type, "float64", index, "")),
            Inferred::Bool if self.state.missing => {
                Err(self.unsafe_conversion(data_type, "bool", index, " due to NA values"))
            }
            Inferred::Bool => finished(data_type, Form::IntFromBool),
            Inferred::Text => Err(value_error(match &self.fallback.refused {
                Some(Some(text)) => format!("invalid literal for int() with base 10: '{text}'"),
                _ => "cannot convert float NaN to integer".to_owned(),
            })),
        }
    }

    fn finish_float(&self, data_type: &DataType) -> Result<Finished, FormatError> {
        let form = match self.state.inferred() {
            _ if self.fallback.refused.is_none() => Form::Float,
            Inferred::Bool => Form::FloatFromBool,
            _ => {
                let text = self.fallback.refused.clone().flatten().unwrap_or_default();
                return Err(value_error(format!("could not convert string to float: '{text}'")));
            }
        };
        Ok(Finished { data_type: data_type.clone(), form })
    }

    fn finish_bool(&self, index: usize) -> Result<Finished, FormatError> {
        let wanted = DataType::Boolean;
        let found = match self.state.inferred() {
            // No cell has a value.
            Inferred::FloatFromInt if self.state.only_missing() => {
                return Err(value_error(format!("Bool column has NA values in column {index}")));
            }
            Inferred::Bool if self.state.missing => {
                return Err(value_error(format!("Bool column has NA values in column {index}")));
            }
            Inferred::Bool => return Ok(Finished { data_type: wanted, form: Form::Bool }),
            Inferred::Int64 | Inferred::FloatFromInt => "int64",
            Inferred::UInt64 => "uint64",
            Inferred::Float64 => "float64",
            Inferred::Text | Inferred::RawText => "object",
        };
        if found != "object" && self.fallback.zero_or_one && !self.state.missing {
            return Ok(Finished { data_type: wanted, form: Form::BoolFromNumber });
        }
        Err(self.unsafe_conversion(&wanted, found, index, ""))
    }

    fn unsafe_conversion(&self, wanted: &DataType, found: &str, index: usize, tail: &str) -> FormatError {
        let wanted = match wanted {
            DataType::Boolean => "bool".to_owned(),
            other => other.to_string().to_ascii_lowercase(),
        };
        value_error(format!(
            "cannot safely convert passed user dtype of {wanted} for {found} dtyped data in column {index}{tail}"
        ))
    }

    /// A cell as a value of the finished column.
    pub(super) fn value(&self, cell: &[u8], finished: &Finished, rules: &CellRules) -> Value {
        if finished.form != Form::RawText && self.missing.contains(cell) {
            return Value::Null;
        }
        let style = rules.numbers;
        let int = || number::parse_i64(cell, style).unwrap_or_default();
        let uint = || match number::parse_u64(cell, style) {
            Ok(Unsigned::Value(value)) => value,
            _ => 0,
        };
        let float = || number::parse_f64(cell, style).unwrap_or_default();
        let bool = || rules.parse_bool(cell).unwrap_or_default();
        match finished.form {
            Form::Int => cut_integer(int(), &finished.data_type),
            Form::UInt => cut_integer(uint().cast_signed(), &finished.data_type),
            Form::IntFromFloat => whole_float(float(), &finished.data_type),
            Form::IntFromBool => cut_integer(i64::from(bool()), &finished.data_type),
            // pandas marks missing integers by the least one.
            Form::FloatFromInt if int() == i64::MIN => Value::Null,
            Form::FloatFromInt => Value::Float(int() as f64),
            Form::Float if self.missing.contains_float(float()) => Value::Null,
            Form::Float => cut_float(float(), &finished.data_type),
            Form::FloatFromBool => cut_float(f64::from(u8::from(bool())), &finished.data_type),
            Form::Bool => Value::Bool(bool()),
            Form::BoolFromNumber => Value::Bool(float() != 0.0),
            Form::Text | Form::RawText => Value::Str(Arc::from(String::from_utf8_lossy(cell))),
        }
    }
}

fn value_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

/// Least value and the first above the greatest.
fn integer_range(data_type: &DataType) -> (f64, f64) {
    let signed = |bits: i32| (-(2_f64.powi(bits - 1)), 2_f64.powi(bits - 1));
    let unsigned = |bits: i32| (0.0, 2_f64.powi(bits));
    match data_type {
        DataType::Int8 => signed(8),
        DataType::Int16 => signed(16),
        DataType::Int32 => signed(32),
        DataType::UInt8 => unsigned(8),
        DataType::UInt16 => unsigned(16),
        DataType::UInt32 => unsigned(32),
        DataType::UInt64 => unsigned(64),
        _ => signed(64),
    }
}

/// An integer in the column's width; what does not fit wraps, as it does in pandas 2.
fn cut_integer(value: i64, data_type: &DataType) -> Value {
    match data_type {
        DataType::Int8 => Value::Int(i64::from(value as i8)),
        DataType::Int16 => Value::Int(i64::from(value as i16)),
        DataType::Int32 => Value::Int(i64::from(value as i32)),
        DataType::UInt8 => Value::UInt(u64::from(value as u8)),
        DataType::UInt16 => Value::UInt(u64::from(value as u16)),
        DataType::UInt32 => Value::UInt(u64::from(value as u32)),
        DataType::UInt64 => Value::UInt(value.cast_unsigned()),
        _ => Value::Int(value),
    }
}

/// A whole float as an integer of the column's type, whose range it is known to be in.
fn whole_float(value: f64, data_type: &DataType) -> Value {
    match data_type {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Value::UInt(value as u64),
        _ => Value::Int(value as i64),
    }
}

/// A float in the column's precision.
fn cut_float(value: f64, data_type: &DataType) -> Value {
    match data_type {
        DataType::Float32 => Value::Float(f64::from(value as f32)),
        DataType::Float16 => Value::Float(f64::from(half::f16::from_f64(value))),
        _ => Value::Float(value),
    }
}
