//! Rows with their media made, several at a time.
//!
//! Owns the threads of one job, at most [`MEDIA_THREADS_MAX`]: while one waits for the Hub or the disk, others decode.
//! Memory is bounded by the media's own budget, not here. The rows come in order, and of several that cannot be shown
//! the first one counts, so that threads change nothing in the result.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder, ScopedJoinHandle};

use outpost_formats::Value;
use outpost_model::limits::{JOB_STACK_BYTES, MEDIA_THREADS_MAX};

use super::FirstRowsError;
use super::cells::RowCells;
use super::columns::Column;
use crate::media::MediaStep;

type Row = [(Arc<str>, Value)];
/// What became of the row at an index.
type Shown<'a> = (usize, Result<RowCells<'a>, FirstRowsError>);

/// The cells of all rows, media replaced by what readers get.
///
/// # Errors
/// That of the first row that cannot be shown; the assets of rows behind it may have been put by then.
pub(super) fn show_all<'a>(
    columns: &'a [Column<'a>],
    rows: &'a [Vec<(Arc<str>, Value)>],
    media: &MediaStep<'_>,
) -> Result<Vec<RowCells<'a>>, FirstRowsError> {
    let next = AtomicUsize::new(0);
    let work = || show_some(columns, rows, media, &next);
    let mut shown = thread::scope(|scope| {
        let helpers = 1..MEDIA_THREADS_MAX.min(rows.len());
        // A thread that the system does not give is done without.
        let start = |_| Builder::new().stack_size(JOB_STACK_BYTES).spawn_scoped(scope, work).ok();
        let helpers: Vec<ScopedJoinHandle<'_, _>> = helpers.filter_map(start).collect();
        let mut shown = work();
        for helper in helpers {
            shown.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        shown
    });
    shown.sort_unstable_by_key(|(row_idx, _)| *row_idx);
    shown.into_iter().map(|(_, cells)| cells).collect()
}

/// Takes rows in order until none is left or one cannot be shown. Rows before that one are taken already, so each of
/// them is shown by its thread.
fn show_some<'a>(
    columns: &'a [Column<'a>],
    rows: &'a [Vec<(Arc<str>, Value)>],
    media: &MediaStep<'_>,
    next: &AtomicUsize,
) -> Vec<Shown<'a>> {
    let mut shown = Vec::new();
    loop {
        let row_idx = next.fetch_add(1, Ordering::Relaxed);
        let Some(row) = rows.get(row_idx) else { return shown };
        let cells = show_row(columns, row, media, row_idx);
        if cells.is_err() {
            next.store(rows.len(), Ordering::Relaxed);
        }
        shown.push((row_idx, cells));
    }
}

fn show_row<'a>(
    columns: &'a [Column<'a>],
    row: &'a Row,
    media: &MediaStep<'_>,
    row_idx: usize,
) -> Result<RowCells<'a>, FirstRowsError> {
    let mut cells = RowCells::new(columns, row);
    cells.show_media(media, row_idx)?;
    Ok(cells)
}
