//! Text encodings: bytes of a stream to UTF-8, block by block.
//!
//! Owns the encodings and error handlers that readers of text offer (dataset-loading.md sections 1.6 and 1.9) and the wording
//! of `UnicodeDecodeError`. A block is checked as a whole before any of it is handed out. Unknown names are refused with
//! `ValueError`; other encodings than these are not decoded.

use std::io::Read;

use crate::error::{ErrorClass, FormatError};

/// Raw bytes decoded at a time, as pandas reads them.
const BLOCK_BYTES: usize = 256 * 1024;

/// An encoding that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// UTF-8 whose byte order mark is dropped.
    Utf8Sig,
    Ascii,
    Latin1,
    Cp1252,
    /// UTF-16 in the order its mark tells, little-endian without one.
    Utf16,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// The encoding of this Python name.
    ///
    /// # Errors
    /// `ValueError` for a name that is unknown or not supported.
    pub(crate) fn named(name: &str) -> Result<Self, FormatError> {
        let key = name.to_ascii_lowercase().replace(['_', ' '], "-");
        match key.as_str() {
            "utf-8" | "utf8" | "u8" | "utf" | "cp65001" => Ok(Self::Utf8),
            "utf-8-sig" | "utf8-sig" => Ok(Self::Utf8Sig),
            "ascii" | "us-ascii" | "646" => Ok(Self::Ascii),
            "latin-1" | "latin1" | "latin" | "l1" | "iso-8859-1" | "iso8859-1" | "8859" | "cp819" => {
                Ok(Self::Latin1)
            }
            "cp1252" | "windows-1252" | "1252" | "ansi" | "mbcs" => Ok(Self::Cp1252),
            "utf-16" | "utf16" | "u16" => Ok(Self::Utf16),
            "utf-16-le" | "utf-16le" | "utf16-le" => Ok(Self::Utf16Le),
            "utf-16-be" | "utf-16be" | "utf16-be" => Ok(Self::Utf16Be),
            _ => Err(FormatError::new(
                ErrorClass::ValueError,
                format!("unknown encoding: {name}; use utf-8, utf-16, latin-1, cp1252 or ascii"),
            )),
        }
    }

    fn python_name(self) -> &'static str {
        match self {
            Self::Utf8 | Self::Utf8Sig => "utf-8",
            Self::Ascii => "ascii",
            Self::Latin1 => "latin-1",
            Self::Cp1252 => "charmap",
            Self::Utf16 => "utf-16",
            Self::Utf16Le => "utf-16-le",
            Self::Utf16Be => "utf-16-be",
        }
    }
}

/// What happens to bytes that are not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInvalid {
    Fail,
    Replace,
    Ignore,
    BackslashReplace,
}

impl OnInvalid {
    /// The handler of this Python name; those that need surrogates fail on invalid bytes.
    ///
    /// # Errors
    /// `ValueError` for an unknown name.
    pub(crate) fn named(name: &str) -> Result<Self, FormatError> {
        match name {
            "strict" | "surrogateescape" | "surrogatepass" => Ok(Self::Fail),
            "replace" => Ok(Self::Replace),
            "ignore" => Ok(Self::Ignore),
            "backslashreplace" => Ok(Self::BackslashReplace),
            _ => {
                Err(FormatError::new(ErrorClass::ValueError, format!("unknown error handler name '{name}'")))
            }
        }
    }
}

/// A stream of bytes as UTF-8.
pub(crate) struct Decoder {
    input: Box<dyn Read + Send>,
    encoding: Encoding,
    on_invalid: OnInvalid,
    /// Raw bytes not yet decoded: an incomplete character at the end of a block.
    raw: Vec<u8>,
    /// Offset in the stream of `raw[0]`.
    offset: u64,
    at_start: bool,
    ended: bool,
}

/// Why decoding stopped inside a block.
struct Invalid {
    /// First offending byte in the block and how many belong to it.
    at: usize,
    len: usize,
    reason: &'static str,
}

impl Decoder {
    pub(crate) fn new(input: Box<dyn Read + Send>, encoding: Encoding, on_invalid: OnInvalid) -> Self {
        Self { input, encoding, on_invalid, raw: Vec::new(), offset: 0, at_start: true, ended: false }
    }

    /// Appends the next block to `out`, which holds valid UTF-8 afterwards; false at the end of the stream.
    ///
    /// # Errors
    /// `UnicodeDecodeError` for invalid bytes, or the stream's error.
    pub(crate) fn next_block(&mut self, out: &mut Vec<u8>) -> Result<bool, FormatError> {
        while !self.ended {
            let before = out.len();
            self.fill()?;
            self.skip_mark();
            self.decode(out)?;
            if out.len() > before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fill(&mut self) -> Result<(), FormatError> {
        let wanted = BLOCK_BYTES - self.raw.len();
        let read = self.input.by_ref().take(wanted as u64).read_to_end(&mut self.raw)?;
        self.ended = read < wanted;
        Ok(())
    }

    /// Drops a byte order mark that the encoding asks for.
    fn skip_mark(&mut self) {
        if !std::mem::replace(&mut self.at_start, false) {
            return;
        }
        let mark_bytes = match self.encoding {
            Encoding::Utf8Sig if self.raw.starts_with(b"\xef\xbb\xbf") => 3,
            Encoding::Utf16 if self.raw.starts_with(b"\xff\xfe") => 2,
            Encoding::Utf16 if self.raw.starts_with(b"\xfe\xff") => {
                self.encoding = Encoding::Utf16Be;
                2
            }
            _ => 0,
        };
        self.raw.drain(..mark_bytes);
        self.offset += mark_bytes as u64;
    }

    /// Decodes `raw`, keeping an incomplete character unless the stream has ended.
    fn decode(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let mut start = 0;
        loop {
            let rest = &self.raw[start..];
            let stopped = match self.encoding {
                Encoding::Utf8 | Encoding::Utf8Sig => decode_utf8(rest, self.ended, out),
                Encoding::Ascii => decode_ascii(rest, out),
                Encoding::Latin1 => decode_latin1(rest, out),
                Encoding::Cp1252 => decode_cp1252(rest, out),
                Encoding::Utf16 | Encoding::Utf16Le => {
                    decode_utf16(rest, self.ended, u16::from_le_bytes, out)
                }
                Encoding::Utf16Be => decode_utf16(rest, self.ended, u16::from_be_bytes, out),
            };
            match stopped {
                Ok(consumed) => {
                    start += consumed;
                    break;
                }
                Err(invalid) => start = self.handle(start, &invalid, out)?,
            }
        }
        self.raw.drain(..start);
        self.offset += start as u64;
        Ok(())
    }

    /// Applies the error handler; the index in `raw` where decoding goes on.
    fn handle(&self, start: usize, invalid: &Invalid, out: &mut Vec<u8>) -> Result<usize, FormatError> {
        let at = start + invalid.at;
        let bytes = &self.raw[at..at + invalid.len];
        match self.on_invalid {
            OnInvalid::Fail => return Err(self.decode_error(at, bytes, invalid.reason)),
            OnInvalid::Replace => out.extend_from_slice("\u{fffd}".as_bytes()),
            OnInvalid::Ignore => {}
            OnInvalid::BackslashReplace => {
                for byte in bytes {
                    out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                }
            }
        }
        Ok(at + invalid.len)
    }

    fn decode_error(&self, at: usize, bytes: &[u8], reason: &str) -> FormatError {
        decode_error(self.encoding.python_name(), self.offset + at as u64, bytes, reason)
    }
}

/// Bytes that must be UTF-8 as a whole.
///
/// # Errors
/// `UnicodeDecodeError` with Python's message.
pub(crate) fn strict_utf8(bytes: &[u8]) -> Result<&str, FormatError> {
    std::str::from_utf8(bytes).map_err(|_| match decode_utf8(bytes, true, &mut Vec::new()) {
        Err(invalid) => {
            let damage = &bytes[invalid.at..invalid.at + invalid.len];
            decode_error("utf-8", invalid.at as u64, damage, invalid.reason)
        }
        Ok(_) => decode_error("utf-8", 0, bytes, "unexpected end of data"),
    })
}

fn decode_error(encoding: &str, position: u64, bytes: &[u8], reason: &str) -> FormatError {
    let message = if let [byte] = bytes {
        format!("'{encoding}' codec can't decode byte 0x{byte:02x} in position {position}: {reason}")
    } else {
        let last = (position + bytes.len() as u64).saturating_sub(1);
        format!("'{encoding}' codec can't decode bytes in position {position}-{last}: {reason}")
    };
    FormatError::new(ErrorClass::UnicodeDecodeError, message)
}

fn decode_utf8(bytes: &[u8], ended: bool, out: &mut Vec<u8>) -> Result<usize, Invalid> {
    let Err(error) = std::str::from_utf8(bytes) else {
        out.extend_from_slice(bytes);
        return Ok(bytes.len());
    };
    let at = error.valid_up_to();
    out.extend_from_slice(&bytes[..at]);
    match error.error_len() {
        None if !ended => Ok(at),
        None => Err(Invalid { at, len: bytes.len() - at, reason: "unexpected end of data" }),
        Some(len) => {
            let starts = matches!(bytes[at], 0xc2..=0xf4);
            let reason = if starts { "invalid continuation byte" } else { "invalid start byte" };
            Err(Invalid { at, len, reason })
        }
    }
}

fn push(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn decode_ascii(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Invalid> {
    let at = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
    out.extend_from_slice(&bytes[..at]);
    if at == bytes.len() { Ok(at) } else { Err(Invalid { at, len: 1, reason: "ordinal not in range(128)" }) }
}

fn decode_latin1(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Invalid> {
    for &byte in bytes {
        push(out, char::from(byte));
    }
    Ok(bytes.len())
}

/// Characters of the bytes 0x80 to 0x9f; NUL stands for undefined.
const CP1252_HIGH: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“',
    '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

fn decode_cp1252(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Invalid> {
    for (at, &byte) in bytes.iter().enumerate() {
        let character = match byte {
            0x80..=0x9f => CP1252_HIGH[usize::from(byte - 0x80)],
            _ => char::from(byte),
        };
        if character == '\0' && byte != 0 {
            return Err(Invalid { at, len: 1, reason: "character maps to <undefined>" });
        }
        push(out, character);
    }
    Ok(bytes.len())
}

fn decode_utf16(
    bytes: &[u8],
    ended: bool,
    order: fn([u8; 2]) -> u16,
    out: &mut Vec<u8>,
) -> Result<usize, Invalid> {
    let mut at = 0;
    while let Some(&[low, high]) = bytes.get(at..at + 2) {
        let unit = order([low, high]);
        let next = bytes.get(at + 2..at + 4).map(|pair| order([pair[0], pair[1]]));
        match (unit, next) {
            (0xd800..=0xdbff, Some(trail @ 0xdc00..=0xdfff)) => {
                let code = 0x1_0000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(trail) - 0xdc00);
                push(out, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                at += 4;
            }
            (0xd800..=0xdbff, None) if !ended => return Ok(at),
            (0xd800..=0xdbff, None) => {
                return Err(Invalid { at, len: bytes.len() - at, reason: "unexpected end of data" });
            }
            (0xd800..=0xdbff, Some(_)) => {
                return Err(Invalid { at, len: 2, reason: "illegal UTF-16 surrogate" });
            }
            _ => match char::from_u32(u32::from(unit)) {
                Some(character) => {
                    push(out, character);
                    at += 2;
                }
                None => return Err(Invalid { at, len: 2, reason: "illegal encoding" }),
            },
        }
    }
    if at < bytes.len() && ended {
        return Err(Invalid { at, len: bytes.len() - at, reason: "truncated data" });
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    struct Trickle(Vec<u8>, usize);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(3).min(self.0.len() - self.1);
            buffer[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 += count;
            Ok(count)
        }
    }

    fn decode(bytes: &[u8], encoding: &str, errors: &str) -> Result<String, FormatError> {
        let input = Box::new(Trickle(bytes.to_vec(), 0));
        let mut decoder = Decoder::new(input, Encoding::named(encoding)?, OnInvalid::named(errors)?);
        let mut out = Vec::new();
        while decoder.next_block(&mut out)? {}
        Ok(String::from_utf8(out).unwrap())
    }

    fn message(bytes: &[u8], encoding: &str) -> String {
        let error = decode(bytes, encoding, "strict").unwrap_err();
        assert_eq!(error.class, ErrorClass::UnicodeDecodeError);
        error.message
    }

    #[test]
    fn utf8_errors_are_worded_as_python_words_them() {
        assert_eq!(
            message(b"ok\n\xff", "utf-8"),
            "'utf-8' codec can't decode byte 0xff in position 3: invalid start byte"
        );
        assert_eq!(
            message(b"caf\xe9\n", "utf-8"),
            "'utf-8' codec can't decode byte 0xe9 in position 3: invalid continuation byte"
        );
        assert_eq!(
            message(b"a\xf0\x9f\x98b", "utf-8"),
            "'utf-8' codec can't decode bytes in position 1-3: invalid continuation byte"
        );
        assert_eq!(
            message(b"a\xe2\x82", "utf-8"),
            "'utf-8' codec can't decode bytes in position 1-2: unexpected end of data"
        );
    }

    #[test]
    fn error_handlers_replace_ignore_or_escape() {
        assert_eq!(decode(b"a\xffb", "utf-8", "replace").unwrap(), "a\u{fffd}b");
        assert_eq!(decode(b"a\xffb", "utf-8", "ignore").unwrap(), "ab");
        assert_eq!(decode(b"a\xffb", "utf-8", "backslashreplace").unwrap(), "a\\xffb");
        assert_eq!(decode(b"a", "utf-8", "zzz").unwrap_err().message, "unknown error handler name 'zzz'");
    }

    #[test]
    fn single_byte_encodings_are_decoded() {
        assert_eq!(decode(b"caf\xe9", "latin-1", "strict").unwrap(), "café");
        assert_eq!(decode(b"\x80", "cp1252", "strict").unwrap(), "€");
        assert_eq!(
            message(b"\x81", "windows-1252"),
            "'charmap' codec can't decode byte 0x81 in position 0: character maps to <undefined>"
        );
        assert!(message(b"\xe9", "ascii").ends_with("ordinal not in range(128)"));
    }

    #[test]
    fn utf16_follows_its_mark() {
        let units: Vec<u16> = "\u{feff}aé😀".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!(decode(&little, "utf-16", "strict").unwrap(), "aé😀");
        assert_eq!(decode(&big, "utf-16", "strict").unwrap(), "aé😀");
        assert!(message(&little[..3], "utf-16").ends_with("truncated data"));
    }

    #[test]
    fn a_character_across_blocks_is_whole() {
        let text = format!("{}é€😀", "x".repeat(BLOCK_BYTES - 1));
        assert_eq!(decode(text.as_bytes(), "utf-8", "strict").unwrap(), text);
    }

    #[test]
    fn only_the_signature_variant_drops_the_mark() {
        assert_eq!(decode(b"\xef\xbb\xbfa", "utf-8", "strict").unwrap(), "\u{feff}a");
        assert_eq!(decode(b"\xef\xbb\xbfa", "utf-8-sig", "strict").unwrap(), "a");
    }

    #[test]
    fn unknown_encodings_are_refused_by_name() {
        let error = decode(b"", "klingon", "strict").unwrap_err();
        assert_eq!(error.class, ErrorClass::ValueError);
        assert!(error.message.starts_with("unknown encoding: klingon"));
    }
}
