//! MessagePack as Python's `msgpack.unpackb` reads it (dataset-loading.md section 1.11).
//!
//! Owns the reading of one document into a value; of members with one name the last counts. Nothing is allocated from a
//! claimed length. Refuses extension types and keys that are no text, which the original refuses too, with `ArrowInvalid`
//! and `ValueError`. Fails with `ValueError`, `UnicodeDecodeError` or `LimitExceeded`.

use std::sync::Arc;

use indexmap::IndexMap;

use super::budget::Values;
use crate::encoding::strict_utf8;
use crate::error::{ErrorClass, FormatError};
use crate::python_values::{class_name, repr_text};
use crate::value::Value;

/// The type of extensions that are instants.
const TIMESTAMP: u8 = 0xff;

/// Reads a document.
pub(super) fn parse(content: &[u8]) -> Result<Value, FormatError> {
    let mut parser = Parser { rest: content, values: Values::new() };
    let value = parser.value(0)?;
    if parser.rest.is_empty() { Ok(value) } else { Err(invalid("unpack(b) received extra data.")) }
}

fn invalid(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

struct Parser<'a> {
    rest: &'a [u8],
    values: Values,
}

impl<'a> Parser<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (bytes, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| invalid("Unpack failed: incomplete input"))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A big-endian number of up to 8 bytes.
    fn number(&mut self, width: usize) -> Result<u64, FormatError> {
        Ok(self.bytes(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Result<usize, FormatError> {
        Ok(usize::try_from(self.number(width)?).unwrap_or(usize::MAX))
    }

    fn signed(&mut self, width: usize) -> Result<Value, FormatError> {
        let unused = 64 - 8 * width as u32;
        Ok(Value::Int((self.number(width)? << unused).cast_signed() >> unused))
    }

    fn unsigned(&mut self, width: usize) -> Result<Value, FormatError> {
        let number = self.number(width)?;
        Ok(i64::try_from(number).map_or(Value::UInt(number), Value::Int))
    }

    fn value(&mut self, depth: usize) -> Result<Value, FormatError> {
        self.values.take_at(depth)?;
        let marker = self.bytes(1)?[0];
        // The last bits of a marker tell the width of what follows: 1, 2, 4 or 8 bytes.
        let width = |first: u8| 1_usize << (marker - first);
        match marker {
            0x00..=0x7f => Ok(Value::Int(marker.into())),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth),
            0x90..=0x9f => self.array(usize::from(marker & 0x0f), depth),
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f)),
            0xc0 => Ok(Value::Null),
            0xc1 => Err(invalid("Unpack failed: 0xc1 begins no value of MessagePack")),
            0xc2 | 0xc3 => Ok(Value::Bool(marker == 0xc3)),
            0xc4..=0xc6 => {
                let length = self.length(width(0xc4))?;
                Ok(Value::Bytes(self.bytes(length)?.into()))
            }
            0xc7..=0xc9 => {
                let length = self.length(width(0xc7))?;
                self.extension(length)
            }
            0xca => Ok(Value::Float(f32::from_bits(self.number(4)? as u32).into())),
            0xcb => Ok(Value::Float(f64::from_bits(self.number(8)?))),
            0xcc..=0xcf => self.unsigned(width(0xcc)),
            0xd0..=0xd3 => self.signed(width(0xd0)),
            0xd4..=0xd8 => self.extension(width(0xd4)),
            0xd9..=0xdb => {
                let length = self.length(width(0xd9))?;
                self.text(length)
            }
            0xdc | 0xdd => {
                let count = self.length(2 * width(0xdc))?;
                self.array(count, depth)
            }
            0xde | 0xdf => {
                let count = self.length(2 * width(0xde))?;
                self.map(count, depth)
            }
            0xe0..=0xff => Ok(Value::Int(marker.cast_signed().into())),
        }
    }

    fn text(&mut self, length: usize) -> Result<Value, FormatError> {
        Ok(Value::str(strict_utf8(self.bytes(length)?)?))
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, FormatError> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, FormatError> {
        let mut members: IndexMap<Arc<str>, Value> = IndexMap::new();
        for _ in 0..count {
            let name = match self.value(depth + 1)? {
                Value::Str(name) => name,
                Value::Bytes(name) => strict_utf8(&name)?.into(),
                other => {
                    let class = class_name(&other);
                    let message = format!("{class} is not allowed for map key when strict_map_key=True");
                    return Err(invalid(message));
                }
            };
            members.insert(name, self.value(depth + 1)?);
        }
        Ok(Value::Struct(members.into_iter().collect()))
    }

    /// The error of an extension: Arrow has no type for what Python makes of it.
    fn extension(&mut self, length: usize) -> Result<Value, FormatError> {
        let kind = self.bytes(1)?[0];
        let content = self.bytes(length)?;
        let reason = if kind == TIMESTAMP {
            "Could not convert Timestamp with type Timestamp: did not recognize Python value type when inferring an \
             Arrow data type"
                .to_owned()
        } else {
            let shown = repr_text(&Value::Bytes(content[..length.min(64)].into()));
            format!("Could not convert {shown} with type bytes: tried to convert to int64")
        };
        Err(FormatError::new(ErrorClass::ArrowInvalid, reason))
    }
}
