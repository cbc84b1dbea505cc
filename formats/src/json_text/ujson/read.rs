//! JSON text as pandas' `ujson` loads it: what a reader of a `Json` column gets (dataset-loading.md section 5.3).
//!
//! Owns its leniency and its arithmetic: fractions keep 15 digits and are multiplied by a power of ten that is not
//! exact (`0.3` is 0.30000000000000004), `NaN` is null, a comma may end an object. Text that it refuses, or that nests
//! beyond [`limits::NESTING_DEPTH_MAX`], is `None`.

use outpost_model::limits;
use serde_json::{Map, Number, Value as Json};

/// Digits of a fraction that count.
const FRACTION_DIGITS_MAX: usize = 15;
/// Negative powers of ten, rounded to doubles one by one.
const POWERS: [f64; FRACTION_DIGITS_MAX + 1] =
    [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15];

/// Reads a whole text.
#[must_use]
pub fn loads(text: &str) -> Option<Json> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > limits::NESTING_DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.peek()? {
            b'"' => self.string().map(Json::String),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            b'N' => self.word("NaN", Json::Null),
            b'I' => self.word("Infinity", Json::Null),
            b'0'..=b'9' | b'-' => self.number(),
            _ => None,
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b']' => return Some(Json::Array(items)),
                b',' => {}
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.at += 1;
        let mut members = Map::new();
        loop {
            self.skip_space();
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    return Some(Json::Object(members));
                }
                b'"' => {}
                _ => return None,
            }
            let name = self.string()?;
            self.skip_space();
            if self.next()? != b':' {
                return None;
            }
            members.insert(name, self.value(depth + 1)?);
            self.skip_space();
            match self.next()? {
                b'}' => return Some(Json::Object(members)),
                b',' => {}
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.at += 1;
        let mut out = String::new();
        let mut high = None;
        loop {
            let plain = self.at;
            while !matches!(self.peek()?, b'"' | b'\\' | 0) {
                self.at += 1;
            }
            out.push_str(self.text.get(plain..self.at)?);
            match self.next()? {
                b'"' => return Some(out),
                b'\\' => self.escape(&mut out, &mut high)?,
                _ => return None,
            }
        }
    }

    /// Reads what follows a backslash; `high` is the first half of a surrogate pair that waits for the second.
    fn escape(&mut self, out: &mut String, high: &mut Option<u32>) -> Option<()> {
        let character = match self.next()? {
            byte @ (b'\\' | b'"' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                let unit = u32::from_str_radix(digits, 16).ok()?;
                self.at += 4;
                match high.take() {
                    Some(high) if (0xdc00..0xe000).contains(&unit) => {
                        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00))?
                    }
                    Some(_) => return None,
                    None if (0xd800..0xdc00).contains(&unit) => {
                        *high = Some(unit);
                        return Some(());
                    }
                    None => char::from_u32(unit)?,
                }
            }
            _ => return None,
        };
        out.push(character);
        Some(())
    }

    fn number(&mut self) -> Option<Json> {
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        if negative && self.peek() == Some(b'I') {
            return self.word("Infinity", Json::Null);
        }
        let whole = self.whole(negative)?;
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            let number = i128::from(whole) * if negative { -1 } else { 1 };
            let signed = i64::try_from(number).map(Number::from);
            return Some(Json::Number(signed.unwrap_or_else(|_| Number::from(whole))));
        }
        let fraction = self.fraction();
        let exponent = self.exponent();
        #[expect(clippy::cast_precision_loss, reason = "ujson rounds here too")]
        let number = (whole as f64 + fraction) * if negative { -1.0 } else { 1.0 } * exponent;
        Some(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    /// The digits before the point; `None` when they do not fit 64 bits.
    fn whole(&mut self, negative: bool) -> Option<u64> {
        let mut whole = 0_u64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            whole = whole.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            if negative && whole > i64::MIN.unsigned_abs() {
                return None;
            }
            self.at += 1;
        }
        Some(whole)
    }

    fn fraction(&mut self) -> f64 {
        if self.peek() != Some(b'.') {
            return 0.0;
        }
        self.at += 1;
        let (mut value, mut count) = (0.0, 0);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if count < FRACTION_DIGITS_MAX {
                value = value * 10.0 + f64::from(digit - b'0');
                count += 1;
            }
            self.at += 1;
        }
        value * POWERS[count]
    }

    /// The power of ten that the exponent stands for.
    fn exponent(&mut self) -> f64 {
        if !matches!(self.peek(), Some(b'e' | b'E')) {
            return 1.0;
        }
        self.at += 1;
        let sign = if self.peek() == Some(b'-') { -1.0 } else { 1.0 };
        self.at += usize::from(matches!(self.peek(), Some(b'-' | b'+')));
        let mut exponent = 0.0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            exponent = exponent * 10.0 + f64::from(digit - b'0');
            self.at += 1;
        }
        10_f64.powf(exponent * sign)
    }
}
