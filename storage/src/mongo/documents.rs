//! The documents of dataset-viewer's collections and of our own, and their conversions to and from the model.
//!
//! Owns worker-and-store.md section 1: field names, types, what is written as null and what may be missing. A missing
//! field and a null one read alike. A document that does not fit the model is an error of its reader, which keeps it
//! and counts it, never a panic.

pub(super) mod content;
pub(super) mod dataset;
pub(super) mod fields;
pub(super) mod job;
mod number;
pub(super) mod render;
pub(super) mod response;

/// Why a document does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    /// It is of a kind that this version does not compute: kept, not planned.
    #[error("its kind {0:?} is not computed by this version")]
    ForeignKind(String),
    /// A field is missing, of another type, or holds a value that the model refuses.
    #[error("its field {field} {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Misfit {
    pub(super) fn field(field: &'static str, problem: &impl ToString) -> Self {
        Self::Field { field, problem: problem.to_string() }
    }
}
