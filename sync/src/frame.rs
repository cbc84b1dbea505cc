//! Frames: how a message lies on the wire (PROTOCOL.md section 3).
//!
//! Owns the frame and its checks. Whatever the length fields say, no more than the limits is taken into memory, and
//! nothing of a frame counts before its checksum agrees. A failure is final for the stream that it came on.

use bincode::config::{Configuration, Limit};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use outpost_model::limits::{SYNC_DECODE_BYTES_MAX, SYNC_FRAME_BYTES_MAX};

use crate::wire::Message;

/// The version of the protocol that this code speaks.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"OPSY";
const HEADER_BYTES: usize = 20;
const CHECKED_HEADER_BYTES: usize = 16;
const IS_COMPRESSED: u8 = 1;
/// Below this compression costs more than it saves.
const COMPRESS_BYTES_MIN: usize = 512;
/// Bodies come compressed already: what is left to gain is between them, and cheap to get.
const ZSTD_LEVEL: i32 = 1;

/// Bytes that are not a frame of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not begin like one.
    #[error("the bytes are not a frame of the sync protocol")]
    Magic,
    /// Another version of the protocol.
    #[error("the frame is of version {0} of the sync protocol, this node speaks {VERSION}")]
    Version(u8),
    /// The lengths break the limits or each other.
    #[error("the frame claims {sent} bytes that become {raw}; at most {SYNC_FRAME_BYTES_MAX} are taken")]
    Length {
        /// Bytes as sent.
        sent: usize,
        /// Bytes once decompressed.
        raw: usize,
    },
    /// The checksum disagrees.
    #[error("the frame was damaged on the way")]
    Checksum,
    /// The payload is not what the header says.
    #[error("the frame's content cannot be read: {0}")]
    Content(String),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Cut,
}

fn config()
-> Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<SYNC_DECODE_BYTES_MAX>> {
    bincode::config::standard().with_limit::<SYNC_DECODE_BYTES_MAX>()
}

/// Frames a message.
#[must_use]
pub fn encode(message: &Message) -> Bytes {
    let raw = message.to_payload(bincode::config::standard());
    let packed = (raw.len() >= COMPRESS_BYTES_MIN)
        .then(|| zstd::bulk::compress(&raw, ZSTD_LEVEL).ok())
        .flatten()
        .filter(|packed| packed.len() < raw.len());
    let flags = if packed.is_some() { IS_COMPRESSED } else { 0 };
    let payload = packed.as_deref().unwrap_or(&raw);
    let length =
        |bytes: usize| u32::try_from(bytes).expect("messages are put together within the frame's limit");
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    frame.put_slice(&MAGIC);
    frame.put_slice(&[VERSION, message.kind(), flags, 0]);
    frame.put_u32(length(payload.len()));
    frame.put_u32(length(raw.len()));
    frame.put_u32(checksum(&frame, payload));
    frame.put_slice(payload);
    frame.freeze()
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

/// What a header promises, checked against the limits.
struct Header {
    kind: u8,
    is_compressed: bool,
    sent: usize,
    raw: usize,
    checksum: u32,
}

impl Header {
    fn read(mut bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        bytes.advance(4);
        let (version, kind, flags, zero) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u8(), bytes.get_u8());
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if flags & !IS_COMPRESSED != 0 || zero != 0 {
            return Err(FrameError::Content("unknown flags".to_owned()));
        }
        let (sent, raw) = (bytes.get_u32() as usize, bytes.get_u32() as usize);
        let is_compressed = flags == IS_COMPRESSED;
        let is_possible = sent <= SYNC_FRAME_BYTES_MAX && raw <= SYNC_FRAME_BYTES_MAX;
        if !is_possible || (!is_compressed && sent != raw) {
            return Err(FrameError::Length { sent, raw });
        }
        Ok(Self { kind, is_compressed, sent, raw, checksum: bytes.get_u32() })
    }
}

/// Takes frames out of a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message; `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is then of no use any more.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        // What cannot become a frame is refused before more of it is waited for.
        let begun = self.buffer.len().min(MAGIC.len());
        if self.buffer[..begun] != MAGIC[..begun] {
            return Err(FrameError::Magic);
        }
        if self.buffer.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = Header::read(&self.buffer[..HEADER_BYTES])?;
        if self.buffer.len() < HEADER_BYTES + header.sent {
            self.buffer.reserve(HEADER_BYTES + header.sent - self.buffer.len());
            return Ok(None);
        }
        let frame = self.buffer.split_to(HEADER_BYTES + header.sent);
        let (head, payload) = frame.split_at(HEADER_BYTES);
        if checksum(&head[..CHECKED_HEADER_BYTES], payload) != header.checksum {
            return Err(FrameError::Checksum);
        }
        read_payload(&header, payload).map(Some)
    }

    /// Checks that the stream ended between two frames.
    ///
    /// # Errors
    /// [`FrameError::Cut`] when it did not.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Cut) }
    }
}

fn read_payload(header: &Header, payload: &[u8]) -> Result<Message, FrameError> {
    if !header.is_compressed {
        return Message::from_payload(header.kind, payload, config());
    }
    let raw = zstd::bulk::decompress(payload, header.raw)
        .map_err(|error| FrameError::Content(format!("it does not decompress: {error}")))?;
    if raw.len() != header.raw {
        return Err(FrameError::Length { sent: header.sent, raw: raw.len() });
    }
    Message::from_payload(header.kind, &raw, config())
}

/// Reads a body that is exactly one frame.
///
/// # Errors
/// [`FrameError`].
pub fn decode_one(bytes: &[u8]) -> Result<Message, FrameError> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let message = decoder.next_message()?.ok_or(FrameError::Cut)?;
    if decoder.buffer.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Content("bytes after the frame".to_owned()))
    }
}

#[cfg(test)]
mod tests;
