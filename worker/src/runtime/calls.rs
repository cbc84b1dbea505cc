//! Calls to the authority that must get through.
//!
//! Owns their repetition: a failing call is made again with doubling, jittered waits until it succeeds, the lease is
//! lost, the result cannot be kept, the attempts are used or the pool stops.

use std::time::Duration;

use outpost_storage::StorageError;

use super::WorkerPool;

/// Why a call had no effect that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// The lease is gone and with it the right to call.
    LeaseLost,
    /// The authority kept failing.
    Unavailable,
    /// The authority cannot keep the result: no use in repeating the call.
    Unstorable(StorageError),
}

impl WorkerPool {
    /// Makes `call` until it succeeds, as the module says.
    pub(super) async fn retried<T, F>(
        &self,
        name: &'static str,
        mut call: impl FnMut() -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        for attempt in 1..=self.config.authority_attempts_max {
            match call().await {
                Ok(value) => return Ok(value),
                Err(StorageError::LeaseLost(reason)) => {
                    tracing::debug!(call = name, reason, "the lease is lost");
                    return Err(CallError::LeaseLost);
                }
                Err(error @ (StorageError::Unstorable(_) | StorageError::TooLarge(_))) => {
                    return Err(CallError::Unstorable(error));
                }
                Err(error) => self.note_failure(name, &error),
            }
            if self.stopping.is_cancelled() {
                break;
            }
            tokio::select! {
                () = self.pause(attempt) => {}
                () = self.stopping.cancelled() => {}
            }
        }
        Err(CallError::Unavailable)
    }

    /// Waits as long as the `attempt`-th failure in a row asks for.
    pub(super) async fn pause(&self, attempt: u32) {
        let doubled =
            self.config.authority_retry_min_ms.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        let longest = doubled.min(self.config.authority_retry_max_ms);
        tokio::time::sleep(Duration::from_millis(jittered(longest))).await;
    }

    pub(super) fn note_failure(&self, call: &'static str, error: &StorageError) {
        self.config.observer.authority_failed(call);
        tracing::error!(call, %error, "the authority failed to {call}: {error}");
    }
}

/// Between three quarters and five quarters of `ms`, so that workers do not march in step.
pub(super) fn jittered(ms: u64) -> u64 {
    ms - ms / 4 + fastrand::u64(0..=ms / 2)
}
