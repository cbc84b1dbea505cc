//! Page headers: the few fields of Parquet's `PageHeader` that reading needs, from Thrift's compact encoding.
//!
//! Reads from a slice and says when the slice is too short, so that the caller can fetch more. Statistics and unknown
//! fields are stepped over. Nothing is allocated; depth and sizes are checked against what is there.

use ::parquet::basic::Encoding;

/// Depth of nested values that are stepped over.
const SKIP_DEPTH_MAX: usize = 16;

/// Why a header could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// The slice ends inside the header.
    Short,
    /// The bytes are no page header.
    Broken(&'static str),
}

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
    let mut input = Input { bytes, at: 0 };
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
    Ok((header, input.at))
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

/// The integer and boolean members of a nested header, by field id.
#[derive(Default)]
struct Numbers([Option<i64>; 9]);

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

#[derive(Clone, Copy, PartialEq)]
enum Wire {
    Bool(bool),
    Byte,
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

impl Wire {
    fn new(code: u8) -> Result<Self, HeaderError> {
        Ok(match code {
            1 => Self::Bool(true),
            2 => Self::Bool(false),
            3 => Self::Byte,
            4..=6 => Self::Int,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            _ => return Err(HeaderError::Broken("don't know what type")),
        })
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, HeaderError> {
        let byte = *self.bytes.get(self.at).ok_or(HeaderError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn advance(&mut self, count: u64) -> Result<(), HeaderError> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(HeaderError::Short);
        }
        self.at += count as usize;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, HeaderError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(HeaderError::Broken("a number is too long"))
    }

    /// A zigzag integer.
    fn int(&mut self) -> Result<i64, HeaderError> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// The next field's id and type, `None` at the end of the struct.
    fn field(&mut self, last_id: &mut i64) -> Result<Option<(i64, Wire)>, HeaderError> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        let wire = Wire::new(byte & 0x0f)?;
        *last_id = match byte >> 4 {
            0 => self.int()?,
            delta => last_id.saturating_add(i64::from(delta)),
        };
        Ok(Some((*last_id, wire)))
    }

    fn numbers(&mut self) -> Result<Numbers, HeaderError> {
        let mut numbers = Numbers::default();
        let mut last_id = 0;
        while let Some((id, wire)) = self.field(&mut last_id)? {
            let slot = usize::try_from(id).ok().and_then(|id| numbers.0.get_mut(id));
            match (slot, wire) {
                (Some(slot), Wire::Int) => *slot = Some(self.int()?),
                (Some(slot), Wire::Bool(value)) => *slot = Some(i64::from(value)),
                _ => self.skip(wire, 0)?,
            }
        }
        Ok(numbers)
    }

    fn skip(&mut self, wire: Wire, depth: usize) -> Result<(), HeaderError> {
        if depth > SKIP_DEPTH_MAX {
            return Err(HeaderError::Broken("values are nested too deep"));
        }
        match wire {
            Wire::Bool(_) => Ok(()),
            Wire::Byte => self.advance(1),
            Wire::Int => self.varint().map(|_| ()),
            Wire::Double => self.advance(8),
            Wire::Binary => {
                let len = self.varint()?;
                self.advance(len)
            }
            Wire::List => self.skip_list(depth),
            Wire::Map => Err(HeaderError::Broken("a map in a page header")),
            Wire::Struct => {
                let mut last_id = 0;
                while let Some((_, wire)) = self.field(&mut last_id)? {
                    self.skip(wire, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), HeaderError> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        let wire = Wire::new(head & 0x0f)?;
        for _ in 0..count {
            match wire {
                // In a list a boolean takes a byte of its own.
                Wire::Bool(_) => self.advance(1)?,
                wire => self.skip(wire, depth + 1)?,
            }
        }
        Ok(())
    }
}
