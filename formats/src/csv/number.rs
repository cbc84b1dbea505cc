//! Numbers as pandas 2 reads them from text.
//!
//! Owns the grammars of integer, float and bool cells (dataset-loading.md section 1.6) and the float conversion that keeps
//! 17 digits and scales once, so that its last digit may be wrong as it is in pandas. Says no to everything else.

/// How numbers are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberStyle {
    /// Decimal mark.
    pub(super) decimal: u8,
    /// Group separator between digits.
    pub(super) thousands: Option<u8>,
    /// Whether floats are rounded correctly (`float_precision: round_trip`).
    pub(super) round_trip: bool,
}

/// Why a cell is no integer of the wanted width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotInteger {
    /// Well-formed so far, but too large.
    Overflow,
    /// Not written as an integer.
    Malformed,
}

/// What an unsigned reading of a cell gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsigned {
    Value(u64),
    /// It starts with a minus sign; the rest is not looked at.
    Negative,
}

fn skip_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t'..=b'\r', rest @ ..] = text {
        text = rest;
    }
    text
}

/// Reads digits with separators after the first; `push` says whether the digit still fits.
fn read_digits(
    text: &[u8],
    thousands: Option<u8>,
    mut push: impl FnMut(u8) -> bool,
) -> Result<(), NotInteger> {
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(NotInteger::Malformed);
    }
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        if byte.is_ascii_digit() {
            if !push(byte - b'0') {
                return Err(NotInteger::Overflow);
            }
        } else if Some(*byte) != thousands {
            break;
        }
        rest = after;
    }
    if skip_spaces(rest).is_empty() { Ok(()) } else { Err(NotInteger::Malformed) }
}

/// An `int64` cell.
pub(super) fn parse_i64(cell: &[u8], style: NumberStyle) -> Result<i64, NotInteger> {
    let text = skip_spaces(cell);
    let mut value = 0_i64;
    if let [b'-', digits @ ..] = text {
        read_digits(digits, style.thousands, |digit| {
            let next = value.checked_mul(10).and_then(|tens| tens.checked_sub(i64::from(digit)));
            value = next.unwrap_or(value);
            next.is_some()
        })?;
    } else {
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        read_digits(digits, style.thousands, |digit| {
            let next = value.checked_mul(10).and_then(|tens| tens.checked_add(i64::from(digit)));
            value = next.unwrap_or(value);
            next.is_some()
        })?;
    }
    Ok(value)
}

/// A `uint64` cell.
pub(super) fn parse_u64(cell: &[u8], style: NumberStyle) -> Result<Unsigned, NotInteger> {
    let text = skip_spaces(cell);
    if text.starts_with(b"-") {
        return Ok(Unsigned::Negative);
    }
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let mut value = 0_u64;
    read_digits(digits, style.thousands, |digit| {
        let next = value.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit)));
        value = next.unwrap_or(value);
        next.is_some()
    })?;
    Ok(Unsigned::Value(value))
}

/// Whether a cell has a minus sign where an integer has its sign.
pub(super) fn is_negative(cell: &[u8]) -> bool {
    skip_spaces(cell).starts_with(b"-")
}

/// A `float64` cell: a finite decimal, or one of the spellings of infinity (no spaces around those).
pub(super) fn parse_f64(cell: &[u8], style: NumberStyle) -> Option<f64> {
    scan_decimal(cell, style).or_else(|| parse_infinity(cell))
}

fn parse_infinity(cell: &[u8]) -> Option<f64> {
    let (sign, word) = match cell {
        [b'-', word @ ..] => (-1.0, word),
        [b'+', word @ ..] => (1.0, word),
        word => (1.0, word),
    };
    let infinite = word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity");
    infinite.then_some(sign * f64::INFINITY)
}

/// Significant digits that count; further ones only scale.
const DIGITS_MAX: u32 = 17;

/// The digits of a decimal being read.
#[derive(Default)]
struct Decimal {
    mantissa: f64,
    digits: u32,
    exponent: i64,
}

impl Decimal {
    /// Takes a digit while there is room; false when it was left out.
    fn push(&mut self, byte: u8) -> bool {
        if self.digits >= DIGITS_MAX {
            return false;
        }
        self.mantissa = self.mantissa * 10.0 + f64::from(byte - b'0');
        self.digits += 1;
        true
    }
}

fn scan_decimal(cell: &[u8], style: NumberStyle) -> Option<f64> {
    let text = skip_spaces(cell);
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut decimal = Decimal::default();
    while let [byte @ b'0'..=b'9', after @ ..] = rest {
        if !decimal.push(*byte) {
            decimal.exponent += 1;
        }
        rest = match after {
            [mark, after @ ..] if Some(*mark) == style.thousands => after,
            after => after,
        };
    }
    if let [mark, after @ ..] = rest
        && *mark == style.decimal
    {
        rest = after;
        while let [byte @ b'0'..=b'9', after @ ..] = rest {
            if decimal.push(*byte) {
                decimal.exponent -= 1;
            }
            rest = after;
        }
    }
    if decimal.digits == 0 {
        return None;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let (exponent, after) = scan_exponent(after)?;
        decimal.exponent += exponent;
        rest = after;
    }
    if !skip_spaces(rest).is_empty() {
        return None;
    }
    if style.round_trip {
        return round_trip(text, style);
    }
    scale(if negative { -decimal.mantissa } else { decimal.mantissa }, decimal.exponent)
}

/// The exponent after `e` and what follows it; digits beyond the 17th do not belong to it.
fn scan_exponent(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let count = digits.iter().take(17).take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let value = digits[..count].iter().fold(0_i64, |value, byte| value * 10 + i64::from(byte - b'0'));
    Some((if negative { -value } else { value }, &digits[count..]))
}

/// Scales by a power of ten with one rounding; `None` when the value is too large.
fn scale(mantissa: f64, exponent: i64) -> Option<f64> {
    let power = |exponent: i64| POWERS[usize::try_from(exponent).unwrap_or(0).min(POWERS.len() - 1)];
    let value = match exponent {
        309.. => return None,
        1..=308 => mantissa * power(exponent),
        -308..=0 => mantissa / power(-exponent),
        -616..=-309 => mantissa / power(-308 - exponent) / power(308),
        _ => 0.0,
    };
    value.is_finite().then_some(value)
}

/// Powers of ten, correctly rounded.
static POWERS: std::sync::LazyLock<[f64; 309]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|exponent| format!("1e{exponent}").parse().expect("a power of ten is a number"))
});

/// The correctly rounded value of a text that the decimal grammar accepts.
fn round_trip(text: &[u8], style: NumberStyle) -> Option<f64> {
    let plain: Vec<u8> = text
        .iter()
        .filter(|byte| Some(**byte) != style.thousands && !byte.is_ascii_whitespace() && **byte != 0x0b)
        .map(|byte| if *byte == style.decimal { b'.' } else { *byte })
        .collect();
    std::str::from_utf8(&plain).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: NumberStyle = NumberStyle { decimal: b'.', thousands: None, round_trip: false };

    fn int(cell: &str) -> Result<i64, NotInteger> {
        parse_i64(cell.as_bytes(), PLAIN)
    }

    fn float(cell: &str) -> Option<f64> {
        parse_f64(cell.as_bytes(), PLAIN)
    }

    #[test]
    fn integers_take_spaces_signs_and_leading_zeros() {
        for (cell, value) in
            [(" 12\t", 12), ("+1", 1), ("007", 7), ("-0", 0), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(int(cell), Ok(value), "{cell}");
        }
        for cell in ["", " ", "+", "1_0", "1,000", "0x10", "1d5", "1 2", "--1", "1.0"] {
            assert_eq!(int(cell), Err(NotInteger::Malformed), "{cell}");
        }
        assert_eq!(int("9223372036854775808"), Err(NotInteger::Overflow));
    }

    #[test]
    fn unsigned_integers_reach_the_64_bit_maximum() {
        assert_eq!(parse_u64(b"18446744073709551615", PLAIN), Ok(Unsigned::Value(u64::MAX)));
        assert_eq!(parse_u64(b"18446744073709551616", PLAIN), Err(NotInteger::Overflow));
        assert_eq!(parse_u64(b" -x", PLAIN), Ok(Unsigned::Negative));
    }

    #[test]
    fn floats_keep_seventeen_digits_as_pandas_2_does() {
        for (cell, value) in [
            ("0.1", 0.1),
            ("123456789.123456789", 123_456_789.123_456_78),
            ("0.30000000000000004", 0.3),
            ("5e-324", 5e-324),
            ("1e-320", 1e-320),
            (".5", 0.5),
            ("5.", 5.0),
            (" 1e3 ", 1000.0),
            ("2.2250738585072011e-308", 2.225_073_858_507_201e-308),
            ("1e-700", 0.0),
        ] {
            assert_eq!(float(cell), Some(value), "{cell}");
        }
    }

    #[test]
    fn too_large_or_malformed_floats_are_no_floats() {
        for cell in
            ["1e400", "1e309", "", ".", "e5", "1e", "1e+", "1_0.5", "nan", "1.5x", " inf", "infi", "1.5 5"]
        {
            assert_eq!(float(cell), None, "{cell}");
        }
    }

    #[test]
    fn infinity_has_its_spellings() {
        for cell in ["inf", "+inf", "INF", "Infinity", "+infinity"] {
            assert_eq!(float(cell), Some(f64::INFINITY), "{cell}");
        }
        assert_eq!(float("-inf"), Some(f64::NEG_INFINITY));
    }

    #[test]
    fn round_trip_rounds_correctly() {
        let style = NumberStyle { round_trip: true, ..PLAIN };
        assert_eq!(parse_f64(b"0.30000000000000004", style), Some(0.300_000_000_000_000_04));
    }

    #[test]
    fn separators_follow_the_style() {
        let style = NumberStyle { decimal: b',', thousands: Some(b'.'), round_trip: false };
        assert_eq!(parse_f64(b"1.000,5", style), Some(1000.5));
        assert_eq!(parse_i64(b"1.000", style), Ok(1000));
        assert_eq!(parse_i64(b"1..0", style), Ok(10));
        assert_eq!(parse_f64(b"1..0", style), None);
    }
}
