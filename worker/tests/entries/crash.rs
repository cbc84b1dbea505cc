//! A worker that vanishes at each named place: the next one ends up with the same entries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outpost_model::{Job, StepKind, TimestampMs, limits};
use outpost_storage::Authority;
use outpost_worker::SystemClock;
use outpost_worker::runtime::{Breakpoint, Breakpoints, Clock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::rig::{Bench, Computed, folder_with};

/// Holds the first run of a step at a breakpoint for ever.
struct HoldAt {
    breakpoint: Breakpoint,
    step: StepKind,
    held: mpsc::Sender<()>,
}

#[async_trait]
impl Breakpoints for HoldAt {
    async fn reached(&self, breakpoint: Breakpoint, job: &Job) {
        if breakpoint == self.breakpoint && job.key.kind() == self.step {
            self.held.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }
    }
}

/// The machine's clock after every lease has run out.
struct Later;

impl Clock for Later {
    fn now(&self) -> TimestampMs {
        SystemClock.now().plus_ms(limits::LEASE_MS + 1)
    }
}

async fn compute_with_a_crash(breakpoint: Breakpoint, step: StepKind) -> Computed {
    let bench = Bench::open(folder_with(&[("train.csv", "a\n1\n"), ("test.csv", "a\n2\n")])).await;
    let (held, mut reached) = mpsc::channel(100);
    let mut config = bench.config();
    config.breakpoints = Some(Arc::new(HoldAt { breakpoint, step, held }));
    let pool = bench.start(config, Arc::new(SystemClock), &CancellationToken::new());
    let reached = tokio::time::timeout(Duration::from_secs(60), reached.recv());
    reached.await.expect("the breakpoint is reached").unwrap();
    drop(pool);
    bench.run_all(bench.config(), Arc::new(Later)).await;
    bench.into_computed()
}

/// What readers see of a dataset's entries.
async fn visible(computed: &Computed) -> Vec<(String, u16, Vec<u8>)> {
    let state = computed.store.state(&computed.datasets[0]).await.unwrap();
    let mut visible = Vec::new();
    for summary in &state.entries {
        let entry = computed.store.entry(&summary.key).await.unwrap().unwrap();
        visible.push((entry.key.to_string(), entry.http_status, entry.body.to_vec()));
    }
    visible.sort();
    visible
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_vanishes_anywhere_repeats_work_and_loses_nothing() {
    use Breakpoint::{Claimed, Committed, Computed};
    let whole = visible(&crate::rig::compute(&[("train.csv", "a\n1\n"), ("test.csv", "a\n2\n")]).await).await;
    assert_eq!(whole.len(), 9, "{whole:?}");
    for breakpoint in [Claimed, Computed, Committed] {
        for step in [StepKind::DatasetConfigNames, StepKind::ConfigSplitNames, StepKind::SplitFirstRows] {
            let computed = compute_with_a_crash(breakpoint, step).await;
            assert_eq!(visible(&computed).await, whole, "{breakpoint:?} of {step}");
        }
    }
}
