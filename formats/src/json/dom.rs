//! A whole JSON document in memory, as ujson reads it.
//!
//! Only for documents that pandas reads as a frame; bounded in bytes by the caller and in depth here.

use outpost_model::limits;

use super::lexer::{Lexer, SyntaxError, Token};
use super::number::{self, Number};
use super::rows::too_many_values;
use crate::json_text::ujson::write_float;

/// A value of Python's kinds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dom {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Str(String),
    Array(Vec<Dom>),
    /// In order; of members of one name the last is kept, at the place of the first.
    Object(Vec<(String, Dom)>),
}

/// How numbers come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// Read once.
    One,
    /// Read, written and read again.
    Two,
}

/// Reads the next value.
pub(super) fn read(lexer: &mut Lexer<'_>, passes: Passes) -> Result<Dom, SyntaxError> {
    let mut values_left = limits::CELL_VALUES_MAX;
    read_nested(lexer, passes, 0, &mut values_left)
}

fn read_nested(
    lexer: &mut Lexer<'_>,
    passes: Passes,
    depth: usize,
    values_left: &mut usize,
) -> Result<Dom, SyntaxError> {
    *values_left = values_left.checked_sub(1).ok_or_else(|| SyntaxError::Limit(too_many_values()))?;
    if depth > limits::NESTING_DEPTH_MAX {
        return Err(SyntaxError::limit(format!(
            "JSON values are nested more than {} levels deep; flatten them.",
            limits::NESTING_DEPTH_MAX
        )));
    }
    Ok(match lexer.token()? {
        Token::Null => Dom::Null,
        Token::Bool(value) => Dom::Bool(value),
        Token::Number(text) => read_number(text, passes)?,
        Token::NonFinite(value) if value.is_nan() || passes == Passes::Two => Dom::Null,
        Token::NonFinite(value) => Dom::Float(value),
        Token::Quote => Dom::Str(read_text(lexer)?),
        Token::OpenArray => {
            let mut items = Vec::new();
            let mut more = lexer.first_item();
            while more {
                items.push(read_nested(lexer, passes, depth + 1, values_left)?);
                more = lexer.next_item()?;
            }
            Dom::Array(items)
        }
        Token::OpenObject => {
            let mut members = Vec::new();
            let mut more = lexer.object_name(true)?;
            while more {
                let name = read_text(lexer)?;
                lexer.colon()?;
                members.push((name, read_nested(lexer, passes, depth + 1, values_left)?));
                more = lexer.next_member()? && lexer.object_name(false)?;
            }
            Dom::Object(without_duplicates(members))
        }
    })
}

fn read_text(lexer: &mut Lexer<'_>) -> Result<String, SyntaxError> {
    let bytes = lexer.string()?.unescaped().into_owned();
    String::from_utf8(bytes)
        .map_err(|_| SyntaxError::Message("Invalid octet in UTF-8 sequence when decoding 'string'".into()))
}

fn read_number(text: &[u8], passes: Passes) -> Result<Dom, SyntaxError> {
    let number = number::read_ujson(text).map_err(|what| SyntaxError::Message(what.into()))?;
    Ok(match number {
        Number::Int(value) => Dom::Int(value),
        Number::UInt(value) => Dom::UInt(value),
        Number::Float(value) if passes == Passes::One => Dom::Float(value),
        Number::Float(value) if !value.is_finite() => Dom::Null,
        Number::Float(value) => {
            let mut written = String::new();
            write_float(value, &mut written);
            return read_number(written.as_bytes(), Passes::One);
        }
    })
}

fn without_duplicates(members: Vec<(String, Dom)>) -> Vec<(String, Dom)> {
    let mut kept: indexmap::IndexMap<String, Dom> = indexmap::IndexMap::with_capacity(members.len());
    kept.extend(members);
    kept.into_iter().collect()
}
