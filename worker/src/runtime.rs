//! The job runtime: claims jobs, runs them on threads of their own, watches over them, settles what they end with.
//!
//! Owns leases, deadlines, panics, retries, drain and the memory guard; knows no step. A run that crashes, overruns or
//! fails transiently is given back and repeated with back-off; the authority says when its attempts are used, then
//! the failure is stored as a verdict. A run that ignores cancellation is left to itself after a grace and never
//! holds the shutdown. A failing authority is asked again; at worst the lease runs out and the run is repeated, so no
//! job is lost.

mod calls;
mod config;
mod gate;
mod host;
mod lease;
mod observer;
mod run;
mod settle;
mod slot;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use outpost_loading::JobGuard;
use outpost_model::Job;
use outpost_storage::Authority;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::outcome::StepOutcome;
use gate::Gate;

pub use config::{
    Breakpoint, Breakpoints, Clock, MemoryGauge, ProcessMemory, SystemClock, WorkerConfig, WorkerGroup,
};
pub use host::{HostLimits, HostRoom, Room, Unguarded};
pub use observer::{JobOutcome, JobReport, Observer, Silent};

/// What runs a job: the registry of steps, or a script in tests.
pub trait StepRunner: Send + Sync + 'static {
    /// Computes the result of `job`. Blocks; may panic. Ends soon after `context.guard` says that it must stop, and
    /// what it returns from then on is dropped.
    fn run(&self, job: &Job, context: &RunContext) -> StepOutcome;
}

/// What a run is given.
#[derive(Clone)]
pub struct RunContext {
    /// Says when the run must end, counts bytes.
    pub guard: Arc<JobGuard>,
    /// Runs asynchronous calls from the run's thread.
    pub runtime: tokio::runtime::Handle,
}

/// A set of workers over one authority.
pub struct WorkerPool {
    config: WorkerConfig,
    authority: Arc<dyn Authority>,
    steps: Arc<dyn StepRunner>,
    clock: Arc<dyn Clock>,
    gate: Arc<Gate>,
    /// Permits for runs that are left to themselves.
    abandoned: Arc<Semaphore>,
    /// No further claims from here on.
    draining: CancellationToken,
    /// Running jobs end from here on.
    stopping: CancellationToken,
    runtime: tokio::runtime::Handle,
}

/// A running pool.
pub struct WorkerHandle {
    pool: Arc<WorkerPool>,
    tasks: JoinSet<()>,
    drain: JoinHandle<()>,
}

impl WorkerPool {
    /// Starts the workers of `config` on the current Tokio runtime. When `shutdown` is cancelled they stop claiming,
    /// let running jobs end within `drain_ms`, then cancel them and give them back.
    #[must_use]
    pub fn start(
        config: WorkerConfig,
        authority: Arc<dyn Authority>,
        steps: Arc<dyn StepRunner>,
        clock: Arc<dyn Clock>,
        shutdown: &CancellationToken,
    ) -> WorkerHandle {
        let gate = Gate::new(config.memory.clone(), config.claim_rss_bytes_max, config.room.clone());
        let groups = config.groups.clone();
        let pool = Arc::new(Self {
            abandoned: Arc::new(Semaphore::new(config.abandoned_runs_max)),
            config,
            authority,
            steps,
            clock,
            gate,
            draining: shutdown.child_token(),
            stopping: CancellationToken::new(),
            runtime: tokio::runtime::Handle::current(),
        });
        let mut tasks = JoinSet::new();
        for group in groups {
            for _ in 0..group.workers {
                let (kept, queues) = (pool.clone(), group.queues.clone());
                let slot = move || slot::slot_loop(kept.clone(), queues.clone());
                tasks.spawn(kept_up(pool.clone(), slot));
            }
        }
        let kept = pool.clone();
        tasks.spawn(kept_up(pool.clone(), move || lease::expire_loop(kept.clone())));
        let drain = tokio::spawn(drain(pool.clone()));
        WorkerHandle { pool, tasks, drain }
    }
}

impl WorkerHandle {
    /// Jobs that run now, those left to themselves not included.
    #[must_use]
    pub fn running(&self) -> usize {
        self.pool.gate.running()
    }

    /// Waits for the shutdown and then for the workers: returns at the latest `drain_ms + stop_grace_ms` after the
    /// shutdown began, whatever jobs and authority do.
    pub async fn join(mut self) {
        let grace = Duration::from_millis(self.pool.config.stop_grace_ms);
        let overdue = async {
            self.pool.stopping.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = all_ended(&mut self.tasks) => {}
            () = overdue => {
                tracing::error!("workers did not end in time, the leases of their jobs are left to run out");
            }
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.pool.draining.cancel();
        self.pool.stopping.cancel();
        self.drain.abort();
    }
}

/// Ends running jobs when the drain time is over.
async fn drain(pool: Arc<WorkerPool>) {
    pool.draining.cancelled().await;
    tokio::time::sleep(Duration::from_millis(pool.config.drain_ms)).await;
    if pool.gate.running() > 0 {
        tracing::warn!("jobs still run after the drain time and are given back");
    }
    pool.stopping.cancel();
}

/// Starts a loop of the pool again when a defect ended it; the lease that it may have held is left to run out.
async fn kept_up<F>(pool: Arc<WorkerPool>, start: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while !pool.draining.is_cancelled() {
        if let Err(error) = AbortOnDropHandle::new(tokio::spawn(start())).await {
            tracing::error!(%error, "a worker ended by a defect and is started again: {error}");
            pool.pause(1).await;
        }
    }
}

async fn all_ended(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
