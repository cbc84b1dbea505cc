//! Archives of NumPy arrays as `numpy.load` reads them without pickles (dataset-loading.md section 1.11).
//!
//! Owns what the members of the zip archive become: arrays by the name before `.npy`, bytes where a member is no array.
//! An array without an archive around it is read too. Bounded by the bytes and the values of all members together.
//! Refuses anything else as pickled, as the original does. Fails with `ValueError`, `BadZipFile`, or `LimitExceeded`.

use std::io::Read;
use std::sync::Arc;

use indexmap::IndexMap;

use super::budget::Values;
use super::{npy, samples};
use crate::archive::{members, open_member};
use crate::compression::SourceReader;
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features};
use crate::module::DataFile;
use crate::value::Value;

/// Reads the arrays of a member, with their type and the bytes that they were unpacked to, at most `bytes_max`.
pub(super) fn parse(
    name: &str,
    content: &bytes::Bytes,
    bytes_max: usize,
) -> Result<(Value, Feature, usize), FormatError> {
    let mut values = Values::new();
    if content.is_empty() {
        return Err(FormatError::new(ErrorClass::EOFError, "No data left in file"));
    }
    if content.starts_with(npy::MAGIC) {
        return npy::parse(content, &mut values).map(|(value, feature)| (value, feature, 0));
    }
    if !content.starts_with(b"PK\x03\x04") && !content.starts_with(b"PK\x05\x06") {
        let message = "This file contains pickled (object) data. If you trust the file you can load it unsafely using \
                       the `allow_pickle=` keyword argument or `pickle.load()`.";
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    let archive = DataFile { path: name.to_owned(), url: name.to_owned(), source: Arc::new(content.clone()) };
    let mut bytes = 0;
    let mut arrays: IndexMap<Arc<str>, (Value, Feature)> = IndexMap::new();
    for member in members(&archive)?.iter().filter(|member| !member.is_folder()) {
        let key = member.name.strip_suffix(".npy").unwrap_or(&member.name);
        // What has the very name of the key hides the array of that name.
        if key.len() < member.name.len() && arrays.contains_key(key) {
            continue;
        }
        let left = bytes_max - bytes;
        let mut unpacked = Vec::new();
        let source = open_member(&archive, member)?.source;
        SourceReader::new(source).take(left as u64 + 1).read_to_end(&mut unpacked)?;
        if unpacked.len() > left {
            return Err(samples::too_long(name));
        }
        bytes += unpacked.len();
        values.take(1)?;
        let array = if unpacked.starts_with(npy::MAGIC) {
            npy::parse(&unpacked, &mut values)?
        } else {
            (Value::Bytes(unpacked.into()), Feature::value("binary"))
        };
        arrays.insert(key.into(), array);
    }
    // Arrow sorts the members of what it infers.
    arrays.sort_keys();
    let features = arrays.iter().map(|(key, (_, feature))| (Arc::clone(key), feature.clone())).collect();
    let arrays = arrays.into_iter().map(|(key, (value, _))| (key, value)).collect();
    Ok((Value::Struct(arrays), Feature::Struct(Features(features)), bytes))
}
