//! One header block of a tar archive, and the records of pax headers.
//!
//! Owns the fields that tell name, kind and size, in the reading of Python's `tarfile`. Nothing here reads ahead or
//! allocates by a claimed length. Damage is told as [`HeaderError::Damaged`]; what it means, the caller decides.

use crate::error::FormatError;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: u64 = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    /// Links, folders and devices: no content, whatever the size says.
    Empty,
    /// Types that nobody knows; their content is skipped.
    Other,
    Sparse,
    LongName,
    LongLink,
    Pax,
    GlobalPax,
}

/// The fields of a header that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) size: u64,
}

/// Why there is no header.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// A block of zeros, or nothing behind a member.
    End,
    /// The block is no header.
    Damaged(&'static str),
    /// The bytes could not be had, or a limit was met.
    Failed(FormatError),
}

impl From<FormatError> for HeaderError {
    fn from(error: FormatError) -> Self {
        Self::Failed(error)
    }
}

impl Header {
    /// Reads a block, which is shorter only at the end of the archive.
    pub(super) fn parse(block: &[u8]) -> Result<Self, HeaderError> {
        if block.is_empty() {
            return Err(HeaderError::Damaged("empty file"));
        }
        let Ok(block) = <&[u8; BLOCK_BYTES as usize]>::try_from(block) else {
            return Err(HeaderError::Damaged("truncated header"));
        };
        if block.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::End);
        }
        let claimed = number(&block[148..156])?;
        if !checksums(block).contains(&claimed) {
            return Err(HeaderError::Damaged("bad checksum"));
        }
        let size =
            u64::try_from(number(&block[124..136])?).map_err(|_| HeaderError::Damaged("invalid header"))?;
        let mut name = text(&block[..100]);
        let kind = match block[156] {
            0 if name.ends_with('/') => Kind::Empty,
            0 | b'0' | b'7' => Kind::Regular,
            b'1'..=b'6' => Kind::Empty,
            b'S' => Kind::Sparse,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            b'x' | b'X' => Kind::Pax,
            b'g' => Kind::GlobalPax,
            _ => Kind::Other,
        };
        let prefix = text(&block[345..500]);
        if !prefix.is_empty() && !matches!(kind, Kind::Sparse | Kind::LongName | Kind::LongLink) {
            name = format!("{prefix}/{name}");
        }
        Ok(Self { name, kind, size })
    }
}

/// The sum of the bytes of a header, its checksum field taken as blanks: unsigned and signed.
fn checksums(block: &[u8; BLOCK_BYTES as usize]) -> [i64; 2] {
    let blanks = 8 * i64::from(b' ');
    let counted = || block[..148].iter().chain(&block[156..]);
    [
        blanks + counted().map(|byte| i64::from(*byte)).sum::<i64>(),
        blanks + counted().map(|byte| i64::from(byte.cast_signed())).sum::<i64>(),
    ]
}

/// A number: octal text, or binary when the first byte says so.
fn number(field: &[u8]) -> Result<i64, HeaderError> {
    let damaged = HeaderError::Damaged("invalid header");
    match field[0] {
        0o200 | 0o377 => {
            let start = if field[0] == 0o377 { -1_i128 } else { 0 };
            let value = field[1..].iter().fold(start, |value, byte| value << 8 | i128::from(*byte));
            i64::try_from(value).map_err(|_| damaged)
        }
        _ => {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            let digits = std::str::from_utf8(&field[..end]).map_or("?", str::trim);
            if digits.is_empty() { Ok(0) } else { i64::from_str_radix(digits, 8).map_err(|_| damaged) }
        }
    }
}

/// Text up to the first NUL; what is not UTF-8 is replaced.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// What pax records say of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) is_sparse: bool,
}

impl Pax {
    /// Reads records of the form `length key=value\n`.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, HeaderError> {
        let damaged = || HeaderError::Damaged("invalid header");
        let mut pax = Self::default();
        while records.first().is_some_and(|byte| *byte != 0) {
            let blank = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length =
                std::str::from_utf8(&records[..blank]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let length = length.filter(|length| *length > blank + 1).ok_or_else(damaged)?;
            let (record, rest) = records.split_at_checked(length).ok_or_else(damaged)?;
            let record = record[blank + 1..].strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            pax.note(&record[..equals], &String::from_utf8_lossy(&record[equals + 1..]));
            records = rest;
        }
        Ok(pax)
    }

    fn note(&mut self, key: &[u8], value: &str) {
        match key {
            b"path" => self.path = Some(value.trim_end_matches('/').to_owned()),
            b"size" => self.size = Some(value.trim().parse().unwrap_or(0)),
            _ => self.is_sparse |= key.starts_with(b"GNU.sparse."),
        }
    }

    /// Both, with what this one says before the other.
    pub(super) fn over(self, other: Self) -> Self {
        Self {
            path: self.path.or(other.path),
            size: self.size.or(other.size),
            is_sparse: self.is_sparse || other.is_sparse,
        }
    }
}
