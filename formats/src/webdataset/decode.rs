//! The content of a member as a value, by the extension of its field (dataset-loading.md section 1.11).
//!
//! Owns the table of extensions and the unpacking of members that are compressed by themselves. Everything unknown stays
//! bytes, and so does `.pth`: it is pickled, and pickles are programs. Fails with the class and, where users meet it, the
//! message of Python's decoder.

use std::io::Read;
use std::sync::Arc;

use super::budget::Values;
use super::{cbor, extension, msgpack, npy, npz, python_json, samples, tenbin};
use crate::compression::open_extracted;
use crate::encoding::strict_utf8;
use crate::error::{ErrorClass, FormatError};
use crate::features::Feature;
use crate::module::DataFile;
use crate::value::Value;

/// Extensions of members that are unpacked before they are decoded.
const PACKED: [&str; 7] = ["gz", "gzip", "bz2", "lz4", "xz", "zst", "zstd"];

/// A decoded member.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) value: Value,
    /// Its type where the value does not tell it: arrays have theirs, bytes are bytes.
    pub(super) feature: Option<Feature>,
    /// Bytes that it took.
    pub(super) bytes: usize,
}

/// How a member is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decoder {
    Bytes,
    Text,
    Int,
    Json,
    Npy,
    Npz,
    MessagePack,
    Cbor,
    Tensors,
}

fn decoder(extension: &str) -> Decoder {
    match extension {
        "txt" | "text" | "transcript" => Decoder::Text,
        "cls" | "cls2" | "index" | "inx" | "id" => Decoder::Int,
        "json" | "jsn" => Decoder::Json,
        "npy" => Decoder::Npy,
        "npz" => Decoder::Npz,
        "mp" | "msg" => Decoder::MessagePack,
        "cbor" => Decoder::Cbor,
        "ten" | "tb" => Decoder::Tensors,
        _ => Decoder::Bytes,
    }
}

/// The extension that decides about a member, and whether the member is packed.
fn deciding(name: &str) -> (String, bool) {
    let last = extension(name);
    if !PACKED.contains(&last.as_str()) {
        return (last, false);
    }
    let base = name.rsplit('/').next().unwrap_or(name);
    let inner = base.rsplit_once('.').map_or("", |(inner, _)| inner);
    (extension(inner), true)
}

/// Whether the content of a member is more than bytes, so that it may be wrong.
pub(super) fn is_decoded(name: &str) -> bool {
    decoder(&deciding(name).0) != Decoder::Bytes
}

/// Decodes the content of the member `name`; `bytes_max` bounds what it may unpack to.
pub(super) fn decode(name: &str, content: Vec<u8>, bytes_max: usize) -> Result<Cell, FormatError> {
    let (extension, is_packed) = deciding(name);
    let content = if is_packed { unpack(name, content, bytes_max)? } else { content };
    let mut bytes = content.len();
    let (value, feature) = match decoder(&extension) {
        Decoder::Bytes => (Value::Bytes(content.into()), Some(Feature::value("binary"))),
        Decoder::Text => (Value::str(strict_utf8(&content)?), Some(Feature::value("string"))),
        Decoder::Int => (int(&content)?, Some(Feature::value("int64"))),
        Decoder::Json => (python_json::parse(&content)?, None),
        Decoder::Npy => typed(npy::parse(&content, &mut Values::new())?),
        Decoder::Npz => {
            let (arrays, feature, unpacked) = npz::parse(name, &content.into(), bytes_max - bytes)?;
            bytes += unpacked;
            (arrays, Some(feature))
        }
        Decoder::MessagePack => (msgpack::parse(&content)?, None),
        Decoder::Cbor => (cbor::parse(&content)?, None),
        Decoder::Tensors => typed(tenbin::parse(&content)?),
    };
    Ok(Cell { value, feature, bytes })
}

fn typed((value, feature): (Value, Feature)) -> (Value, Option<Feature>) {
    (value, Some(feature))
}

fn unpack(name: &str, content: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, FormatError> {
    let source = Arc::new(bytes::Bytes::from(content));
    let file = DataFile { path: name.to_owned(), url: name.to_owned(), source };
    let mut unpacked = Vec::new();
    open_extracted(&file)?.take(bytes_max as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > bytes_max { Err(samples::too_long(name)) } else { Ok(unpacked) }
}

/// A whole number as Python's `int` reads it from bytes.
fn int(content: &[u8]) -> Result<Value, FormatError> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = content.iter().position(|byte| !blank(byte)).unwrap_or(content.len());
    let end = content.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let trimmed = &content[start..end];
    let (is_negative, digits) = match trimmed {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut groups = digits.split(|byte| *byte == b'_');
    if !groups.all(|group| !group.is_empty() && group.iter().all(u8::is_ascii_digit)) {
        let message = format!("invalid literal for int() with base 10: {}", bytes_text(content));
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    let magnitude = digits.iter().filter(|byte| **byte != b'_').try_fold(0_i64, |value, byte| {
        let digit = i64::from(byte - b'0');
        // Counted downwards: there is one negative number more.
        value.checked_mul(10)?.checked_sub(digit)
    });
    let value = magnitude.and_then(|value| if is_negative { Some(value) } else { value.checked_neg() });
    value.map(Value::Int).ok_or_else(too_large)
}

/// The error of whole numbers that Arrow has no type for.
pub(super) fn too_large() -> FormatError {
    FormatError::new(ErrorClass::OverflowError, "Python int too large to convert to C long")
}

/// Bytes as Python's `repr` shows them.
fn bytes_text(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut text = format!("b{}", char::from(quote));
    for &byte in bytes {
        match byte {
            b'"' | b'\'' if byte != quote => text.push(char::from(byte)),
            _ => text.extend(std::ascii::escape_default(byte).map(char::from)),
        }
    }
    text.push(char::from(quote));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_python_reads_them() {
        for (text, expected) in [
            ("3", 3),
            (" -12\n", -12),
            ("+1_000", 1_000),
            ("007", 7),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(int(text.as_bytes()).unwrap(), Value::Int(expected), "{text}");
        }
        for (text, shown) in [
            ("", "b''"),
            ("1__0", "b'1__0'"),
            ("1.5", "b'1.5'"),
            ("it's", "b\"it's\""),
            ("\n\0", "b'\\n\\x00'"),
        ] {
            let error = int(text.as_bytes()).unwrap_err();
            assert_eq!(error.message, format!("invalid literal for int() with base 10: {shown}"));
        }
        assert_eq!(int(b"9223372036854775808").unwrap_err().class, ErrorClass::OverflowError);
    }

    #[test]
    fn the_extension_below_a_packing_decides() {
        for (name, expected, packed) in [
            ("a.TXT", "txt", false),
            ("a.x.json.gz", "json", true),
            ("d.json/a.gz", "a", true),
            ("a.zst.bin", "bin", false),
        ] {
            assert_eq!(deciding(name), (expected.to_owned(), packed), "{name}");
        }
    }
}
