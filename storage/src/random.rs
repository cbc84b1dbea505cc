//! Random bits for ids that must never meet: epochs of histories, relayed webhooks.

use std::hash::{BuildHasher, RandomState};

/// 128 bits from the standard library's per-process random keys, taken twice.
pub(crate) fn bits() -> u128 {
    let half = |salt: u64| {
        u128::from(RandomState::new().hash_one((salt, std::process::id(), std::time::SystemTime::now())))
    };
    half(1) << 64 | half(2)
}
