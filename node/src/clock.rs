//! The wall clock, read in one place and passed on as a value.

use std::time::{SystemTime, UNIX_EPOCH};

use outpost_model::TimestampMs;

/// The current time; the epoch itself when the clock stands before it.
#[must_use]
pub fn now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
