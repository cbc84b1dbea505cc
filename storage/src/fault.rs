//! The end of a store that can no longer be trusted with writes.
//!
//! Owns the first fatal failure: a failed write or flush, or a panic in one of the store's threads. Every later call
//! fails with it; nothing is tried again before the store is opened again.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::error::StorageError;

/// The first fatal failure of the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fault(Arc<FaultState>);

#[derive(Debug, Default)]
struct FaultState {
    cause: OnceLock<StorageError>,
    raised: watch::Sender<bool>,
}

impl Fault {
    /// The error of every call after a fatal failure.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        match self.0.cause.get() {
            None => Ok(()),
            Some(full @ StorageError::DiskFull(_)) => Err(full.clone()),
            Some(StorageError::Engine(cause)) => {
                Err(StorageError::Engine(format!("stopped after a failure: {cause}")))
            }
            Some(cause) => Err(StorageError::Engine(format!("stopped after a failure: {cause}"))),
        }
    }

    pub(crate) fn set(&self, cause: &str) {
        self.fail(&StorageError::Engine(cause.to_owned()));
    }

    /// As [`Fault::set`]; a full disk stays known as one.
    pub(crate) fn fail(&self, cause: &StorageError) {
        if self.0.cause.set(cause.clone()).is_ok() {
            tracing::error!(%cause, "the store failed and takes no more writes until it is opened again");
            self.0.raised.send_replace(true);
        }
    }

    /// Returns once there is a failure.
    pub(crate) async fn raised(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.raised.subscribe().wait_for(|raised| *raised).await;
    }

    /// The first fatal failure, once there is one.
    pub(crate) async fn failure(&self) -> StorageError {
        self.raised().await;
        self.check().err().unwrap_or(StorageError::Engine("stopped".to_owned()))
    }
}

/// Starts a thread of a store; a panic in it becomes the store's fault.
pub(crate) fn spawn(
    name: &str,
    fault: &Fault,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StorageError> {
    let guard = PanicGuard(fault.clone());
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _guard = guard;
            run();
        })
        .map_err(|error| StorageError::Engine(format!("failed to start thread {name}: {error}")))
}

/// Records a panic of its thread as the store's fault.
struct PanicGuard(Fault);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set("a thread of the store panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_told_to_who_waits_and_to_who_asks_later() {
        let fault = Fault::default();
        assert!(fault.check().is_ok());
        let waiting = tokio::spawn({
            let fault = fault.clone();
            async move { fault.failure().await.to_string() }
        });
        fault.set("no space");
        fault.set("something else");
        for told in [waiting.await.unwrap(), fault.failure().await.to_string()] {
            assert!(told.contains("no space"), "{told}");
        }
    }
}
