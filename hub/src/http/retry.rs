//! When a failed request is repeated, and after how long (dataset-loading.md section 6, `http_backoff`).
//!
//! Owns the doubling wait with jitter, the waits that the Hub asks for, and the bound on all waits together: when the
//! next one would pass it, the failure is final at once and the queue tries the job again later.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use outpost_model::limits;
use reqwest::header::HeaderMap;

use crate::HubError;

/// Waits for a duration; tests pass one that returns at once.
pub type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// How failed requests are repeated.
#[derive(Clone)]
pub struct Backoff {
    /// Tries of one request, the first included.
    pub attempts_max: u32,
    /// First wait, doubled from try to try.
    pub wait_ms_min: u64,
    /// Longest wait that is not asked for by the Hub.
    pub wait_ms_max: u64,
    /// All waits of one request together.
    pub waits_total_ms_max: u64,
    /// How to wait.
    pub sleep: Sleep,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            attempts_max: limits::HUB_ATTEMPTS_MAX,
            wait_ms_min: limits::HUB_RETRY_WAIT_MS_MIN,
            wait_ms_max: limits::HUB_RETRY_WAIT_MS_MAX,
            waits_total_ms_max: limits::HUB_RETRY_WAITS_TOTAL_MS_MAX,
            sleep: Arc::new(|wait| tokio::time::sleep(wait).boxed()),
        }
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("attempts_max", &self.attempts_max)
            .field("wait_ms_min", &self.wait_ms_min)
            .field("wait_ms_max", &self.wait_ms_max)
            .field("waits_total_ms_max", &self.waits_total_ms_max)
            .finish_non_exhaustive()
    }
}

impl Backoff {
    /// The wait before try number `attempt + 1`, counted from 1; up to a quarter is added so that clients that failed
    /// together do not return together.
    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.wait_ms_min.saturating_mul(1_u64.checked_shl(attempt - 1).unwrap_or(u64::MAX));
        let own_ms = doubled.min(self.wait_ms_max);
        let own = Duration::from_millis(own_ms.saturating_add(fastrand::u64(0..=own_ms / 4)));
        asked.map_or(own, |asked| asked.max(own))
    }

    /// Runs `request` until it succeeds, fails for good or may not be repeated any more.
    pub(super) async fn run<T, F>(&self, request: impl Fn() -> F) -> Result<T, HubError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let mut waited = Duration::ZERO;
        let mut attempt = 1;
        loop {
            let Failed { error, again } = match request().await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let Again::After(asked) = again else { return Err(error) };
            if attempt >= self.attempts_max {
                return Err(error);
            }
            let wait = self.wait(attempt, asked);
            waited = waited.saturating_add(wait);
            if waited > Duration::from_millis(self.waits_total_ms_max) {
                return Err(error);
            }
            tracing::debug!(attempt, wait_ms = wait.as_millis(), "repeating a Hub request: {error}");
            (self.sleep)(wait).await;
            attempt += 1;
        }
    }
}

/// A failed try.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: HubError,
    pub(super) again: Again,
}

/// Whether the same request is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It would end the same.
    Never,
    /// After a wait, at least as long as the Hub asked for.
    After(Option<Duration>),
}

impl Failed {
    /// A failure that no other try changes.
    pub(super) fn for_good(error: HubError) -> Self {
        Self { error, again: Again::Never }
    }

    /// The Hub could not be reached, or the connection broke.
    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self { error: HubError::Unreachable(message.into()), again: Again::After(None) }
    }
}

/// What the status of a failure means for the next try.
pub(super) fn again_after(status: u16, headers: &HeaderMap) -> Again {
    match status {
        429 => Again::After(rate_limit_reset(headers).or_else(|| retry_after(headers))),
        408 | 500 | 502 | 503 | 504 => Again::After(retry_after(headers)),
        _ => Again::Never,
    }
}

/// `ratelimit: "api";r=0;t=55`: seconds until the window ends, and one more.
fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("ratelimit")?.to_str().ok()?;
    let seconds = value.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
    seconds_and_one(seconds)
}

/// `Retry-After` in seconds, and one more. Dates are not sent by the Hub.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds_and_one(headers.get("retry-after")?.to_str().ok()?)
}

fn seconds_and_one(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};
    use std::sync::Mutex;

    fn recording(waits: &Arc<Mutex<Vec<Duration>>>) -> Backoff {
        let waits = Arc::clone(waits);
        let sleep: Sleep = Arc::new(move |wait| {
            waits.lock().unwrap().push(wait);
            futures::future::ready(()).boxed()
        });
        Backoff { sleep, ..Backoff::default() }
    }

    async fn failing(again: Again) -> (u32, Vec<Duration>) {
        let waits = Arc::default();
        let tries = Mutex::new(0);
        let outcome: Result<(), HubError> = recording(&waits)
            .run(|| async {
                *tries.lock().unwrap() += 1;
                Err(Failed { error: HubError::Unreachable("down".to_owned()), again })
            })
            .await;
        assert!(outcome.is_err());
        let waits = waits.lock().unwrap().clone();
        (tries.into_inner().unwrap(), waits)
    }

    #[tokio::test]
    async fn waits_double_from_one_second_and_vary_by_a_quarter() {
        let (tries, waits) = failing(Again::After(None)).await;
        assert_eq!(tries, 5);
        assert_eq!(waits.len(), 4);
        for (wait, seconds) in waits.into_iter().zip([1.0, 2.0, 4.0, 8.0]) {
            assert!((seconds..=seconds * 1.25).contains(&wait.as_secs_f64()), "{wait:?}");
        }
    }

    #[tokio::test]
    async fn the_hubs_wish_is_kept_until_the_total_would_be_passed() {
        let asked = Duration::from_secs(25);
        let (tries, waits) = failing(Again::After(Some(asked))).await;
        assert_eq!((tries, waits), (3, vec![asked, asked]));
        let (tries, waits) = failing(Again::After(Some(Duration::MAX))).await;
        assert_eq!((tries, waits), (1, vec![]));
    }

    #[tokio::test]
    async fn a_final_failure_is_not_repeated() {
        assert_eq!(failing(Again::Never).await, (1, vec![]));
    }

    #[test]
    fn headers_say_how_long_to_wait() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            pairs.collect()
        };
        let seconds = |seconds| Again::After(Some(Duration::from_secs(seconds)));
        let limited = headers(&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "3")]);
        assert_eq!(again_after(429, &limited), seconds(56));
        assert_eq!(again_after(503, &limited), seconds(4));
        assert_eq!(again_after(429, &headers(&[("retry-after", "0")])), seconds(1));
        let soon = headers(&[("retry-after", "soon"), ("ratelimit", "t=")]);
        assert_eq!(again_after(429, &soon), Again::After(None));
        assert_eq!(again_after(404, &limited), Again::Never);
        assert_eq!(again_after(501, &limited), Again::Never);
    }
}
