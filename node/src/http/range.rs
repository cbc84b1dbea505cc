//! Byte ranges: which part of a file a request asks for (RFC 9110 section 14).
//!
//! Owns the reading of `Range` and `If-Range`. One range is served as a part; several, another unit, or a header that
//! makes no sense mean the whole file, as the RFC allows. Only a range that lies behind the file is an error.

use std::ops::Range;

use axum::http::header::{IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method};

/// What part of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Bytes(Range<u64>),
    /// Bytes that the file does not have.
    Beyond,
}

impl Part {
    /// The part of a file of `length` bytes with the strong tag `tag` that a request asks for.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap, tag: &HeaderValue, length: u64) -> Self {
        let mut ranges = headers.get_all(RANGE).iter();
        let (Some(range), None) = (ranges.next(), ranges.next()) else { return Self::Whole };
        // A date never matches: files have a tag and no date.
        let is_current = headers.get(IF_RANGE).is_none_or(|known| known == tag);
        match range.to_str() {
            Ok(text) if method == Method::GET && is_current => Self::parse(text, length),
            _ => Self::Whole,
        }
    }

    fn parse(text: &str, length: u64) -> Self {
        let Some((unit, spec)) = text.split_once('=') else { return Self::Whole };
        let Some((first, last)) = spec.trim().split_once('-') else { return Self::Whole };
        if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
            return Self::Whole;
        }
        let range = match (number(first), number(last)) {
            (Number::Is(first), Number::Is(last)) if first <= last => {
                first..last.saturating_add(1).min(length)
            }
            (Number::Is(first), Number::Missing) => first..length,
            (Number::Missing, Number::Is(last)) => length.saturating_sub(last)..length,
            _ => return Self::Whole,
        };
        if range.start < range.end { Self::Bytes(range) } else { Self::Beyond }
    }
}

enum Number {
    Missing,
    Is(u64),
    Nonsense,
}

/// Digits; more than fit mean the largest number.
fn number(text: &str) -> Number {
    let text = text.trim();
    if text.is_empty() {
        Number::Missing
    } else if text.bytes().all(|c| c.is_ascii_digit()) {
        Number::Is(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Nonsense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        for (text, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-5", Part::Bytes(2..6)),
            ("Bytes = 2-5", Part::Bytes(2..6)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=9-99", Part::Bytes(9..10)),
            ("bytes=0-18446744073709551615", Part::Bytes(0..10)),
            ("bytes=0-99999999999999999999999", Part::Bytes(0..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-99", Part::Bytes(0..10)),
            ("bytes=10-", Part::Beyond),
            ("bytes=10-12", Part::Beyond),
            ("bytes=99999999999999999999999-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=5-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes", Part::Whole),
            ("rows=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(Part::parse(text, 10), expected, "{text:?}");
        }
        assert_eq!(Part::parse("bytes=0-", 0), Part::Beyond);
    }
}
