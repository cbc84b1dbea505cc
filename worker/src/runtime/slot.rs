//! The loop of one worker: claim, run, or wait for work.
//!
//! Owns the order that misses no wake-up: the worker registers before it looks at the queue. Only waiting is
//! interrupted by the shutdown; a claim is never dropped half way.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outpost_model::Queue;
use outpost_storage::Claim;

use super::WorkerPool;

/// Pause after a wake-up that brought no job, so that early wake-ups do not spin.
const IDLE_PAUSE: Duration = Duration::from_millis(20);

enum Claimed {
    Job(Box<Claim>),
    Empty,
    Failed,
}

/// Works until the pool drains.
pub(super) async fn slot_loop(pool: Arc<WorkerPool>, queues: Vec<Queue>) {
    let mut failures = 0;
    while !pool.draining.is_cancelled() {
        let Some(permit) = pool.gate.admit() else {
            pool.wait_for_memory().await;
            continue;
        };
        let claim = {
            let mut wake = pin!(pool.authority.wait_for_work(&queues));
            let woken = is_ready(wake.as_mut()).await;
            match pool.claim(&queues).await {
                Claimed::Job(claim) => claim,
                Claimed::Empty => {
                    failures = 0;
                    drop(permit);
                    pool.wait_for_work(wake, woken).await;
                    continue;
                }
                Claimed::Failed => {
                    failures += 1;
                    drop(permit);
                    pool.until_draining(pool.pause(failures)).await;
                    continue;
                }
            }
        };
        failures = 0;
        pool.work(*claim, permit).await;
    }
}

impl WorkerPool {
    async fn claim(&self, queues: &[Queue]) -> Claimed {
        match self.authority.claim_within(queues, self.config.difficulty, self.clock.now()).await {
            Ok(Some(claim)) => Claimed::Job(Box::new(claim)),
            Ok(None) => Claimed::Empty,
            Err(error) => {
                self.note_failure("claim a job", &error);
                Claimed::Failed
            }
        }
    }

    /// Waits for `wake`, but not for ever: a look at an empty queue is cheap, a missed wake-up is not.
    async fn wait_for_work(&self, wake: impl Future<Output = ()>, woken: bool) {
        if woken {
            return self.until_draining(tokio::time::sleep(IDLE_PAUSE)).await;
        }
        let longest = Duration::from_millis(self.config.idle_check_ms);
        let bounded = async {
            let _ = tokio::time::timeout(longest, wake).await;
        };
        self.until_draining(bounded).await;
    }

    /// Waits until a run ends or the process may have become smaller by itself.
    async fn wait_for_memory(&self) {
        let longest = Duration::from_millis(self.config.idle_check_ms);
        let bounded = async {
            let _ = tokio::time::timeout(longest, self.gate.freed()).await;
        };
        self.until_draining(bounded).await;
    }

    async fn until_draining(&self, waiting: impl Future<Output = ()>) {
        tokio::select! {
            () = waiting => {}
            () = self.draining.cancelled() => {}
        }
    }
}

/// Polls `future` once, which registers it for wake-up.
async fn is_ready<F: Future<Output = ()>>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
