//! JSON as Python's `json.loads` reads it from bytes.
//!
//! Owns what sets it apart: `NaN` and `Infinity` are numbers, of members with one name the last counts, messages name
//! line, column and character. Bounded in depth and values. Fails with `JSONDecodeError`, `UnicodeDecodeError`,
//! `OverflowError` for whole numbers beyond 64 bits, or `LimitExceeded`.

use std::sync::Arc;

use indexmap::IndexMap;

use super::budget::Values;
use super::decode::too_large;
use crate::encoding::strict_utf8;
use crate::error::{ErrorClass, FormatError};
use crate::value::Value;

/// Reads a document.
pub(super) fn parse(content: &[u8]) -> Result<Value, FormatError> {
    let text = strict_utf8(content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content))?;
    let mut parser = Parser { text, at: 0, values: Values::new() };
    parser.skip_blanks();
    let value = parser.value(0)?;
    parser.skip_blanks();
    if parser.at < text.len() { Err(parser.error("Extra data", parser.at)) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: Values,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn takes(&mut self, literal: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, reason: &str, at: usize) -> FormatError {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let characters = before.chars().count();
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        let message = format!("{reason}: line {line} column {column} (char {characters})");
        FormatError::new(ErrorClass::JSONDecodeError, message)
    }

    fn value(&mut self, depth: usize) -> Result<Value, FormatError> {
        self.values.take_at(depth)?;
        match self.peek() {
            Some(b'"') => self.string().map(|text| Value::Str(text.into())),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') if !self.text[self.at..].starts_with("-I") => self.number(),
            _ if self.takes("null") => Ok(Value::Null),
            _ if self.takes("true") => Ok(Value::Bool(true)),
            _ if self.takes("false") => Ok(Value::Bool(false)),
            _ if self.takes("NaN") => Ok(Value::Float(f64::NAN)),
            _ if self.takes("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ if self.takes("-Infinity") => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(self.error("Expecting value", self.at)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, FormatError> {
        let mut members: IndexMap<Arc<str>, Value> = IndexMap::new();
        self.at += 1;
        self.skip_blanks();
        let mut closed = self.takes("}");
        while !closed {
            if self.peek() != Some(b'"') {
                return Err(self.error("Expecting property name enclosed in double quotes", self.at));
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.takes(":") {
                return Err(self.error("Expecting ':' delimiter", self.at));
            }
            self.skip_blanks();
            members.insert(name.into(), self.value(depth + 1)?);
            self.skip_blanks();
            closed = self.takes("}");
            if !closed && !self.takes(",") {
                return Err(self.error("Expecting ',' delimiter", self.at));
            }
            if !closed {
                self.skip_blanks();
            }
        }
        Ok(Value::Struct(members.into_iter().collect()))
    }

    fn array(&mut self, depth: usize) -> Result<Value, FormatError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_blanks();
        let mut closed = self.takes("]");
        while !closed {
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            closed = self.takes("]");
            if !closed && !self.takes(",") {
                return Err(self.error("Expecting ',' delimiter", self.at));
            }
            if !closed {
                self.skip_blanks();
            }
        }
        Ok(Value::List(items))
    }

    fn number(&mut self) -> Result<Value, FormatError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = start + usize::from(bytes[start] == b'-');
        let mut end = match bytes.get(whole) {
            Some(b'0') => whole + 1,
            Some(b'1'..=b'9') => whole + digits(whole),
            _ => return Err(self.error("Expecting value", start)),
        };
        let whole_end = end;
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = bytes.get(end + 1 + sign..).map_or(0, |_| digits(end + 1 + sign));
            if exponent > 0 {
                end += 1 + sign + exponent;
            }
        }
        self.at = end;
        let text = &self.text[start..end];
        if end > whole_end {
            return Ok(Value::Float(text.parse().unwrap_or(f64::NAN)));
        }
        let int = text.parse().map(Value::Int);
        int.or_else(|_| text.parse().map(Value::UInt)).map_err(|_| too_large())
    }

    fn string(&mut self) -> Result<String, FormatError> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ');
            let Some(plain) = plain else {
                return Err(self.error("Unterminated string starting at", start));
            };
            out.push_str(&rest[..plain]);
            self.at += plain;
            match rest.as_bytes()[plain] {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => out.push(self.escape(start)?),
                _ => return Err(self.error("Invalid control character at", self.at)),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, FormatError> {
        let backslash = self.at;
        self.at += 2;
        Ok(match self.text.as_bytes().get(backslash + 1) {
            None => return Err(self.error("Unterminated string starting at", start)),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(backslash),
            Some(_) => return Err(self.error("Invalid \\escape", backslash)),
        })
    }

    fn code_point(&mut self, backslash: usize) -> Result<char, FormatError> {
        let invalid = |parser: &Self| parser.error("Invalid \\uXXXX escape", backslash + 1);
        let first = self.hex().ok_or_else(|| invalid(self))?;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let at = self.at;
            self.at += 2;
            match self.hex() {
                Some(low @ 0xdc00..0xe000) => code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00),
                _ => self.at = at,
            }
        }
        // Half a pair has no text form; Arrow refuses it.
        char::from_u32(code).ok_or_else(|| {
            let message =
                format!("'utf-8' codec can't encode character '\\u{code:04x}': surrogates not allowed");
            FormatError::new(ErrorClass::ValueError, message)
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let digits =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.class, ErrorClass::JSONDecodeError, "{text}");
        error.message
    }

    #[test]
    fn damage_is_told_by_line_column_and_character() {
        for (text, expected) in [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ("{\n \"é\" 1}", "Expecting ':' delimiter: line 2 column 6 (char 7)"),
            ("[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"),
            ("{a", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
            ("1 2", "Extra data: line 1 column 3 (char 2)"),
            ("\"ab", "Unterminated string starting at: line 1 column 1 (char 0)"),
            ("\"a\n\"", "Invalid control character at: line 1 column 3 (char 2)"),
            ("\"\\x\"", "Invalid \\escape: line 1 column 2 (char 1)"),
            ("\"\\u12\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"),
            ("-", "Expecting value: line 1 column 1 (char 0)"),
            ("1.", "Extra data: line 1 column 2 (char 1)"),
            ("1e", "Extra data: line 1 column 2 (char 1)"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_texts_and_members_are_those_of_python() {
        let text =
            r#"{"a": [1, -0, 1e2, 18446744073709551615, -Infinity], "b": "\ud83d\ude00\n", "a": null}"#;
        let expected = Value::Struct(vec![("a".into(), Value::Null), ("b".into(), Value::str("😀\n"))]);
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        let numbers = parse(b" [1.5, 18446744073709551615, -Infinity, []] ").unwrap();
        let expected = [
            Value::Float(1.5),
            Value::UInt(u64::MAX),
            Value::Float(f64::NEG_INFINITY),
            Value::List(Vec::new()),
        ];
        assert_eq!(numbers, Value::List(expected.to_vec()));
        assert!(matches!(parse(b"NaN").unwrap(), Value::Float(value) if value.is_nan()));
        assert_eq!(parse(b"18446744073709551616").unwrap_err().class, ErrorClass::OverflowError);
    }

    #[test]
    fn deep_documents_are_refused() {
        let error = parse("[".repeat(100_000).as_bytes()).unwrap_err();
        assert_eq!(error.class, ErrorClass::LimitExceeded);
    }
}
