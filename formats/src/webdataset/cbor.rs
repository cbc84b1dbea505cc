//! CBOR as Python's `cbor.loads` reads it (dataset-loading.md section 1.11).
//!
//! Owns the reading of the first item into a value; what follows it is not looked at, as in the original. Nothing is
//! allocated from a claimed length. Big numbers that fit are numbers; other tags are refused with `ArrowInvalid` and keys
//! that are no text with `ArrowTypeError`, because Arrow refuses what Python makes of them. Fails with the classes of
//! Python's decoder or `LimitExceeded`.

use std::sync::Arc;

use indexmap::IndexMap;

use super::budget::Values;
use super::decode::too_large;
use crate::encoding::strict_utf8;
use crate::error::{ErrorClass, FormatError};
use crate::python_values::{class_name, repr_text};
use crate::value::Value;

/// Reads a document.
pub(super) fn parse(content: &[u8]) -> Result<Value, FormatError> {
    if content.is_empty() {
        return Err(invalid("got zero length string in loads"));
    }
    Parser { rest: content, values: Values::new() }.value(0)
}

fn invalid(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

/// The head of an item.
#[derive(Clone, Copy)]
struct Head {
    /// The byte that it begins with.
    first: u8,
    /// Its number: a value, a length, a count or a tag.
    number: u64,
}

impl Head {
    fn major(self) -> u8 {
        self.first >> 5
    }

    /// Whether its length is open, to be ended by a break.
    fn is_open(self) -> bool {
        self.first & 0x1f == 31
    }

    fn is_break(self) -> bool {
        self.first == 0xff
    }

    fn count(self) -> u64 {
        if self.is_open() { u64::MAX } else { self.number }
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    values: Values,
}

impl<'a> Parser<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn head(&mut self) -> Result<Head, FormatError> {
        let exhausted = || FormatError::new(ErrorClass::LookupError, "buffer exhausted");
        let first = self.bytes(1).ok_or_else(exhausted)?[0];
        let number = match first & 0x1f {
            small @ 0..=23 => small.into(),
            width @ 24..=27 => {
                let bytes = self.bytes(1 << (width - 24)).ok_or_else(exhausted)?;
                bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
            _ => 0,
        };
        Ok(Head { first, number })
    }

    fn value(&mut self, depth: usize) -> Result<Value, FormatError> {
        let head = self.head()?;
        self.item(head, depth)
    }

    fn item(&mut self, head: Head, depth: usize) -> Result<Value, FormatError> {
        self.values.take_at(depth)?;
        match head.major() {
            0 => Ok(i64::try_from(head.number).map_or(Value::UInt(head.number), Value::Int)),
            1 => i64::try_from(head.number).map(|number| Value::Int(-1 - number)).map_err(|_| too_large()),
            2 => Ok(Value::Bytes(self.string(head, "BYTES")?.into())),
            3 => {
                let bytes = self.string(head, "TEXT")?;
                let text = strict_utf8(&bytes)
                    .map_err(|_| FormatError::new(ErrorClass::RuntimeError, "unknown error decoding TEXT"))?;
                Ok(Value::str(text))
            }
            4 => self.array(head, depth),
            5 => self.map(head, depth),
            6 => self.tagged(head.number, depth),
            _ => special(head),
        }
    }

    /// The bytes of a string, in one piece or in several of the same kind.
    fn string(&mut self, head: Head, kind: &str) -> Result<Vec<u8>, FormatError> {
        if !head.is_open() {
            return self.piece(head.number).map(<[u8]>::to_vec);
        }
        let mut whole = Vec::new();
        loop {
            let piece = self.head()?;
            if piece.is_break() {
                return Ok(whole);
            }
            if piece.major() != head.major() || piece.is_open() {
                let message = format!("unknown error decoding VAR {kind}");
                return Err(FormatError::new(ErrorClass::RuntimeError, message));
            }
            whole.extend_from_slice(self.piece(piece.number)?);
        }
    }

    fn piece(&mut self, length: u64) -> Result<&'a [u8], FormatError> {
        let there = self.rest.len();
        let bytes = usize::try_from(length).ok().and_then(|length| self.bytes(length));
        bytes.ok_or_else(|| invalid(format!("buffer read for {length} but only have {there}\n")))
    }

    fn array(&mut self, head: Head, depth: usize) -> Result<Value, FormatError> {
        let mut items = Vec::new();
        for _ in 0..head.count() {
            let item = self.head()?;
            if head.is_open() && item.is_break() {
                break;
            }
            items.push(self.item(item, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, head: Head, depth: usize) -> Result<Value, FormatError> {
        let mut members: IndexMap<Arc<str>, Value> = IndexMap::new();
        for _ in 0..head.count() {
            let key = self.head()?;
            if head.is_open() && key.is_break() {
                break;
            }
            let name = match self.item(key, depth + 1)? {
                Value::Str(name) => name,
                Value::Bytes(name) => strict_utf8(&name)?.into(),
                other => {
                    let class = class_name(&other);
                    let message = format!("Expected dict key of type str or bytes, got '{class}'");
                    return Err(FormatError::new(ErrorClass::ArrowTypeError, message));
                }
            };
            members.insert(name, self.value(depth + 1)?);
        }
        Ok(Value::Struct(members.into_iter().collect()))
    }

    fn tagged(&mut self, tag: u64, depth: usize) -> Result<Value, FormatError> {
        if !matches!(tag, 2 | 3) {
            let value = repr_text(&self.value(depth + 1)?);
            let shown: String = value.chars().take(100).collect();
            let message = format!(
                "Could not convert Tag({tag}, {shown}) with type Tag: did not recognize Python value type when \
                 inferring an Arrow data type"
            );
            return Err(FormatError::new(ErrorClass::ArrowInvalid, message));
        }
        let head = self.head()?;
        if head.major() != 2 {
            return Err(invalid(format!("TAG BIGNUM not followed by bytes but {:02x}", head.first)));
        }
        let bytes = self.string(head, "BYTES")?;
        let magnitude = bytes
            .iter()
            .try_fold(0_u64, |number, byte| number.checked_mul(256)?.checked_add(u64::from(*byte)));
        let magnitude = magnitude.ok_or_else(too_large)?;
        let number = i64::try_from(magnitude).map_err(|_| too_large())?;
        Ok(Value::Int(if tag == 2 { number } else { -1 - number }))
    }
}

/// What is neither number nor string nor container.
fn special(head: Head) -> Result<Value, FormatError> {
    match head.first {
        0xf4 | 0xf5 => Ok(Value::Bool(head.first == 0xf5)),
        0xf6 | 0xf7 => Ok(Value::Null),
        0xf9 => Ok(Value::Float(half::f16::from_bits(head.number as u16).to_f64())),
        0xfa => Ok(Value::Float(f32::from_bits(head.number as u32).into())),
        0xfb => Ok(Value::Float(f64::from_bits(head.number))),
        first => Err(invalid(format!("unknown section 7 marker {first:02x}, aux={}", head.number))),
    }
}
