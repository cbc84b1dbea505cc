//! Lists of tensors in the binary form of WebDataset, `.ten` and `.tb` (dataset-loading.md section 1.11).
//!
//! Owns the chunks, the headers and the common type of the tensors, which Arrow takes from NumPy's types. Nothing is
//! allocated from a claimed length or shape. Refuses what the original's decoder refuses: tensors without dimensions and
//! unsigned integers of 32 bits (`TypeError`), and tensors that have no type in common (`ArrowInvalid`).

use super::budget::Values;
use super::npy::{self, Item};
use crate::error::{ErrorClass, FormatError};
use crate::features::Feature;
use crate::value::Value;

const MAGIC: &[u8] = b"~TenBin~";
/// Chunks are filled up to a multiple of so many bytes.
const ALIGNMENT: usize = 64;

/// Reads a list of tensors and its type.
pub(super) fn parse(content: &[u8]) -> Result<(Value, Feature), FormatError> {
    let chunks = chunks(content)?;
    let mut values = Values::new();
    let mut tensors = Vec::new();
    let mut common = Feature::value("null");
    for pair in chunks.chunks_exact(2) {
        let (tensor, feature) = tensor(pair[0], pair[1], &mut values)?;
        common = unify(&common, &feature)?;
        tensors.push(tensor);
    }
    Ok((Value::List(tensors), Feature::list(common)))
}

fn invalid(message: &str) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

fn chunks(content: &[u8]) -> Result<Vec<&[u8]>, FormatError> {
    let mut chunks = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let behind_magic = rest.strip_prefix(MAGIC).ok_or_else(|| invalid("magic bytes mismatch"))?;
        let (length, body) = behind_magic
            .split_first_chunk::<8>()
            .ok_or_else(|| invalid("unpack requires a buffer of 8 bytes"))?;
        let length = usize::try_from(i64::from_le_bytes(*length)).map_err(|_| invalid("negative nbytes"))?;
        chunks.push(&body[..length.min(body.len())]);
        let filled = length.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
        rest = body.get(filled..).unwrap_or_default();
    }
    Ok(chunks)
}

/// One tensor by its header, which holds type, a name, the number of dimensions and their lengths.
fn tensor(header: &[u8], data: &[u8], values: &mut Values) -> Result<(Value, Feature), FormatError> {
    let (words, []) = header.as_chunks::<8>() else {
        return Err(invalid("buffer size must be a multiple of element size"));
    };
    let [dtype, _, rank, lengths @ ..] = words else {
        return Err(FormatError::new(ErrorClass::IndexError, "index out of bounds of a tensor's header"));
    };
    let item = item(dtype)?;
    let rank = usize::try_from(i64::from_le_bytes(*rank)).map_err(|_| invalid("negative rank"))?;
    let shape: Vec<usize> = lengths
        .iter()
        .take(rank)
        .map(|length| usize::try_from(i64::from_le_bytes(*length)))
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("negative dimensions are not allowed"))?;
    if shape.is_empty() {
        let message = "'numpy.float64' object cannot be interpreted as an integer";
        return Err(FormatError::new(ErrorClass::TypeError, message));
    }
    npy::array(item, &shape, false, data, values)
}

fn item(dtype: &[u8; 8]) -> Result<Item, FormatError> {
    let unsupported = || invalid("unsupported array type");
    let name = std::str::from_utf8(dtype).map_err(|_| unsupported())?.trim_matches('\0');
    match name {
        "f2" | "f4" | "f8" | "i1" | "i2" | "i4" | "i8" | "u1" | "u2" | "u8" => Item::named(name),
        "u4" => Err(FormatError::new(ErrorClass::TypeError, "data type 'unit32' not understood")),
        _ => Err(unsupported()),
    }
}

/// The common type of tensors, the ones so far first; where nothing tells a type, the other one counts.
fn unify(so_far: &Feature, next: &Feature) -> Result<Feature, FormatError> {
    let null = Feature::value("null");
    match (so_far, next) {
        (left, right) if left == right || *right == null => Ok(left.clone()),
        (left, right) if *left == null => Ok(right.clone()),
        (Feature::List { feature: left, .. }, Feature::List { feature: right, .. }) => {
            unify(left, right).map(Feature::list)
        }
        (Feature::Value { dtype: left, .. }, Feature::Value { dtype: right, .. }) => {
            let common = promoted(left, right).ok_or_else(|| {
                let message = format!("Cannot mix NumPy dtypes {left} and {right}");
                FormatError::new(ErrorClass::ArrowInvalid, message)
            })?;
            Ok(Feature::value(common))
        }
        _ => {
            let message = "cannot mix list and non-list, non-null values";
            Err(FormatError::new(ErrorClass::ArrowInvalid, message))
        }
    }
}

/// The type that Arrow takes for two NumPy types in this order. It widens what it has, and floats only to what comes later.
fn promoted<'a>(so_far: &'a str, next: &'a str) -> Option<&'a str> {
    let bits = |dtype: &str| dtype.trim_start_matches(char::is_alphabetic).parse::<u32>().unwrap_or(0);
    let (left_bits, right_bits) = (bits(so_far), bits(next));
    let kind = |dtype: &str| dtype.bytes().next();
    match (kind(so_far), kind(next)) {
        (Some(b'f'), Some(b'f')) => (left_bits < right_bits).then_some(next),
        (Some(b'f'), _) => (left_bits > 16).then_some(so_far),
        (_, Some(b'f')) if right_bits == 16 => None,
        (_, Some(b'f')) => Some(if left_bits >= 32 { "float64" } else { next }),
        (left, right) if left == right => Some(if left_bits < right_bits { next } else { so_far }),
        (Some(b'i'), Some(b'u')) => (left_bits > right_bits).then_some(so_far),
        _ => None,
    }
}
