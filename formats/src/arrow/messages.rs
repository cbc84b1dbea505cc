//! Messages of the Arrow IPC format: where they lie, and that they stay within bounds.
//!
//! Owns the two layouts, stream and file, and every check that must come before arrow-rs decodes a body: it trusts
//! offsets and sizes. Errors carry pyarrow's classes and messages.

use std::sync::Arc;

use arrow_ipc::{Block, Message, RecordBatch, root_as_footer, root_as_message};
use arrow_schema::Schema;
use bytes::Bytes;
use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};
use crate::memory;
use crate::source::ByteSource;
use crate::windows::Windows;

const CONTINUATION: [u8; 4] = [0xff; 4];
const MAGIC: &[u8] = b"ARROW1";
/// Footer length and magic bytes at the end of a file.
const TAIL_BYTES: usize = 10;
/// Read ahead at a message: its metadata mostly fits.
const AHEAD_BYTES: usize = 64 * 1024;

/// An open stream or file.
pub(super) struct Messages {
    windows: Windows,
    places: Places,
}

/// Where the next messages lie.
enum Places {
    Stream {
        at: u64,
    },
    /// Offsets in reverse: dictionaries, then batches.
    File {
        pending: Vec<u64>,
    },
}

/// A message whose metadata is a valid flat buffer.
pub(super) struct RawMessage {
    metadata: Bytes,
    body: Bytes,
}

impl RawMessage {
    pub(super) fn message(&self) -> Result<Message<'_>, FormatError> {
        root_as_message(&self.metadata)
            .map_err(|error| invalid(format!("Invalid flatbuffers message: {error}")))
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }
}

impl Messages {
    /// Opens a stream, or else a file; returns its schema too.
    pub(super) fn open(source: Arc<dyn ByteSource>) -> Result<(Self, Schema), FormatError> {
        let mut windows = Windows::new(source);
        match open_stream(&mut windows) {
            Ok((at, schema)) => Ok((Self { windows, places: Places::Stream { at } }, schema)),
            Err(error) if error.class.is_transient() => Err(error),
            Err(_) => {
                let (pending, schema) = open_file(&mut windows)?;
                Ok((Self { windows, places: Places::File { pending } }, schema))
            }
        }
    }

    /// The next message with its body, `None` at the end.
    pub(super) fn next_message(&mut self) -> Result<Option<RawMessage>, FormatError> {
        let start = match &mut self.places {
            Places::Stream { at } => *at,
            Places::File { pending } => match pending.pop() {
                Some(at) => at,
                None => return Ok(None),
            },
        };
        let Some((metadata, body_at)) = read_metadata(&mut self.windows, start)? else { return Ok(None) };
        let body_len = {
            let message = root_as_message(&metadata);
            let message =
                message.map_err(|error| invalid(format!("Invalid flatbuffers message: {error}")))?;
            body_len(&message)?
        };
        let left = self.windows.file_len().saturating_sub(body_at);
        if body_len as u64 > left {
            return Err(invalid(format!(
                "Expected to be able to read {body_len} bytes for message body, got {left}"
            )));
        }
        let body = self.windows.read(body_at, body_len, body_len)?;
        if let Places::Stream { at } = &mut self.places {
            *at = body_at + body_len as u64;
        }
        Ok(Some(RawMessage { metadata, body }))
    }
}

pub(super) fn invalid(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ArrowInvalid, message)
}

fn too_large(what: &str, len: u64, max: usize) -> FormatError {
    FormatError::new(
        ErrorClass::LimitExceeded,
        format!(
            "The {what} of this Arrow file has {len} bytes, more than the {max} that are read; write smaller batches."
        ),
    )
}

fn body_len(message: &Message<'_>) -> Result<usize, FormatError> {
    let len = u64::try_from(message.bodyLength())
        .map_err(|_| invalid("Invalid IPC message: negative bodyLength"))?;
    match usize::try_from(len) {
        Ok(len) if len <= limits::ARROW_BODY_BYTES_MAX => Ok(len),
        _ => Err(too_large("record batch", len, limits::ARROW_BODY_BYTES_MAX)),
    }
}

/// The metadata of the message at `start` and where its body starts; `None` at the end of the stream.
fn read_metadata(windows: &mut Windows, start: u64) -> Result<Option<(Bytes, u64)>, FormatError> {
    let left = windows.file_len().saturating_sub(start);
    if left == 0 {
        return Ok(None);
    }
    if left < 4 {
        return Err(invalid(format!("Corrupted message, only {left} bytes available")));
    }
    let mut at = start;
    let mut word = word_at(windows, at)?;
    at += 4;
    if word == CONTINUATION && left >= 8 {
        word = word_at(windows, at)?;
        at += 4;
    }
    let len = i32::from_le_bytes(word);
    if len == 0 {
        return Ok(None);
    }
    let Ok(len) = usize::try_from(len) else {
        return Err(FormatError::new(ErrorClass::OSError, "Invalid IPC message: negative metadata length"));
    };
    let left = windows.file_len() - at;
    if len as u64 > left {
        return Err(invalid(format!("Expected to read {len} metadata bytes, but only read {left}")));
    }
    if len > limits::ARROW_METADATA_BYTES_MAX {
        return Err(too_large("metadata", len as u64, limits::ARROW_METADATA_BYTES_MAX));
    }
    let metadata = windows.read(at, len, len)?;
    // The schema is read in place, which asks for alignment that a slice of a window does not have.
    Ok(Some((Bytes::copy_from_slice(&metadata), at + len as u64)))
}

fn word_at(windows: &mut Windows, at: u64) -> Result<[u8; 4], FormatError> {
    let bytes = windows.read(at, 4, AHEAD_BYTES)?;
    Ok([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn open_stream(windows: &mut Windows) -> Result<(u64, Schema), FormatError> {
    let no_schema = || invalid("Tried reading schema message, was null or length 0");
    let (metadata, body_at) = read_metadata(windows, 0)?.ok_or_else(no_schema)?;
    let message = root_as_message(&metadata)
        .map_err(|error| invalid(format!("Invalid flatbuffers message: {error}")))?;
    let schema = message.header_as_schema().ok_or_else(no_schema)?;
    Ok((body_at + body_len(&message)? as u64, convert_schema(schema)?))
}

fn open_file(windows: &mut Windows) -> Result<(Vec<u64>, Schema), FormatError> {
    let file_len = windows.file_len();
    if file_len <= (2 * MAGIC.len() + 4) as u64 {
        return Err(invalid(format!("File is too small: {file_len}")));
    }
    let tail = windows.read(file_len - TAIL_BYTES as u64, TAIL_BYTES, TAIL_BYTES)?;
    if &tail[4..] != MAGIC {
        return Err(invalid("Not an Arrow file"));
    }
    let len = i32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let len =
        u64::try_from(len).ok().filter(|len| *len > 0 && *len <= file_len - (2 * MAGIC.len() + 4) as u64);
    let Some(len) = len else { return Err(invalid("File is smaller than indicated metadata size")) };
    if len > limits::ARROW_METADATA_BYTES_MAX as u64 {
        return Err(too_large("footer", len, limits::ARROW_METADATA_BYTES_MAX));
    }
    let bytes = windows.read(file_len - TAIL_BYTES as u64 - len, len as usize, len as usize)?;
    let bytes = Bytes::copy_from_slice(&bytes);
    let footer = root_as_footer(&bytes)
        .map_err(|error| invalid(format!("Verification of flatbuffer-encoded Footer failed: {error}")))?;
    let schema = footer.schema().ok_or_else(|| invalid("The footer has no schema"))?;
    let mut pending = offsets(footer.dictionaries().into_iter().flatten())?;
    pending.extend(offsets(footer.recordBatches().into_iter().flatten())?);
    pending.reverse();
    Ok((pending, convert_schema(schema)?))
}

fn offsets<'a>(blocks: impl Iterator<Item = &'a Block>) -> Result<Vec<u64>, FormatError> {
    blocks
        .map(|block| u64::try_from(block.offset()).map_err(|_| invalid("Invalid block in the footer")))
        .collect()
}

fn convert_schema(schema: arrow_ipc::Schema<'_>) -> Result<Schema, FormatError> {
    if !schema.endianness().equals_to_target_endianness() {
        let message = "Arrow files of the other byte order are not supported; write them little-endian.";
        return Err(FormatError::new(ErrorClass::ArrowNotImplementedError, message));
    }
    let schema = arrow_ipc::convert::try_fb_to_schema(schema).map_err(|error| invalid(error.to_string()))?;
    if schema.fields().len() > limits::COLUMNS_MAX {
        let message = format!("This Arrow file has more than {} columns.", limits::COLUMNS_MAX);
        return Err(FormatError::new(ErrorClass::LimitExceeded, message));
    }
    Ok(schema)
}

/// Checks what decoding a batch takes for granted: buffers inside of the body, bounded decompressed sizes, lengths that
/// are none of them negative.
pub(super) fn check_batch(batch: &RecordBatch<'_>, body: &[u8]) -> Result<(), FormatError> {
    let broken = || invalid("Record batch with buffers outside of its body");
    if batch.length() < 0 {
        return Err(invalid("Record batch with a negative length"));
    }
    let nodes = batch.nodes().into_iter().flatten();
    if nodes
        .into_iter()
        .any(|node| node.length() < 0 || node.null_count() < 0 || node.null_count() > node.length())
    {
        return Err(invalid("Record batch with an array of negative length"));
    }
    let is_compressed = batch.compression().is_some();
    let mut plain_bytes = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).map_err(|_| broken())?;
        let len = usize::try_from(buffer.length()).map_err(|_| broken())?;
        let end = start.checked_add(len).ok_or_else(broken)?;
        let bytes = body.get(start..end).ok_or_else(broken)?;
        if is_compressed && !bytes.is_empty() {
            let (stated, _) = bytes.split_first_chunk::<8>().ok_or_else(broken)?;
            // -1 marks a buffer that is stored as it is.
            let stated = i64::from_le_bytes(*stated).max(0).unsigned_abs();
            plain_bytes = plain_bytes.saturating_add(stated);
        }
    }
    let held_bytes = plain_bytes.saturating_add(body.len() as u64);
    if held_bytes > limits::ARROW_BODY_BYTES_MAX as u64 {
        return Err(too_large("record batch", held_bytes, limits::ARROW_BODY_BYTES_MAX));
    }
    memory::hold(held_bytes as usize)
}
