//! From the bytes of a chunk to typed columns: the order in which grammars and rewrites are tried.
//!
//! Owns steps 4 to 6 of dataset-loading.md section 1.7: mixed values first, then Arrow's inference, then a `Json` path for each
//! type change. Errors that pandas may still get around are kept apart from those that are final.

use std::ops::Range;

use outpost_model::limits;

use super::lexer::SyntaxError;
use super::paths::JsonPaths;
use super::rows::{RowReader, RowRules};
use super::scan::{Layout, RootValue, Rules, Scan, ScanError, scan};
use super::shape::{self, Members};
use super::tree::{Node, ROOT, kind};
use crate::error::{ErrorClass, FormatError};
use crate::memory;
use crate::value::Value;

/// A chunk to type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    /// Lines or items; a chunk of lines may turn out to be a stream.
    pub(super) layout: Layout,
    /// Whether an array ends early because it is too long to be held.
    pub(super) is_cut: bool,
    /// Rows to be read.
    pub(super) row_limit: usize,
    /// Whether mixed values are looked for: in the first chunk of a file of unknown features.
    pub(super) finds_mixed: bool,
    /// `on_mixed_types`: whether type changes become JSON text.
    pub(super) encodes_mixed: bool,
}

/// A typed chunk.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) columns: Members,
    pub(super) rows: usize,
    spans: Vec<Range<usize>>,
    rules: RowRules,
}

/// Why a chunk has no type.
#[derive(Debug)]
pub(super) enum InferError {
    /// Arrow refused it; pandas is asked next.
    Arrow(FormatError),
    /// Nobody else is asked.
    Final(FormatError),
}

impl Typed {
    /// Whether the chunk is one object over several lines.
    pub(super) fn is_single_object(&self) -> bool {
        self.rows == 1 && self.rules.layout == Layout::Stream
    }

    /// The values of the first rows, as many of them as are held.
    pub(super) fn read_rows(&self, bytes: &[u8]) -> Result<Vec<Vec<Value>>, FormatError> {
        let mut reader = RowReader::new(&self.columns, self.rules);
        let mut rows: Vec<Vec<Value>> = Vec::new();
        let mut held_bytes = 0;
        for span in &self.spans {
            if held_bytes >= limits::TABLE_BYTES_MAX {
                break;
            }
            let row = reader.read_row(&bytes[span.clone()])?;
            held_bytes += row.iter().map(Value::held_bytes).sum::<usize>();
            memory::hold(held_bytes)?;
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Types a chunk; new paths of JSON text join `paths`.
pub(super) fn infer(chunk: Chunk<'_>, paths: &mut JsonPaths) -> Result<Typed, InferError> {
    if chunk.layout != Layout::Lines {
        return infer_items(chunk, paths);
    }
    if !paths.is_empty() {
        return infer_rewritten(chunk, paths);
    }
    if chunk.finds_mixed
        && let Ok(found) = run(chunk, Layout::Lines, false, paths)
        && !found.has_duplicates
    {
        check_root_mix(&found)?;
        let mixed = found.tree.topmost(Node::is_mixed);
        if !mixed.is_empty() {
            mixed.into_iter().for_each(|path| paths.insert(path));
            return infer_rewritten(chunk, paths);
        }
        if !found.has_strays && found.first_change.is_none() {
            return Ok(typed(found, Layout::Lines, false));
        }
    }
    infer_stream(chunk, paths)
}

/// As Arrow reads the chunk.
fn infer_stream(chunk: Chunk<'_>, paths: &mut JsonPaths) -> Result<Typed, InferError> {
    if chunk.bytes.is_empty() {
        return Err(InferError::Arrow(FormatError::new(ErrorClass::ArrowInvalid, "Empty JSON file")));
    }
    let (found, error) = match run(chunk, Layout::Stream, false, paths) {
        Ok(found) => (found, None),
        Err(failed) => (failed.before, Some(failed.error)),
    };
    if let Some(value @ RootValue("list")) = found.first_root_value {
        return Err(root_error(value));
    }
    if found.first_change.is_some() && chunk.encodes_mixed {
        // Arrow stops at the change, before it sees any later error.
        found.tree.topmost(Node::changes_type).into_iter().for_each(|path| paths.insert(path));
        return infer_rewritten(chunk, paths);
    }
    if let Some(change) = &found.first_change {
        return Err(InferError::Arrow(parse_error(&format!(
            "Column({}) changed from {} to {} in row {}",
            change.path, change.from, change.to, change.row
        ))));
    }
    match error {
        None => Ok(typed(found, Layout::Stream, false)),
        Some(SyntaxError::Message(message)) => Err(InferError::Arrow(parse_error(&message))),
        Some(SyntaxError::Limit(error)) => Err(InferError::Final(error)),
    }
}

/// As Arrow reads the chunk after ujson rewrote its lines with JSON text at `paths`.
fn infer_rewritten(chunk: Chunk<'_>, paths: &mut JsonPaths) -> Result<Typed, InferError> {
    let found = run(chunk, Layout::Lines, true, paths).map_err(ujson_error)?;
    settle(chunk, found, Layout::Lines, paths)
}

/// The items of an array always pass through ujson.
fn infer_items(chunk: Chunk<'_>, paths: &mut JsonPaths) -> Result<Typed, InferError> {
    let found = run(chunk, chunk.layout, true, paths).map_err(ujson_error)?;
    if chunk.finds_mixed {
        check_root_mix(&found)?;
        let mixed = found.tree.topmost(Node::is_mixed);
        if !mixed.is_empty() {
            mixed.into_iter().for_each(|path| paths.insert(path));
            let chunk = Chunk { finds_mixed: false, ..chunk };
            let found = run(chunk, chunk.layout, true, paths).map_err(ujson_error)?;
            return settle(chunk, found, chunk.layout, paths);
        }
    }
    settle(chunk, found, chunk.layout, paths)
}

/// Turns type changes into JSON text until there are none.
fn settle(
    chunk: Chunk<'_>,
    mut found: Scan,
    layout: Layout,
    paths: &mut JsonPaths,
) -> Result<Typed, InferError> {
    if let Some(value) = found.first_root_value {
        return Err(root_error(value));
    }
    let changes = found.tree.topmost(Node::changes_type);
    if !changes.is_empty() && chunk.encodes_mixed {
        changes.into_iter().for_each(|path| paths.insert(path));
        found = run(Chunk { finds_mixed: false, ..chunk }, layout, true, paths).map_err(ujson_error)?;
    }
    match &found.first_change {
        Some(change) if !found.tree.topmost(Node::changes_type).is_empty() => {
            Err(InferError::Arrow(parse_error(&format!(
                "Column({}) changed from {} to {} in row {}",
                change.path, change.from, change.to, change.row
            ))))
        }
        _ => Ok(typed(found, layout, true)),
    }
}

fn run(chunk: Chunk<'_>, layout: Layout, reencodes: bool, paths: &JsonPaths) -> Result<Scan, Box<ScanError>> {
    let rules = Rules {
        layout,
        reencodes,
        finds_mixed: chunk.finds_mixed && layout != Layout::Stream && paths.is_empty(),
        paths,
        row_limit: chunk.row_limit,
        is_cut: chunk.is_cut,
    };
    scan(chunk.bytes, rules)
}

fn typed(found: Scan, layout: Layout, reencodes: bool) -> Typed {
    Typed {
        columns: shape::columns(&found.tree),
        rows: found.rows,
        spans: found.spans,
        rules: RowRules { layout, reencodes },
    }
}

/// Rows of objects and other values: each row becomes JSON text, which is then no mapping.
fn check_root_mix(found: &Scan) -> Result<(), InferError> {
    let kinds = found.tree.node(ROOT).kinds & !kind::NULL;
    let has_containers = kinds & (kind::OBJECT | kind::ARRAY) != 0;
    if has_containers && kinds != kind::OBJECT && kinds != kind::ARRAY {
        return Err(InferError::Final(not_a_mapping("str")));
    }
    found.first_root_value.map_or(Ok(()), |value| Err(root_error(value)))
}

/// Rows that are no objects. Arrays behind white space are left to pandas, which reads them, as later versions do;
/// the original stumbles over them.
fn root_error(RootValue(python_type): RootValue) -> InferError {
    match python_type {
        "list" => InferError::Arrow(parse_error("Column() changed from object to array in row 0")),
        other => InferError::Final(not_a_mapping(other)),
    }
}

fn not_a_mapping(python_type: &str) -> FormatError {
    FormatError::new(ErrorClass::TypeError, format!("'{python_type}' object is not a mapping"))
}

pub(super) fn parse_error(message: &str) -> FormatError {
    FormatError::new(ErrorClass::ArrowInvalid, format!("JSON parse error: {message}"))
}

fn ujson_error(failed: Box<ScanError>) -> InferError {
    InferError::Final(match failed.error {
        SyntaxError::Message(message) => FormatError::new(ErrorClass::ValueError, message),
        SyntaxError::Limit(error) => error,
    })
}
