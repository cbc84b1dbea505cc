//! Page headers: the few fields of Parquet's `PageHeader` that reading needs, from Thrift's compact encoding.
//!
//! Reads from a slice and says when the slice is too short, so that the caller can fetch more. Statistics and unknown
//! fields are stepped over.

use ::parquet::basic::Encoding;

use super::thrift::{HeaderError, Input, Numbers, Wire};

/// What a page is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PageKind {
    Data {
        num_values: u32,
        encoding: Encoding,
        def_levels: Encoding,
        rep_levels: Encoding,
    },
    DataV2(DataV2),
    Dictionary {
        num_values: u32,
        encoding: Encoding,
        is_sorted: bool,
    },
    /// An index page or a type that is not known: skipped.
    Other,
}

/// The header of a data page of version 2; lengths are bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DataV2 {
    pub(super) num_values: u32,
    pub(super) num_nulls: u32,
    pub(super) num_rows: u32,
    pub(super) encoding: Encoding,
    pub(super) def_levels_len: u32,
    pub(super) rep_levels_len: u32,
    pub(super) is_compressed: bool,
}

/// A page header; sizes are bytes of the page after the header.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PageHeader {
    pub(super) kind: PageKind,
    pub(super) compressed_len: usize,
    pub(super) uncompressed_len: usize,
}

/// Reads a header at the start of `bytes`; returns it with its length.
pub(super) fn parse(bytes: &[u8]) -> Result<(PageHeader, usize), HeaderError> {
    let mut input = Input::new(bytes);
    let (mut kind, mut compressed, mut uncompressed) = (None, None, None);
    let mut members = Numbers::default();
    let mut last_id = 0;
    while let Some((id, wire)) = input.field(&mut last_id)? {
        match (id, wire) {
            (1, Wire::Int) => kind = Some(input.int()?),
            (2, Wire::Int) => uncompressed = Some(input.int()?),
            (3, Wire::Int) => compressed = Some(input.int()?),
            (5 | 7 | 8, Wire::Struct) => members = input.numbers()?,
            _ => input.skip(wire, 0)?,
        }
    }
    let kind = kind.ok_or(HeaderError::Broken("page type is missing"))?;
    let header = PageHeader {
        kind: page_kind(kind, &members)?,
        compressed_len: size(compressed)?,
        uncompressed_len: size(uncompressed)?,
    };
    Ok((header, input.at()))
}

fn size(value: Option<i64>) -> Result<usize, HeaderError> {
    value
        .and_then(|value| usize::try_from(value).ok())
        .ok_or(HeaderError::Broken("page size is missing or negative"))
}

fn page_kind(kind: i64, members: &Numbers) -> Result<PageKind, HeaderError> {
    Ok(match kind {
        0 => PageKind::Data {
            num_values: members.count(1)?,
            encoding: members.encoding(2)?,
            def_levels: members.encoding(3)?,
            rep_levels: members.encoding(4)?,
        },
        2 => PageKind::Dictionary {
            num_values: members.count(1)?,
            encoding: members.encoding(2)?,
            is_sorted: members.0[3] == Some(1),
        },
        3 => PageKind::DataV2(DataV2 {
            num_values: members.count(1)?,
            num_nulls: members.count(2)?,
            num_rows: members.count(3)?,
            encoding: members.encoding(4)?,
            def_levels_len: members.count(5)?,
            rep_levels_len: members.count(6)?,
            is_compressed: members.0[7] != Some(0),
        }),
        _ => PageKind::Other,
    })
}

impl Numbers {
    fn count(&self, id: usize) -> Result<u32, HeaderError> {
        self.0[id]
            .and_then(|value| u32::try_from(value).ok())
            .ok_or(HeaderError::Broken("a page count is missing"))
    }

    fn encoding(&self, id: usize) -> Result<Encoding, HeaderError> {
        Ok(match self.0[id] {
            Some(0) => Encoding::PLAIN,
            Some(2) => Encoding::PLAIN_DICTIONARY,
            Some(3) => Encoding::RLE,
            #[expect(deprecated, reason = "old files still carry it")]
            Some(4) => Encoding::BIT_PACKED,
            Some(5) => Encoding::DELTA_BINARY_PACKED,
            Some(6) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Some(7) => Encoding::DELTA_BYTE_ARRAY,
            Some(8) => Encoding::RLE_DICTIONARY,
            Some(9) => Encoding::BYTE_STREAM_SPLIT,
            _ => return Err(HeaderError::Broken("page encoding is not known")),
        })
    }
}
