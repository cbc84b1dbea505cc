//! First rows: a split's head as a response of bounded size (worker-and-store.md sections 5.1 to 5.5).
//!
//! Owns the checks of columns, the cells' form, the budget, and which rows and cells are cut to keep it. Sizes are
//! bytes of the compact output. A column that cannot be shown refuses the whole split with a [`FirstRowsError`].

mod cells;
mod columns;
mod fit;
mod shown;

use outpost_loading::SplitHead;
use outpost_model::ErrorCode;
use outpost_model::limits::{FirstRowsLimits, ROWS_PER_PAGE_MAX};
use serde::Serialize;

use crate::assets::AssetError;
use crate::media::{MediaError, MediaStep};
use crate::outcome::to_json;
use cells::RowCells;
use columns::{Column, FeatureItem};
pub use columns::{MediaSupport, check_columns};
use fit::Fitter;

/// Which split a response is about.
#[derive(Debug, Clone, Copy)]
pub struct SplitAddress<'a> {
    /// The dataset.
    pub dataset: &'a str,
    /// The config.
    pub config: &'a str,
    /// The split.
    pub split: &'a str,
}

/// Why a split has no first rows. The texts are shown to readers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirstRowsError {
    /// Above [`FirstRowsLimits::columns_max`].
    #[error("The split has {columns} columns, more than the limit of {columns_max}.")]
    TooManyColumns {
        /// Columns of the split.
        columns: usize,
        /// The limit.
        columns_max: usize,
    },
    /// A name above [`outpost_model::limits::COLUMN_NAME_CHARS_MAX`].
    #[error("The column name '{start}...' has {chars} characters, more than the limit of {chars_max}.")]
    TooLongColumnName {
        /// How the name starts.
        start: String,
        /// Its length in characters.
        chars: usize,
        /// The limit.
        chars_max: usize,
    },
    /// The response does not fit even without rows.
    #[error("The columns alone take {bytes} bytes, more than the response's limit of {bytes_max} bytes.")]
    TooBig {
        /// Size of the response without rows.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A cell that cannot be shown.
    #[error("The column '{column}' cannot be shown: {reason}.")]
    Cell {
        /// The column.
        column: String,
        /// Why, as part of a sentence.
        reason: String,
    },
    /// Trouble while media were made that may pass.
    #[error("The files of the first rows could not be made: {reason}. The worker will try again later.")]
    MayPass {
        /// What it is stored under when it does not pass.
        code: ErrorCode,
        /// What failed.
        reason: String,
    },
}

impl FirstRowsError {
    /// The code that the error is stored under.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooManyColumns { .. } => ErrorCode::TooManyColumnsError,
            Self::TooLongColumnName { .. } => ErrorCode::TooLongColumnNameError,
            Self::TooBig { .. } => ErrorCode::TooBigContentError,
            Self::Cell { .. } => ErrorCode::RowsPostProcessingError,
            Self::MayPass { code, .. } => *code,
        }
    }

    fn media(column: &str, error: MediaError) -> Self {
        match error {
            MediaError::Cell(reason) => Self::Cell { column: column.to_owned(), reason },
            MediaError::Hub(_) | MediaError::Archive(_) | MediaError::Stopped => {
                Self::MayPass { code: ErrorCode::HfHubError, reason: error.to_string() }
            }
            MediaError::Assets(error) => error.into(),
        }
    }
}

impl From<AssetError> for FirstRowsError {
    fn from(error: AssetError) -> Self {
        Self::MayPass { code: ErrorCode::JobManagerCrashedError, reason: error.to_string() }
    }
}

/// The response of the first rows without its end: `rows` stays open.
#[derive(Serialize)]
struct Head<'a> {
    dataset: &'a str,
    config: &'a str,
    split: &'a str,
    features: Vec<FeatureItem<'a>>,
    rows: [(); 0],
    truncated: bool,
}

/// What [`to_json`] writes after the rows of a [`Head`] that has none.
const TAIL: &str = "],\"truncated\":false}";

/// Builds the body of a split's first rows, at most [`ROWS_PER_PAGE_MAX`] of them. Without `media`, columns that hold
/// media are refused; with it, their assets are kept for good when this returns.
///
/// # Errors
/// [`FirstRowsError`] when a limit is met or a cell cannot be shown.
pub fn assemble(
    address: SplitAddress<'_>,
    head: &SplitHead,
    limits: &FirstRowsLimits,
    media: Option<&MediaStep<'_>>,
) -> Result<Vec<u8>, FirstRowsError> {
    let support = if media.is_some() { MediaSupport::Assets } else { MediaSupport::None };
    check_columns(&head.features, limits, support)?;
    let mut body = open_body(address, head);
    if body.len() > limits.bytes_max {
        return Err(FirstRowsError::TooBig { bytes: body.len(), bytes_max: limits.bytes_max });
    }
    let budget = limits.bytes_max - body.len();
    body.truncate(body.len() - TAIL.len());

    let rows = &head.rows[..head.rows.len().min(ROWS_PER_PAGE_MAX)];
    let all_fetched = head.exhausted && rows.len() == head.rows.len();
    let columns = Column::all(&head.features, rows);
    let mut fitter = Fitter::new(&columns, limits, budget);
    let media = media.filter(|_| columns.iter().any(|column| column.holds_media));
    if let Some(media) = media {
        for cells in shown::show_all(&columns, rows, media)? {
            fitter.push(&cells)?;
        }
        media.assets.commit()?;
    } else {
        for row in rows {
            fitter.push(&RowCells::new(&columns, row))?;
        }
    }
    let rows_dropped = fitter.finish(&mut body);
    let truncated = !all_fetched || rows_dropped;
    body.extend_from_slice(format!("],\"truncated\":{truncated}}}").as_bytes());
    Ok(body)
}

fn open_body(address: SplitAddress<'_>, head: &SplitHead) -> Vec<u8> {
    let SplitAddress { dataset, config, split } = address;
    let features = FeatureItem::all(&head.features);
    to_json(&Head { dataset, config, split, features, rows: [], truncated: false })
}

#[cfg(test)]
mod media_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
