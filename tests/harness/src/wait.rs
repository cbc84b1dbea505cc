//! Waiting for a condition with a bound.

use std::future::Future;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value and returns it.
///
/// # Panics
/// When that takes longer than `bound`; `what` says in the message what was waited for.
pub async fn wait_until<T, F>(what: &str, bound: Duration, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < bound, "waited {bound:?} in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
