//! The id under which a webhook is relayed: the same over all retries and hops, so that it is applied once.
//!
//! Owns its text form, 32 hexadecimal digits. Refuses to make one up: randomness is the caller's.

use std::fmt;
use std::str::FromStr;

/// 128 random bits given to a webhook by the node that accepted it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookId(pub u128);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is not a webhook's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a webhook's id is 32 hexadecimal digits")]
pub struct InvalidWebhookId;

impl FromStr for WebhookId {
    type Err = InvalidWebhookId;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookId> {
        if text.len() != 32 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(InvalidWebhookId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidWebhookId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_round_trips_and_nothing_else_is_one() {
        for id in [WebhookId(0), WebhookId(0xab << 64), WebhookId(u128::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "ab", "+0000000000000000000000000000001", &"0".repeat(33), &"g".repeat(32)] {
            assert_eq!(text.parse::<WebhookId>(), Err(InvalidWebhookId), "{text}");
        }
    }
}
