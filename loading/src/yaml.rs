//! YAML 1.1 as PyYAML's `safe_load` reads it.
//!
//! Owns [`Yaml`], what a document means, and [`load`]. Refuses tags that would build objects, several documents and
//! documents beyond [`outpost_model::limits::YAML_NODES_MAX`] or
//! [`outpost_model::limits::NESTING_DEPTH_MAX`]. Failures are [`LoadError`]s with PyYAML's class names.

mod compose;
mod continuation;
mod json;
mod scalar;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use json::load_json;

use crate::error::LoadError;
use outpost_formats::features::repr::quoted;

/// A loaded value.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// An integer in any of YAML 1.1's notations.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A date, or a date with a time, as written.
    Timestamp(TimestampKind, Arc<str>),
    /// A sequence.
    Seq(Vec<Yaml>),
    /// A mapping, in the order in which its keys first appear.
    Map(Vec<(Yaml, Yaml)>),
}

/// Which Python class a timestamp becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// `datetime.date`
    Date,
    /// `datetime.datetime`
    DateTime,
}

/// Reads a stream of at most one document; an empty stream is [`Yaml::Null`].
///
/// # Errors
/// `ScannerError`, `ParserError`, `ComposerError`, `ConstructorError` or `ValueError` as PyYAML raises them,
/// `LimitExceeded` for a document that is too large or too deep.
pub fn load(text: &str) -> Result<Yaml, LoadError> {
    compose::load(text)
}

impl Yaml {
    /// The value of a text key of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The entries of a mapping.
    #[must_use]
    pub fn entries(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text, when it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Whether Python's `if value:` takes the branch.
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Timestamp(..) => true,
            Self::Seq(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// The name of its Python class.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Timestamp(TimestampKind::Date, _) => "datetime.date",
            Self::Timestamp(TimestampKind::DateTime, _) => "datetime.datetime",
            Self::Seq(_) => "list",
            Self::Map(_) => "dict",
        }
    }

    /// How Python prints it inside another value.
    #[must_use]
    pub fn repr(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}").replace("NaN", "nan"),
            Self::Str(text) => quoted(text),
            Self::Timestamp(_, text) => format!("{}({text})", self.type_name()),
            Self::Seq(items) => {
                let items: Vec<String> = items.iter().map(Self::repr).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("{}: {}", key.repr(), value.repr())).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    /// How Python prints it alone: text without quotes, anything else as [`Yaml::repr`].
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Str(text) => text.to_string(),
            other => other.repr(),
        }
    }

    /// The value as JSON: keys become text, timestamps their text, NaN and infinities null, integers beyond 64 bits
    /// floating-point numbers.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => int_to_json(*value),
            Self::Float(value) => serde_json::Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Self::Str(text) | Self::Timestamp(_, text) => Value::String(text.to_string()),
            Self::Seq(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.display(), value.to_json())).collect())
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "JSON readers see large integers as floating-point numbers")]
fn int_to_json(value: i128) -> serde_json::Value {
    if let Ok(value) = i64::try_from(value) {
        value.into()
    } else if let Ok(value) = u64::try_from(value) {
        value.into()
    } else {
        (value as f64).into()
    }
}
