//! NumPy arrays in `.npy` form (dataset-loading.md section 1.11).
//!
//! Owns the header and the conversion to nested lists with the array's own item type. Refuses pickled objects with
//! `ValueError`, as the original does, and items that Arrow does not know with `ArrowNotImplementedError`. The number of
//! values is checked against the bytes at hand before any list is made.

use std::sync::LazyLock;

use outpost_model::limits;
use regex::Regex;

use super::budget::Values;
use crate::error::{ErrorClass, FormatError};
use crate::features::Feature;
use crate::value::Value;

static DESCR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"['"]descr['"]\s*:\s*['"]([^'"]*)['"]"#).expect("a fixed pattern"));
static ORDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"['"]fortran_order['"]\s*:\s*(True|False)"#).expect("a fixed pattern"));
static SHAPE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"['"]shape['"]\s*:\s*\(([0-9,\sL]*)\)"#).expect("a fixed pattern"));

/// What every array begins with.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// Dimensions that NumPy arrays have at most.
const DIMENSIONS_MAX: usize = 64;

fn value_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

/// The array and its type.
pub(super) fn parse(content: &[u8], values: &mut Values) -> Result<(Value, Feature), FormatError> {
    let (header, data) = header(content)?;
    let Some(descr) = DESCR.captures(header) else {
        return Err(not_implemented("Unsupported numpy type 20"));
    };
    let order = ORDER.captures(header).ok_or_else(|| malformed(header))?;
    let shape = SHAPE.captures(header).ok_or_else(|| malformed(header))?;
    let shape: Vec<usize> = shape[1]
        .split(',')
        .map(|length| length.trim().trim_end_matches('L'))
        .filter(|length| !length.is_empty())
        .map(|length| length.parse().map_err(|_| malformed(header)))
        .collect::<Result<_, _>>()?;
    array(Item::named(&descr[1])?, &shape, &order[1] == "True", data, values)
}

fn malformed(header: &str) -> FormatError {
    let shown: String = header.chars().take(200).collect();
    value_error(format!("Cannot parse header: '{}'", shown.trim_end()))
}

fn not_implemented(message: &str) -> FormatError {
    FormatError::new(ErrorClass::ArrowNotImplementedError, message)
}

/// The header's text and what follows it.
fn header(content: &[u8]) -> Result<(&str, &[u8]), FormatError> {
    let rest = content
        .strip_prefix(MAGIC)
        .ok_or_else(|| value_error("the magic string is not correct; expected b'\\x93NUMPY'"))?;
    let short = || value_error("EOF: reading array header length, the file ends before its header does");
    let (&version, rest) = rest.split_first().ok_or_else(short)?;
    let rest = rest.get(1..).ok_or_else(short)?;
    let (length, rest) = match version {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        _ => return Err(value_error("we only support format version (1,0), (2,0), and (3,0)")),
    };
    let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let header =
        std::str::from_utf8(header).map_err(|_| value_error("Cannot parse header: it is no text"))?;
    Ok((header, data))
}

/// The items of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Bool,
    Int(usize),
    UInt(usize),
    Float(usize),
    /// UTF-32 text of so many characters.
    Text(usize),
    Bytes(usize),
}

impl Item {
    /// The type that NumPy calls so, such as `<f4`.
    pub(super) fn named(descr: &str) -> Result<Self, FormatError> {
        let unknown = || not_implemented(&format!("Unsupported numpy type {descr}"));
        let (order, rest) = match descr.as_bytes().first() {
            Some(b'<' | b'>' | b'|' | b'=') => descr.split_at(1),
            _ => ("|", descr),
        };
        let kind = rest.chars().next().filter(char::is_ascii).ok_or_else(unknown)?;
        if kind == 'O' {
            return Err(value_error("Object arrays cannot be loaded when allow_pickle=False"));
        }
        let width: usize = rest[1..].parse().map_err(|_| unknown())?;
        let item = match (kind, width) {
            ('b', 1) => Self::Bool,
            ('i', 1 | 2 | 4 | 8) => Self::Int(width),
            ('u', 1 | 2 | 4 | 8) => Self::UInt(width),
            ('f', 2 | 4 | 8) => Self::Float(width),
            ('U', 1..=1_000_000) => Self::Text(width),
            ('S', 1..=1_000_000) => Self::Bytes(width),
            _ => return Err(unknown()),
        };
        if order == ">" && item.bytes() > 1 && !matches!(item, Self::Bytes(_)) {
            return Err(not_implemented("Byte-swapped arrays not supported"));
        }
        Ok(item)
    }

    fn bytes(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int(width) | Self::UInt(width) | Self::Float(width) | Self::Bytes(width) => width,
            Self::Text(characters) => 4 * characters,
        }
    }

    fn feature(self) -> Feature {
        match self {
            Self::Bool => Feature::value("bool"),
            Self::Int(width) => Feature::value(&format!("int{}", 8 * width)),
            Self::UInt(width) => Feature::value(&format!("uint{}", 8 * width)),
            Self::Float(width) => Feature::value(&format!("float{}", 8 * width)),
            Self::Text(_) => Feature::value("string"),
            Self::Bytes(_) => Feature::value("binary"),
        }
    }

    /// One item of exactly [`Item::bytes`] bytes.
    fn value(self, bytes: &[u8]) -> Value {
        let mut wide = [0; 8];
        if bytes.len() <= 8 {
            wide[..bytes.len()].copy_from_slice(bytes);
        }
        let bits = u64::from_le_bytes(wide);
        match self {
            Self::Bool => Value::Bool(bits != 0),
            Self::Int(width) => {
                let unused = 64 - 8 * width as u32;
                Value::Int((bits << unused).cast_signed() >> unused)
            }
            Self::UInt(_) => Value::UInt(bits),
            Self::Float(2) => Value::Float(half::f16::from_bits(bits as u16).to_f64()),
            Self::Float(4) => Value::Float(f32::from_bits(bits as u32).into()),
            Self::Float(_) => Value::Float(f64::from_bits(bits)),
            Self::Text(_) => {
                let codes = bytes
                    .chunks_exact(4)
                    .map(|code| u32::from_le_bytes([code[0], code[1], code[2], code[3]]));
                let text: String =
                    codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
                Value::str(text.trim_end_matches('\0'))
            }
            Self::Bytes(_) => {
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                Value::Bytes(bytes[..end].into())
            }
        }
    }
}

/// An array as nested lists, and its type.
pub(super) fn array(
    item: Item,
    shape: &[usize],
    is_fortran: bool,
    data: &[u8],
    values: &mut Values,
) -> Result<(Value, Feature), FormatError> {
    if shape.len() > DIMENSIONS_MAX.min(limits::NESTING_DEPTH_MAX) {
        return Err(value_error("maximum supported dimension for an ndarray is 64"));
    }
    // Lists of empty lists are values too.
    let mut lists = 1_usize;
    let mut count = 1_usize;
    for &length in shape {
        count = count.saturating_mul(length);
        lists = lists.saturating_mul(length.max(1));
    }
    let needed = count.saturating_mul(item.bytes());
    if needed > data.len() {
        let message = format!("EOF: reading array data, expected {needed} bytes got {}", data.len());
        return Err(value_error(message));
    }
    values.take(lists)?;
    let mut strides = vec![item.bytes(); shape.len()];
    let mut step = item.bytes();
    let dimensions: Vec<usize> =
        if is_fortran { (0..shape.len()).collect() } else { (0..shape.len()).rev().collect() };
    for dimension in dimensions {
        strides[dimension] = step;
        step = step.saturating_mul(shape[dimension]);
    }
    Ok((nested(item, shape, &strides, data, 0), feature(item, shape)))
}

fn nested(item: Item, shape: &[usize], strides: &[usize], data: &[u8], offset: usize) -> Value {
    match (shape, strides) {
        ([length, shape @ ..], [stride, strides @ ..]) => {
            let items = (0..*length).map(|at| nested(item, shape, strides, data, offset + at * stride));
            Value::List(items.collect())
        }
        _ => item.value(&data[offset..offset + item.bytes()]),
    }
}

/// The type of a list of lists; where an outer one is empty, nothing tells the type of its items.
fn feature(item: Item, shape: &[usize]) -> Feature {
    match shape {
        [] => item.feature(),
        [0, _, ..] => Feature::list(Feature::value("null")),
        [_, rest @ ..] => Feature::list(feature(item, rest)),
    }
}
