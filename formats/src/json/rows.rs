//! Values of the first rows, read by the shape that the scan found for the whole chunk.
//!
//! The scan has checked the syntax, so that reading can only fail for text that is not UTF-8.

use std::sync::Arc;

use arrow_schema::TimeUnit;
use outpost_model::limits;

use super::dump;
use super::lexer::{Lexer, RawStr, SyntaxError, Token};
use super::number::{self, Number};
use super::scan::Layout;
use super::shape::{Members, Shape};
use super::timestamp;
use crate::error::{ErrorClass, FormatError};
use crate::json_text::ujson::{write_float, write_string};
use crate::value::Value;

/// How rows are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRules {
    pub(super) layout: Layout,
    /// Whether values passed through ujson's reader and writer.
    pub(super) reencodes: bool,
}

/// Reads rows of one table.
pub(super) struct RowReader<'a> {
    columns: &'a Members,
    rules: RowRules,
    /// Values that the table may still have: a byte or two of text can be one.
    values_left: usize,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(columns: &'a Members, rules: RowRules) -> Self {
        Self { columns, rules, values_left: limits::CELL_VALUES_MAX }
    }

    /// The values of the row that `text` holds, one per column.
    pub(super) fn read_row(&mut self, text: &[u8]) -> Result<Vec<Value>, FormatError> {
        let columns = self.columns;
        let mut lexer = Lexer::new(text, self.rules.layout.grammar());
        if self.rules.layout == Layout::TextItems {
            return columns.iter().map(|(_, shape)| self.value(&mut lexer, shape)).collect();
        }
        match lexer.token().map_err(unexpected)? {
            Token::OpenObject => self.members(&mut lexer, columns),
            _ => Ok(vec![Value::Null; columns.len()]),
        }
    }

    fn take_values(&mut self, count: usize) -> Result<(), FormatError> {
        self.values_left = self.values_left.checked_sub(count).ok_or_else(too_many_values)?;
        Ok(())
    }

    fn value(&mut self, lexer: &mut Lexer<'_>, shape: &Shape) -> Result<Value, FormatError> {
        let token = lexer.token().map_err(unexpected)?;
        if *shape == Shape::Json {
            return json_text(lexer, token);
        }
        Ok(match (token, shape) {
            (Token::Bool(value), Shape::Bool) => Value::Bool(value),
            (Token::Number(text), Shape::Int) => self.int(text),
            (Token::Number(text), Shape::Float) => self.float(text),
            (Token::NonFinite(value), Shape::Float) if !self.rules.reencodes => Value::Float(value),
            (Token::Quote, Shape::Timestamp) => {
                let text = lexer.string().map_err(unexpected)?;
                let seconds = timestamp::parse(&text.unescaped());
                seconds.map_or(Value::Null, |seconds| Value::Timestamp(seconds, TimeUnit::Second, None))
            }
            (Token::Quote, _) => Value::Str(text(lexer.string().map_err(unexpected)?)?),
            (Token::OpenArray, Shape::List(item)) => self.list(lexer, item)?,
            (Token::OpenObject, Shape::Struct(members)) => {
                let values = self.members(lexer, members)?;
                Value::Struct(members.iter().map(|(name, _)| Arc::clone(name)).zip(values).collect())
            }
            (token, _) => {
                dump::rewrite(lexer, token, &mut String::new()).map_err(unexpected)?;
                Value::Null
            }
        })
    }

    fn int(&self, text: &[u8]) -> Value {
        let value = match self.rules.reencodes {
            false => number::to_i64(text),
            true => match number::read_ujson(text) {
                Ok(Number::Int(value)) => Some(value),
                _ => None,
            },
        };
        value.map_or(Value::Null, Value::Int)
    }

    fn float(&self, text: &[u8]) -> Value {
        if !self.rules.reencodes {
            return Value::Float(number::to_f64(text));
        }
        match number::read_ujson(text) {
            Ok(Number::Int(value)) => Value::Float(value as f64),
            Ok(Number::UInt(value)) => Value::Float(value as f64),
            Ok(Number::Float(value)) if value.is_finite() => {
                let mut written = String::new();
                write_float(value, &mut written);
                Value::Float(number::to_f64(written.as_bytes()))
            }
            _ => Value::Null,
        }
    }

    fn list(&mut self, lexer: &mut Lexer<'_>, item: &Shape) -> Result<Value, FormatError> {
        let mut items = Vec::new();
        let mut more = lexer.first_item();
        while more {
            self.take_values(1)?;
            items.push(self.value(lexer, item)?);
            more = lexer.next_item().map_err(unexpected)?;
        }
        Ok(Value::List(items))
    }

    /// The rest of an object, in the order of `members`.
    fn members(&mut self, lexer: &mut Lexer<'_>, members: &Members) -> Result<Vec<Value>, FormatError> {
        self.take_values(members.len())?;
        let mut values = vec![Value::Null; members.len()];
        let mut guess = 0;
        let mut more = lexer.object_name(true).map_err(unexpected)?;
        while more {
            let name = lexer.string().map_err(unexpected)?.unescaped();
            lexer.colon().map_err(unexpected)?;
            match position(members, &name, guess) {
                Some(at) => {
                    values[at] = self.value(lexer, &members[at].1)?;
                    guess = at + 1;
                }
                None => {
                    self.value(lexer, &Shape::Null)?;
                }
            }
            more =
                lexer.next_member().map_err(unexpected)? && lexer.object_name(false).map_err(unexpected)?;
        }
        Ok(values)
    }
}

/// The error for rows or a document with too many values.
pub(super) fn too_many_values() -> FormatError {
    FormatError::new(
        ErrorClass::LimitExceeded,
        format!(
            "The first rows of this JSON file hold more than {} values; write shorter lists.",
            limits::CELL_VALUES_MAX
        ),
    )
}

/// For a syntax error in what was scanned without one.
fn unexpected(error: SyntaxError) -> FormatError {
    match error {
        SyntaxError::Limit(error) => error,
        SyntaxError::Message(message) => FormatError::new(ErrorClass::ValueError, message),
    }
}

fn position(members: &Members, name: &[u8], guess: usize) -> Option<usize> {
    let is_name = |(known, _): &(Arc<str>, Shape)| {
        known.as_bytes() == name
            || (known.contains(char::REPLACEMENT_CHARACTER) && **known == *String::from_utf8_lossy(name))
    };
    if members.get(guess).is_some_and(is_name) {
        return Some(guess);
    }
    members.iter().position(is_name)
}

/// A cell of JSON text: strings that are JSON themselves stay as they are (dataset-loading.md section 1.7, step 5).
fn json_text(lexer: &mut Lexer<'_>, token: Token<'_>) -> Result<Value, FormatError> {
    let mut out = String::new();
    match token {
        Token::Null | Token::NonFinite(_) => return Ok(Value::Null),
        Token::Quote => {
            let text = text(lexer.string().map_err(unexpected)?)?;
            if dump::is_readable(text.as_bytes()) {
                return Ok(Value::Str(text));
            }
            write_string(&text, &mut out);
        }
        token => dump::rewrite(lexer, token, &mut out).map_err(unexpected)?,
    }
    Ok(Value::Str(out.into()))
}

fn text(raw: RawStr<'_>) -> Result<Arc<str>, FormatError> {
    let bytes = raw.unescaped();
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.into()),
        Err(error) => {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            let why = match error.error_len() {
                None => "unexpected end of data",
                Some(_) if (0xc2..=0xf4).contains(&byte) => "invalid continuation byte",
                Some(_) => "invalid start byte",
            };
            Err(FormatError::new(
                ErrorClass::UnicodeDecodeError,
                format!("'utf-8' codec can't decode byte 0x{byte:02x} in position {at}: {why}"),
            ))
        }
    }
}
