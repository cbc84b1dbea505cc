//! Features as Python prints them in error messages: `{'a': List(Value('int64'), length=2)}`.
//!
//! Owns these texts and the cut of long ones. Nothing here fails.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Feature, Features, MediaKind, json};

/// Texts above this many characters lose their middle.
const TEXT_CHARS_MAX: usize = 3_000;
/// Characters kept at each end of a cut text.
const TEXT_CHARS_KEPT: usize = 1_500;

/// A text with at most 3,000 characters; of a longer one, the middle is left out.
#[must_use]
pub fn short_text(text: &str) -> String {
    let count = text.chars().count();
    if count <= TEXT_CHARS_MAX {
        return text.into();
    }
    let head: String = text.chars().take(TEXT_CHARS_KEPT).collect();
    let tail: String = text.chars().skip(count - TEXT_CHARS_KEPT).collect();
    format!("{head}\n...\n{tail}")
}

/// A string as Python's `repr` quotes it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(character);
            }
            _ if character.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push(quote);
    out
}

/// The text of features.
#[must_use]
pub fn features_text(features: &Features) -> String {
    let members: Vec<String> = features
        .0
        .iter()
        .map(|(name, feature)| format!("{}: {}", quoted(name), feature_text(feature)))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// The text of a feature.
#[must_use]
pub fn feature_text(feature: &Feature) -> String {
    match feature {
        Feature::Value { dtype, .. } => format!("Value('{dtype}')"),
        Feature::ClassLabel { names } => format!("ClassLabel(names={})", list_text(names)),
        Feature::List { feature, length: None } => format!("List({})", feature_text(feature)),
        Feature::List { feature, length: Some(length) } => {
            format!("List({}, length={length})", feature_text(feature))
        }
        Feature::LargeList { feature } => format!("LargeList({})", feature_text(feature)),
        Feature::Array { shape, dtype } => {
            format!("Array{}D(shape={}, dtype='{dtype}')", shape.len(), shape_text(shape))
        }
        Feature::Translation { languages } => format!("Translation(languages={})", list_text(languages)),
        Feature::TranslationVariableLanguages { languages, num_languages } => {
            let languages = languages.as_ref().map_or("None".into(), |languages| list_text(languages));
            let count = num_languages.map_or("None".into(), |count| count.to_string());
            format!("TranslationVariableLanguages(languages={languages}, num_languages={count})")
        }
        Feature::Media(media) => media_text(media.kind, &media.options),
        Feature::Json { decode } => format!("Json(decode={})", if *decode { "True" } else { "False" }),
        Feature::Struct(features) => features_text(features),
    }
}

/// A shape as a Python tuple: `(None, 3)`.
#[must_use]
pub(super) fn shape_text(shape: &[Option<usize>]) -> String {
    let sizes: Vec<String> =
        shape.iter().map(|size| size.map_or("None".into(), |size| size.to_string())).collect();
    format!("({}{})", sizes.join(", "), if sizes.len() == 1 { "," } else { "" })
}

fn list_text(names: &[Arc<str>]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

fn media_text(kind: MediaKind, options: &[(Arc<str>, serde_json::Value)]) -> String {
    let fields: Vec<String> = json::media_fields(kind)
        .iter()
        .filter(|(name, _)| *name != "id")
        .map(|(name, default)| {
            let given = options.iter().find(|(option, _)| &**option == *name).map(|(_, value)| value);
            format!("{name}={}", given.map_or_else(|| default.python_text(), json_text))
        })
        .collect();
    format!("{}({})", json::media_name(kind), fields.join(", "))
}

/// A JSON scalar as Python prints it.
#[must_use]
pub(super) fn json_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "None".into(),
        serde_json::Value::Bool(true) => "True".into(),
        serde_json::Value::Bool(false) => "False".into(),
        serde_json::Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}
