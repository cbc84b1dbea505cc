//! What one decoded member may hold.
//!
//! Owns the count of its values, of all levels together, and the depth to which they nest: a few bytes can claim very
//! many. Fails with `LimitExceeded`.

use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};

/// Values that may still be made of a member.
#[derive(Debug)]
pub(super) struct Values {
    left: usize,
}

impl Values {
    /// All that a member may have.
    pub(super) fn new() -> Self {
        Self { left: limits::CELL_VALUES_MAX }
    }

    /// Takes one value at a depth.
    pub(super) fn take_at(&mut self, depth: usize) -> Result<(), FormatError> {
        if depth > limits::NESTING_DEPTH_MAX {
            let message = format!(
                "values are nested more than {} levels deep; flatten them",
                limits::NESTING_DEPTH_MAX
            );
            return Err(FormatError::new(ErrorClass::LimitExceeded, message));
        }
        self.take(1)
    }

    /// Takes many values.
    pub(super) fn take(&mut self, count: usize) -> Result<(), FormatError> {
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            let message = format!("a file has more than {} values; split it", limits::CELL_VALUES_MAX);
            FormatError::new(ErrorClass::LimitExceeded, message)
        })?;
        Ok(())
    }
}
