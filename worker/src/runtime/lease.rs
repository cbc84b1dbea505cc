//! Leases: renewing one's own, taking back those that ran out.
//!
//! Owns the heartbeat and the expiry loop. A failed renewal is tried again before the lease can run out; only the
//! authority's word that the lease is lost ends a run.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::{ErrorCode, Lease};
use outpost_storage::StorageError;

use super::WorkerPool;
use super::calls::jittered;
use super::verdict;

impl WorkerPool {
    /// Renews `lease` until it is lost.
    pub(super) async fn keep_lease(&self, lease: &Lease) {
        let mut failures = 0;
        loop {
            if failures == 0 {
                tokio::time::sleep(Duration::from_millis(self.config.heartbeat_ms)).await;
            } else {
                self.pause(failures).await;
            }
            match self.authority.heartbeat(lease, self.clock.now()).await {
                Ok(()) => failures = 0,
                Err(StorageError::LeaseLost(reason)) => {
                    tracing::info!(
                        reason,
                        job.id = lease.job_id.0,
                        "lost the lease of a running job: {reason}"
                    );
                    return;
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure("renew a lease", &error);
                }
            }
        }
    }

    /// Takes back expired leases and stores the verdict of jobs without attempts left.
    async fn expire_leases(&self) {
        let claims = match self.authority.expire_leases(self.clock.now()).await {
            Ok(claims) => claims,
            Err(error) => return self.note_failure("expire leases", &error),
        };
        for claim in claims {
            let crashed = verdict::failure(ErrorCode::JobManagerCrashedError, &claim.job);
            let settled = self.store(&claim, Some(crashed), 0).await;
            self.report(&claim.job, settled, 0, 0);
        }
    }
}

/// Takes back expired leases until the pool drains.
pub(super) async fn expire_loop(pool: Arc<WorkerPool>) {
    while !pool.draining.is_cancelled() {
        pool.expire_leases().await;
        let wait = Duration::from_millis(jittered(pool.config.expire_leases_every_ms));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = pool.draining.cancelled() => {}
        }
    }
}
