//! What a plain scalar means in YAML 1.1.
//!
//! Owns PyYAML's implicit resolvers and constructors of scalars (dataset-loading.md section 3.1). Text that looks like
//! a number or date but is none is a `ValueError`.

use std::sync::LazyLock;

use regex::Regex;

use super::{TimestampKind, Yaml};
use crate::error::LoadError;

/// What a plain scalar resolves to before it is constructed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
    Merge,
    Value,
    Str,
}

struct Resolvers {
    int: Regex,
    float: Regex,
    timestamp: Regex,
}

static RESOLVERS: LazyLock<Resolvers> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("the pattern is constant and valid");
    Resolvers {
        int: regex(
            "^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+\
             |[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
        ),
        float: regex(
            r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        ),
        timestamp: regex(
            r"^([0-9]{4})-([0-9][0-9]?)-([0-9][0-9]?)(?:(?:[Tt]|[ \t]+)([0-9][0-9]?):([0-9]{2}):([0-9]{2})(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9][0-9]?(?::[0-9]{2})?))?)?$",
        ),
    }
});

pub(super) fn kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "<<" => return Kind::Merge,
        "=" => return Kind::Value,
        _ if bool_value(text).is_some() => return Kind::Bool,
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Kind::Str;
    }
    if RESOLVERS.int.is_match(text) {
        Kind::Int
    } else if RESOLVERS.float.is_match(text) {
        Kind::Float
    } else if is_timestamp(text) {
        Kind::Timestamp
    } else {
        Kind::Str
    }
}

/// A date alone has two digits everywhere; with a time, month and day may have one.
fn is_timestamp(text: &str) -> bool {
    RESOLVERS
        .timestamp
        .captures(text)
        .is_some_and(|parts| parts.get(4).is_some() || (parts[2].len() == 2 && parts[3].len() == 2))
}

/// Builds a scalar of a kind from its text.
pub(super) fn construct(kind: Kind, text: &str) -> Result<Yaml, LoadError> {
    match kind {
        Kind::Null => Ok(Yaml::Null),
        Kind::Bool => bool_value(text).map(Yaml::Bool).ok_or_else(|| {
            LoadError::new("KeyError", outpost_formats::features::repr::quoted(&text.to_lowercase()))
        }),
        Kind::Int => int_value(text).map(Yaml::Int),
        Kind::Float => float_value(text).map(Yaml::Float),
        Kind::Timestamp => timestamp_value(text),
        Kind::Value => Err(LoadError::new(
            "ConstructorError",
            "could not determine a constructor for the tag 'tag:yaml.org,2002:value'",
        )),
        Kind::Merge => Err(LoadError::new(
            "ConstructorError",
            "could not determine a constructor for the tag 'tag:yaml.org,2002:merge'",
        )),
        Kind::Str => Ok(Yaml::Str(text.into())),
    }
}

fn bool_value(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn invalid(what: &str, text: &str) -> LoadError {
    LoadError::new("ValueError", format!("{what} {}", outpost_formats::features::repr::quoted(text)))
}

fn int_value(text: &str) -> Result<i128, LoadError> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix(['-', '+']) {
        Some(rest) => (plain.starts_with('-'), rest),
        None => (false, plain.as_str()),
    };
    let magnitude = if let Some(bits) = digits.strip_prefix("0b") {
        i128::from_str_radix(bits, 2).ok()
    } else if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()
    } else if digits.contains(':') {
        sexagesimal(digits)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    };
    let magnitude = magnitude.ok_or_else(|| invalid("invalid literal for int():", text))?;
    Ok(if negative { -magnitude } else { magnitude })
}

fn sexagesimal(digits: &str) -> Option<i128> {
    digits.split(':').try_fold(0i128, |sum, part| sum.checked_mul(60)?.checked_add(part.parse().ok()?))
}

fn float_value(text: &str) -> Result<f64, LoadError> {
    let plain = text.replace('_', "").to_lowercase();
    let (sign, digits) = match plain.strip_prefix(['-', '+']) {
        Some(rest) => (if plain.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, plain.as_str()),
    };
    let magnitude = match digits {
        ".inf" => Some(f64::INFINITY),
        ".nan" => Some(f64::NAN),
        _ if digits.contains(':') => digits
            .split(':')
            .try_fold(0.0, |sum, part| part.parse::<f64>().ok().map(|part| sum * 60.0 + part)),
        _ => digits.parse().ok(),
    };
    magnitude.map(|value| sign * value).ok_or_else(|| invalid("could not convert string to float:", text))
}

fn timestamp_value(text: &str) -> Result<Yaml, LoadError> {
    let Some(parts) = RESOLVERS.timestamp.captures(text) else {
        return Err(LoadError::new("AttributeError", format!("{text} is not a timestamp")));
    };
    let number =
        |group: usize| parts.get(group).and_then(|part| part.as_str().parse::<u32>().ok()).unwrap_or(0);
    let (year, month, day) = (number(1), number(2), number(3));
    let message = if year == 0 {
        "year 0 is out of range"
    } else if !(1..=12).contains(&month) {
        "month must be in 1..12"
    } else if !(1..=days_of_month(year, month)).contains(&day) {
        "day is out of range for month"
    } else if number(4) > 23 {
        "hour must be in 0..23"
    } else if number(5) > 59 {
        "minute must be in 0..59"
    } else if number(6) > 59 {
        "second must be in 0..59"
    } else {
        let kind = if parts.get(4).is_some() { TimestampKind::DateTime } else { TimestampKind::Date };
        return Ok(Yaml::Timestamp(kind, text.into()));
    };
    Err(LoadError::new("ValueError", message))
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}
