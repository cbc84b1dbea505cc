//! Thrift's compact encoding, as far as Parquet's headers and footers need it.
//!
//! Reads from a slice. Nothing is allocated; depth and sizes are checked against what is there.

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

/// The integer and boolean members of a struct, by field id.
#[derive(Default)]
pub(super) struct Numbers(pub(super) [Option<i64>; 9]);

/// The type of a value.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wire {
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

/// What is read from, and how far.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

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
    pub(super) fn int(&mut self) -> Result<i64, HeaderError> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// The next field's id and type, `None` at the end of the struct.
    pub(super) fn field(&mut self, last_id: &mut i64) -> Result<Option<(i64, Wire)>, HeaderError> {
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

    /// The small members of the struct that follows.
    pub(super) fn numbers(&mut self) -> Result<Numbers, HeaderError> {
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

    /// Steps over a value.
    pub(super) fn skip(&mut self, wire: Wire, depth: usize) -> Result<(), HeaderError> {
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
            Wire::Map => Err(HeaderError::Broken("a map where none belongs")),
            Wire::Struct => {
                let mut last_id = 0;
                while let Some((_, wire)) = self.field(&mut last_id)? {
                    self.skip(wire, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// The head of a list: how many values of which type follow.
    pub(super) fn list(&mut self) -> Result<(u64, Wire), HeaderError> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        Ok((count, Wire::new(head & 0x0f)?))
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), HeaderError> {
        let (count, wire) = self.list()?;
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
