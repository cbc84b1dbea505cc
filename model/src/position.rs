//! Positions in the authority's history: `(epoch, seq)`.
//!
//! Owns their text form (`<32 hex digits>:<decimal seq>`), used in `X-Sync-Position`. Positions of different
//! epochs are not comparable and the type offers no order between them.

use std::fmt;
use std::str::FromStr;

/// 128 random bits minted together with an authority's log. A restored or rebuilt authority has a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u128);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A point in the history of one authority: everything up to and including `seq` has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which history.
    pub epoch: Epoch,
    /// How far in it; grows with every change, 0 before the first.
    pub seq: u64,
}

impl Position {
    /// Whether a state at `self` contains everything up to `other`; `None` when the epochs differ and the question
    /// has no answer.
    #[must_use]
    pub fn covers(&self, other: &Self) -> Option<bool> {
        (self.epoch == other.epoch).then_some(self.seq >= other.seq)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a position is 32 hexadecimal digits, ':' and a decimal number")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (epoch, seq) = text.split_once(':').ok_or(InvalidPosition)?;
        let all_hex = epoch.bytes().all(|c| c.is_ascii_hexdigit());
        let all_digits = !seq.is_empty() && seq.bytes().all(|c| c.is_ascii_digit());
        if epoch.len() != 32 || !all_hex || !all_digits {
            return Err(InvalidPosition);
        }
        let epoch = u128::from_str_radix(epoch, 16).map_err(|_| InvalidPosition)?;
        let seq = seq.parse().map_err(|_| InvalidPosition)?;
        Ok(Self { epoch: Epoch(epoch), seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let position = Position { epoch: Epoch(0x0123_4567), seq: u64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
    }

    #[test]
    fn garbage_is_refused() {
        for bad in ["", ":", "1:1", "00000000000000000000000000000000:", "0000000000000000000000000000000g:1"]
        {
            assert_eq!(bad.parse::<Position>(), Err(InvalidPosition), "{bad:?}");
        }
        let too_big = format!("{}:18446744073709551616", "0".repeat(32));
        assert!(too_big.parse::<Position>().is_err());
    }

    #[test]
    fn epochs_do_not_compare() {
        let a = Position { epoch: Epoch(1), seq: 5 };
        assert_eq!(a.covers(&Position { epoch: Epoch(1), seq: 5 }), Some(true));
        assert_eq!(a.covers(&Position { epoch: Epoch(1), seq: 6 }), Some(false));
        assert_eq!(a.covers(&Position { epoch: Epoch(2), seq: 1 }), None);
    }
}
