//! Values: one cell of a table, typed as Arrow types it.
//!
//! Owns the in-memory form of cells between a reader and the response. A value does not know its column's type; the
//! table does. Producers keep value and type in agreement.

use std::sync::Arc;

use arrow_schema::TimeUnit;

/// One cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// `bool`.
    Bool(bool),
    /// `int8` to `int64`.
    Int(i64),
    /// `uint8` to `uint64`.
    UInt(u64),
    /// `float16`, `float32` (both widened exactly) and `float64`.
    Float(f64),
    /// `string`, `large_string`, and the text of a `Json` cell.
    Str(Arc<str>),
    /// `binary`, `large_binary`, `fixed_size_binary`.
    Bytes(Arc<[u8]>),
    /// `date32`, `date64`: days since 1970-01-01.
    Date(i32),
    /// `time32`, `time64`: units since midnight.
    Time(i64, TimeUnit),
    /// `timestamp`: units since 1970-01-01T00:00:00, UTC when the type has a zone; the zone's name.
    Timestamp(i64, TimeUnit, Option<Arc<str>>),
    /// `duration`: units.
    Duration(i64, TimeUnit),
    /// `decimal128`, `decimal256`: its exact text, as Python prints it.
    Decimal(Arc<str>),
    /// `list`, `large_list`, `fixed_size_list`.
    List(Vec<Value>),
    /// `struct`: members in the type's order.
    Struct(Vec<(Arc<str>, Value)>),
}

impl Value {
    /// Text as a value.
    #[must_use]
    pub fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// Whether it is [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Bytes that it takes in memory, without names of members.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let inside = match self {
            Self::Str(text) | Self::Decimal(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(Self::held_bytes).sum(),
            Self::Struct(members) => members.iter().map(|(_, member)| member.held_bytes()).sum(),
            _ => 0,
        };
        size_of::<Self>() + inside
    }

    /// The member of a struct with this name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(members) => members.iter().find(|(key, _)| &**key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}
