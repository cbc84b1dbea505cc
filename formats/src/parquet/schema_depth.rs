//! How deep the schema of a Parquet footer is nested, told before the footer is decoded.
//!
//! Owns the refusal of schemas that are too deep: decoding them, and dropping what was decoded, recurses once per level,
//! and no error can be made of a stack that is used up. A footer that is not one is left to the decoder.

use outpost_model::limits::NESTING_DEPTH_MAX;

use super::thrift::{HeaderError, Input, Wire};
use crate::error::{ErrorClass, FormatError};

/// A list takes two levels of the schema, a struct one.
pub(super) const SCHEMA_DEPTH_MAX: usize = 2 * NESTING_DEPTH_MAX;

/// `FileMetaData.schema`.
const SCHEMA: i64 = 2;
/// `SchemaElement.num_children`.
const CHILDREN: usize = 5;

/// Checks the schema in a footer's bytes.
///
/// # Errors
/// `LimitExceeded` above [`SCHEMA_DEPTH_MAX`] levels, `OSError` when the schema cannot be walked.
pub(super) fn check(footer: &[u8]) -> Result<(), FormatError> {
    match depth(footer) {
        Ok(depth) if depth <= SCHEMA_DEPTH_MAX => Ok(()),
        Ok(_) => Err(FormatError::new(
            ErrorClass::LimitExceeded,
            format!(
                "The columns of this Parquet file are nested more than {SCHEMA_DEPTH_MAX} levels deep; flatten them."
            ),
        )),
        Err(_) => Err(FormatError::new(
            ErrorClass::OSError,
            "Couldn't deserialize thrift: the footer has no schema",
        )),
    }
}

/// Levels below the root, at most one more than is allowed.
fn depth(footer: &[u8]) -> Result<usize, HeaderError> {
    let mut input = Input::new(footer);
    let mut last_id = 0;
    while let Some((id, wire)) = input.field(&mut last_id)? {
        if (id, wire) == (SCHEMA, Wire::List) {
            return schema_depth(&mut input);
        }
        input.skip(wire, 0)?;
    }
    Err(HeaderError::Short)
}

/// The elements stand in the order of a walk from the root, each with the number of its children.
fn schema_depth(input: &mut Input<'_>) -> Result<usize, HeaderError> {
    let (count, _) = input.list()?;
    // Children that are still to come, per level.
    let mut open: Vec<i64> = Vec::new();
    let mut deepest = 0;
    for _ in 0..count {
        if let Some(siblings) = open.last_mut() {
            *siblings -= 1;
        }
        let children = input.numbers()?.0[CHILDREN].unwrap_or(0);
        if children > 0 {
            open.push(children);
        }
        deepest = deepest.max(open.len());
        if deepest > SCHEMA_DEPTH_MAX {
            break;
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(deepest)
}
