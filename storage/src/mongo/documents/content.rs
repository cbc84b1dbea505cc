//! JSON text to BSON: the `content` and `details` of a response.
//!
//! Owns what may be stored (worker-and-store.md section 1.1): an object, integers of 64 bits with sign, keys without
//! NUL that do not begin with `$`, nesting and size within the database's limits. Refuses the rest with
//! [`Unstorable`], which names the first thing in the way. Order of keys, integers and floats are kept as they are.

use std::fmt;

use mongodb::bson::raw::{CString, RawArrayBuf, RawBson, RawDocumentBuf};
use outpost_model::limits;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::number;

/// What keeps a text from being stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unstorable {
    /// Its form: not an object, a key or a number that cannot be stored.
    #[error("{0}")]
    Form(String),
    /// Its size.
    #[error("{0}")]
    Size(String),
}

impl Unstorable {
    /// Says which part of an entry is meant.
    pub(crate) fn of_part(self, part: &str) -> Self {
        let about = |reason| format!("its {part} cannot be stored: {reason}");
        match self {
            Self::Form(reason) => Self::Form(about(reason)),
            Self::Size(reason) => Self::Size(about(reason)),
        }
    }
}

/// Converts the JSON text of an object.
///
/// # Errors
/// [`Unstorable`].
pub(crate) fn from_json(text: &[u8]) -> Result<RawDocumentBuf, Unstorable> {
    if text.len() > limits::CONTENT_BYTES_MAX {
        return Err(Unstorable::Size(format!(
            "it has {} bytes, more than {}",
            text.len(),
            limits::CONTENT_BYTES_MAX
        )));
    }
    number::check_integers(text)?;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Value::deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Unstorable::Form(error.to_string()))?;
    let RawBson::Document(document) = value.0 else {
        return Err(Unstorable::Form("it is not a JSON object".to_owned()));
    };
    let size = document.as_bytes().len();
    if size > limits::MONGO_CONTENT_BYTES_MAX {
        let max = limits::MONGO_CONTENT_BYTES_MAX;
        return Err(Unstorable::Size(format!("it takes {size} bytes as BSON, more than {max}")));
    }
    Ok(document)
}

struct Value(RawBson);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = RawBson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<RawBson, E> {
        Ok(RawBson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawBson, E> {
        Ok(RawBson::Boolean(value))
    }

    /// As Python's driver does: 32 bits when they are enough.
    fn visit_i64<E>(self, value: i64) -> Result<RawBson, E> {
        Ok(i32::try_from(value).map_or(RawBson::Int64(value), RawBson::Int32))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<RawBson, E> {
        let value = i64::try_from(value).map_err(|_| E::custom(number::too_large(&value.to_string())))?;
        self.visit_i64(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawBson, E> {
        Ok(RawBson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawBson, E> {
        Ok(RawBson::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawBson, E> {
        Ok(RawBson::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<RawBson, A::Error> {
        let mut array = RawArrayBuf::new();
        while let Some(value) = values.next_element::<Value>()? {
            array.push(value.0);
        }
        Ok(RawBson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawBson, A::Error> {
        let mut document = RawDocumentBuf::new();
        while let Some(key) = members.next_key_seed(Key)? {
            let value = members.next_value::<Value>()?;
            document.append(key, value.0);
        }
        Ok(RawBson::Document(document))
    }
}

/// A key that the database and its other readers take.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = CString;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<CString, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key.starts_with('$') {
            let shown: String = key.chars().take(60).collect();
            return Err(serde::de::Error::custom(format!("the key {shown:?} begins with '$'")));
        }
        CString::try_from(key).map_err(|_| serde::de::Error::custom("a key holds a NUL character"))
    }
}

#[cfg(test)]
mod tests;
