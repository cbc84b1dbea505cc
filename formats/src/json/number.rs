//! Numbers as Arrow and ujson read them.
//!
//! ujson trades exactness for speed: it keeps 15 digits of a fraction (dataset-loading.md section 1.7). Rows that pass
//! through it show that, so it is followed digit by digit.

/// Digits of a fraction that ujson reads.
const FRACTION_DIGITS_MAX: usize = 15;
/// What a fraction of so many digits is multiplied with.
const TENTHS: [f64; FRACTION_DIGITS_MAX + 1] =
    [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15];
/// A number that ujson read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i64),
    /// Beyond `i64`.
    UInt(u64),
    Float(f64),
}

/// Whether a number's text is an integer.
pub(super) fn is_integer(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
}

/// Whether a number's text could be beyond what a double holds, or an integer beyond 64 bits.
pub(super) fn may_overflow(text: &[u8]) -> bool {
    text.len() > 18 || text.iter().any(|byte| matches!(byte, b'e' | b'E'))
}

/// An integer's text as Arrow's `int64`.
pub(super) fn to_i64(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A number's text as the nearest double; infinite when it is out of range.
pub(super) fn to_f64(text: &[u8]) -> f64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// Reads a number as ujson does.
///
/// # Errors
/// ujson's message for integers out of range.
pub(super) fn read_ujson(text: &[u8]) -> Result<Number, &'static str> {
    let (is_negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    let whole_len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = whole_number(&digits[..whole_len], is_negative)?;
    let rest = &digits[whole_len..];
    if rest.is_empty() {
        return Ok(integer(whole, is_negative));
    }
    let (fraction, exponent) = split_exponent(rest);
    let mut value = (whole as f64 + fraction_value(fraction)) * if is_negative { -1.0 } else { 1.0 };
    if let Some(exponent) = exponent {
        value *= 10_f64.powf(exponent);
    }
    Ok(Number::Float(value))
}

fn whole_number(digits: &[u8], is_negative: bool) -> Result<u64, &'static str> {
    let limit = if is_negative { 1 << 63 } else { u64::MAX };
    let mut value = 0_u64;
    for digit in digits {
        let next = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
        value = next.filter(|value| *value <= limit).ok_or(match is_negative {
            true => "Value is too small",
            false => "Value is too big!",
        })?;
    }
    Ok(value)
}

fn integer(whole: u64, is_negative: bool) -> Number {
    match (is_negative, i64::try_from(whole)) {
        (true, _) => Number::Int((whole as i64).wrapping_neg()),
        (false, Ok(value)) => Number::Int(value),
        (false, Err(_)) => Number::UInt(whole),
    }
}

/// The digits after the point, and the exponent when there is one.
fn split_exponent(rest: &[u8]) -> (&[u8], Option<f64>) {
    let fraction = rest.strip_prefix(b".").unwrap_or(rest);
    let Some(at) = fraction.iter().position(|byte| matches!(byte, b'e' | b'E')) else {
        return (fraction, None);
    };
    let (fraction, exponent) = (&fraction[..at], &fraction[at + 1..]);
    let (sign, digits) = match exponent.split_first() {
        Some((b'-', digits)) => (-1.0, digits),
        Some((b'+', digits)) => (1.0, digits),
        _ => (1.0, exponent),
    };
    let value = digits.iter().fold(0.0, |value, digit| value * 10.0 + f64::from(digit - b'0'));
    (fraction, Some(sign * value))
}

fn fraction_value(digits: &[u8]) -> f64 {
    let digits = &digits[..digits.len().min(FRACTION_DIGITS_MAX)];
    let value = digits.iter().fold(0.0, |value, digit| value * 10.0 + f64::from(digit - b'0'));
    // Not a division: 0.3 comes out as 3 times 0.1, which is a little more.
    value * TENTHS[digits.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_text::ujson::write_float;

    fn rewritten(text: &str) -> String {
        let mut out = String::new();
        match read_ujson(text.as_bytes()) {
            Ok(Number::Int(value)) => out = value.to_string(),
            Ok(Number::UInt(value)) => out = value.to_string(),
            Ok(Number::Float(value)) => write_float(value, &mut out),
            Err(message) => out = message.to_owned(),
        }
        out
    }

    #[test]
    fn ujson_keeps_ten_decimals() {
        let cases = [
            ("0.1234567890123456", "0.123456789"),
            ("1e-12", "0.0"),
            ("9e-16", "9e-16"),
            ("-1.5", "-1.5"),
            ("-0.0", "0.0"),
            ("0.99999999999", "1.0"),
            ("1.00000000005", "1.0000000001"),
            ("123456789012345.6", "123456789012345.59375"),
            ("1e16", "10000000000000000.0"),
            ("1.5e16", "1.5e+16"),
            ("12345678901234567890.5", "1.23456789e+19"),
            ("1e400", "null"),
            ("1.5e+", "1.5"),
        ];
        for (text, expected) in cases {
            assert_eq!(rewritten(text), expected, "{text}");
        }
    }

    #[test]
    fn ujson_reads_integers_of_64_bits() {
        let cases = [
            ("-9223372036854775808", "-9223372036854775808"),
            ("-9223372036854775809", "Value is too small"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "Value is too big!"),
            ("-", "0"),
            ("007", "7"),
        ];
        for (text, expected) in cases {
            assert_eq!(rewritten(text), expected, "{text}");
        }
    }

    #[test]
    fn ujson_reads_fractions_a_little_off() {
        assert_eq!(read_ujson(b"0.3"), Ok(Number::Float(0.300_000_000_000_000_04)));
        assert_eq!(read_ujson(b"0.123456789"), Ok(Number::Float(0.123_456_789_000_000_01)));
    }
}
