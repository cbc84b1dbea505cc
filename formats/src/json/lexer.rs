//! Tokens of JSON under two grammars: Arrow's, which is strict, and ujson's, which is not.
//!
//! Owns what each of the two accepts and how it words its errors (dataset-loading.md section 1.7). Works on raw bytes: whether
//! strings are UTF-8 is checked where their text is taken. Never recurses and never allocates.

use std::borrow::Cow;

use crate::error::{ErrorClass, FormatError};

/// Whose rules a text is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Arrow's JSON reader.
    Arrow,
    /// pandas' ujson, which decodes single lines and whole arrays.
    Ujson,
}

/// Why a text is not JSON under a grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// The message of the grammar's owner.
    Message(Cow<'static, str>),
    /// A bound of this implementation.
    Limit(FormatError),
}

impl SyntaxError {
    pub(super) fn limit(message: String) -> Self {
        Self::Limit(FormatError::new(ErrorClass::LimitExceeded, message))
    }
}

fn message(text: &'static str) -> SyntaxError {
    SyntaxError::Message(Cow::Borrowed(text))
}

/// A string between its quotes, escapes not resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawStr<'a> {
    pub(super) raw: &'a [u8],
    pub(super) has_escapes: bool,
}

/// What a value starts with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    /// Digits and the like, as written.
    Number(&'a [u8]),
    /// `NaN`, or infinity with its sign.
    NonFinite(f64),
    Quote,
    OpenObject,
    OpenArray,
}

/// A position in a text.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) grammar: Grammar,
    /// Whether ujson accepted something that Arrow refuses or reads otherwise.
    pub(super) has_strays: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8], grammar: Grammar) -> Self {
        Self { bytes, at: 0, grammar, has_strays: false }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over `byte` when it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The start of a value; for [`Token::Quote`] a call of [`Self::string`] must follow.
    pub(super) fn token(&mut self) -> Result<Token<'a>, SyntaxError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => Ok(self.advance(Token::OpenObject)),
            Some(b'[') => Ok(self.advance(Token::OpenArray)),
            Some(b'"') => Ok(self.advance(Token::Quote)),
            Some(b't') => self.word(b"true", Token::Bool(true)),
            Some(b'f') => self.word(b"false", Token::Bool(false)),
            Some(b'n') => self.word(b"null", Token::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'N' | b'I') => self.non_finite(1.0),
            _ => Err(self.no_value()),
        }
    }

    fn no_value(&self) -> SyntaxError {
        match self.grammar {
            Grammar::Arrow => message("Invalid value."),
            Grammar::Ujson => message("Expected object or value"),
        }
    }

    fn advance(&mut self, token: Token<'a>) -> Token<'a> {
        self.at += 1;
        token
    }

    fn starts_with(&self, word: &[u8]) -> bool {
        self.bytes[self.at..].starts_with(word)
    }

    fn word(&mut self, word: &'static [u8], token: Token<'a>) -> Result<Token<'a>, SyntaxError> {
        if self.starts_with(word) {
            self.at += word.len();
            return Ok(token);
        }
        Err(match (self.grammar, word) {
            (Grammar::Arrow, _) => message("Invalid value."),
            (Grammar::Ujson, b"true") => message("Unexpected character found when decoding 'true'"),
            (Grammar::Ujson, b"false") => message("Unexpected character found when decoding 'false'"),
            (Grammar::Ujson, _) => message("Unexpected character found when decoding 'null'"),
        })
    }

    fn non_finite(&mut self, sign: f64) -> Result<Token<'a>, SyntaxError> {
        let names: &[(&[u8], f64)] = match self.grammar {
            Grammar::Arrow => &[(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY), (b"Inf", f64::INFINITY)],
            Grammar::Ujson => &[(b"NaN", f64::NAN), (b"Infinity", f64::INFINITY)],
        };
        for (name, value) in names {
            if self.starts_with(name) {
                self.at += name.len();
                self.has_strays = true;
                return Ok(Token::NonFinite(sign * value));
            }
        }
        Err(match self.grammar {
            Grammar::Arrow => message("Invalid value."),
            Grammar::Ujson => message("Unexpected character found when decoding 'Infinity'"),
        })
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn number(&mut self) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        let is_negative = self.eat(b'-');
        if is_negative && matches!(self.peek(), Some(b'I' | b'N')) && self.allows_negative_name() {
            return self.non_finite(-1.0);
        }
        let whole_at = self.at;
        let whole = self.digits();
        let has_leading_zero = whole > 1 && self.bytes[whole_at] == b'0';
        match self.grammar {
            Grammar::Arrow if whole == 0 => return Err(message("Invalid value.")),
            // The zero is the number; what follows it is out of place.
            Grammar::Arrow if has_leading_zero => {
                self.at = whole_at + 1;
                return Ok(Token::Number(&self.bytes[start..self.at]));
            }
            Grammar::Arrow => {}
            Grammar::Ujson => self.has_strays |= whole == 0 || has_leading_zero,
        }
        if self.eat(b'.') && self.digits() == 0 {
            self.missing_digits("Miss fraction part in number.")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.eat(b'-') {
                self.eat(b'+');
            }
            if self.digits() == 0 {
                self.missing_digits("Miss exponent in number.")?;
            }
        }
        Ok(Token::Number(&self.bytes[start..self.at]))
    }

    /// ujson knows `-Infinity` but no `-NaN`.
    fn allows_negative_name(&self) -> bool {
        self.grammar == Grammar::Arrow || self.peek() == Some(b'I')
    }

    fn missing_digits(&mut self, what: &'static str) -> Result<(), SyntaxError> {
        match self.grammar {
            Grammar::Arrow => Err(message(what)),
            Grammar::Ujson => {
                self.has_strays = true;
                Ok(())
            }
        }
    }

    /// The rest of a string whose opening quote was read.
    pub(super) fn string(&mut self) -> Result<RawStr<'a>, SyntaxError> {
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(stop) = rest.iter().position(|byte| STOPS[usize::from(*byte)]) else {
                return Err(self.unclosed());
            };
            self.at += stop;
            match rest[stop] {
                b'"' => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(RawStr { raw, has_escapes });
                }
                b'\\' => {
                    has_escapes = true;
                    self.escape()?;
                }
                control => self.control(control)?,
            }
        }
    }

    fn control(&mut self, control: u8) -> Result<(), SyntaxError> {
        match self.grammar {
            Grammar::Arrow => Err(message("Invalid encoding in string.")),
            Grammar::Ujson if control == 0 => Err(self.unclosed()),
            Grammar::Ujson => {
                self.has_strays = true;
                self.at += 1;
                Ok(())
            }
        }
    }

    fn unclosed(&self) -> SyntaxError {
        match self.grammar {
            Grammar::Arrow => message("Missing a closing quotation mark in string."),
            Grammar::Ujson => message("Unmatched ''\"' when when decoding 'string'"),
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        let kind = self.peek().ok_or_else(|| self.unclosed())?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => self.unicode_escape(),
            _ => Err(match self.grammar {
                Grammar::Arrow => message("Invalid escape character in string."),
                Grammar::Ujson => message("Unrecognized escape sequence when decoding 'string'"),
            }),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), SyntaxError> {
        let code = self.hex()?;
        if !(0xd800..0xe000).contains(&code) {
            return Ok(());
        }
        let has_low = code < 0xdc00 && self.starts_with(b"\\u");
        if has_low {
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                return Ok(());
            }
        }
        match self.grammar {
            Grammar::Arrow => Err(message("The surrogate pair in string is invalid.")),
            Grammar::Ujson if has_low => Err(message("Unpaired high surrogate when decoding 'string'")),
            Grammar::Ujson => {
                self.has_strays = true;
                Ok(())
            }
        }
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.bytes.get(self.at..self.at + 4);
        let code = digits.and_then(hex_value).ok_or_else(|| match self.grammar {
            Grammar::Arrow => message("Incorrect hex digit after \\u escape in string."),
            Grammar::Ujson => {
                message("Unexpected character in unicode escape sequence when decoding 'string'")
            }
        })?;
        self.at += 4;
        Ok(code)
    }

    /// After an object's `{` or `,`: whether a name follows; its opening quote, or the closing brace, is read.
    pub(super) fn object_name(&mut self, is_first: bool) -> Result<bool, SyntaxError> {
        self.skip_space();
        if self.eat(b'"') {
            return Ok(true);
        }
        let may_close = is_first || self.grammar == Grammar::Ujson;
        if may_close && self.eat(b'}') {
            self.has_strays |= !is_first;
            return Ok(false);
        }
        Err(match self.grammar {
            Grammar::Arrow => message("Missing a name for object member."),
            Grammar::Ujson => message("Expected object or value"),
        })
    }

    pub(super) fn colon(&mut self) -> Result<(), SyntaxError> {
        self.skip_space();
        if self.eat(b':') {
            return Ok(());
        }
        Err(match self.grammar {
            Grammar::Arrow => message("Missing a colon after a name of object member."),
            Grammar::Ujson => message("No ':' found when decoding object value"),
        })
    }

    /// After an object's member: whether another one follows.
    pub(super) fn next_member(&mut self) -> Result<bool, SyntaxError> {
        self.skip_space();
        if self.eat(b',') {
            return Ok(true);
        }
        if self.eat(b'}') {
            return Ok(false);
        }
        Err(match self.grammar {
            Grammar::Arrow => message("Missing a comma or '}' after an object member."),
            Grammar::Ujson => message("Unexpected character found when decoding object value"),
        })
    }

    /// After an array's `[`: whether it has items.
    pub(super) fn first_item(&mut self) -> bool {
        self.skip_space();
        !self.eat(b']')
    }

    /// After an array's item: whether another one follows.
    pub(super) fn next_item(&mut self) -> Result<bool, SyntaxError> {
        self.skip_space();
        if self.eat(b',') {
            self.skip_space();
            if self.grammar == Grammar::Ujson && self.peek() == Some(b']') {
                return Err(message("Unexpected character found when decoding array value (1)"));
            }
            return Ok(true);
        }
        if self.eat(b']') {
            return Ok(false);
        }
        Err(match self.grammar {
            Grammar::Arrow => message("Missing a comma or ']' after an array element."),
            Grammar::Ujson => message("Unexpected character found when decoding array value (2)"),
        })
    }

    /// After a whole ujson document.
    pub(super) fn end_of_text(&mut self) -> Result<(), SyntaxError> {
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(message("Trailing data"));
        }
        Ok(())
    }
}

/// Bytes at which a run of plain string characters ends.
static STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        stops[byte] = true;
        byte += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

fn hex_value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

impl<'a> RawStr<'a> {
    /// The bytes with escapes resolved; lone surrogates are dropped, as ujson drops them.
    pub(super) fn unescaped(self) -> Cow<'a, [u8]> {
        if !self.has_escapes {
            return Cow::Borrowed(self.raw);
        }
        let mut plain = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            plain.extend_from_slice(&rest[..at]);
            rest = unescape_one(&rest[at..], &mut plain);
        }
        plain.extend_from_slice(rest);
        Cow::Owned(plain)
    }
}

/// Resolves the escape at the start of `rest`, which the lexer has checked; returns what follows it.
fn unescape_one<'a>(rest: &'a [u8], plain: &mut Vec<u8>) -> &'a [u8] {
    let short = match rest[1] {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unescape_unicode(rest, plain),
        other => other,
    };
    plain.push(short);
    &rest[2..]
}

fn unescape_unicode<'a>(rest: &'a [u8], plain: &mut Vec<u8>) -> &'a [u8] {
    let code = hex_value(&rest[2..6]).unwrap_or(0);
    let mut buffer = [0; 4];
    if let Some(character) = char::from_u32(code) {
        plain.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        return &rest[6..];
    }
    let low = rest.get(6..12).filter(|next| next.starts_with(b"\\u")).and_then(|next| hex_value(&next[2..]));
    let Some(low @ 0xdc00..0xe000) = low else { return &rest[6..] };
    let joined = 0x10000 + ((code.wrapping_sub(0xd800) & 0x3ff) << 10) + (low - 0xdc00);
    if let Some(character) = char::from_u32(joined) {
        plain.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }
    &rest[12..]
}
