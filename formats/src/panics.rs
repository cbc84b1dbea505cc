//! The edge to decoders that answer broken bytes with a panic.
//!
//! The columnar crates check most but not all of what a file claims. A panic in one of them stands for a damaged file and
//! must not end the process: it becomes an error here, and only here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{ErrorClass, FormatError};

/// Runs a decoder. What it was working on must not be used again after an error.
///
/// # Errors
/// Those of `decode`, or `OSError` when it panics.
pub(crate) fn caught<T>(decode: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(FormatError::new(
            ErrorClass::OSError,
            "The file is damaged: its values do not fit its description.",
        ))
    })
}
