//! Integers that BSON cannot hold, found in JSON text before it is parsed.
//!
//! Owns the scan: a parser that turns large integers into floats would change their value in silence. Python's driver
//! refuses the same integers (worker-and-store.md section 1.1).

use super::content::Unstorable;

/// Integers of fewer bytes fit 64 bits with sign.
const SUSPECT_BYTES: usize = 19;

/// Refuses text with an integer beyond 64 bits with sign. Text that is not JSON is left to the parser.
pub(super) fn check_integers(text: &[u8]) -> Result<(), Unstorable> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => at = after_string(text, at + 1),
            b'-' | b'0'..=b'9' => {
                let end =
                    text[at..].iter().position(|byte| !is_of_number(*byte)).map_or(text.len(), |n| at + n);
                check(&text[at..end])?;
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// What is said of an integer that is too large.
pub(super) fn too_large(digits: &str) -> String {
    let shown: String = digits.chars().take(40).collect();
    format!("the integer {shown} does not fit 64 bits with sign, the widest that MongoDB stores")
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

fn after_string(text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn check(number: &[u8]) -> Result<(), Unstorable> {
    let is_float = || number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    if number.len() < SUSPECT_BYTES || is_float() {
        return Ok(());
    }
    let digits = String::from_utf8_lossy(number);
    match digits.parse::<i64>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Unstorable::Form(too_large(&digits))),
    }
}
