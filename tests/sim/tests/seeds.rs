//! The seeds of CI. Another set: `OUTPOST_SIM_SEEDS=5000 cargo test -p outpost-sim --test seeds`; one, with its trace:
//! `OUTPOST_SIM_SEED=7 cargo test -p outpost-sim --test seeds no_seed -- --nocapture`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use outpost_sim::{SEEDS, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..3 {
        assert_eq!(run(seed, false).trace, run(seed, false).trace, "seed {seed}");
    }
}

#[test]
fn no_seed_breaks_a_promise() {
    let one = number("OUTPOST_SIM_SEED");
    let (first, end) = match one {
        Some(seed) => (seed, seed + 1),
        None => (0, number("OUTPOST_SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end {
                        return;
                    }
                    let outcome = run(seed, one.is_some());
                    outcome.lines.iter().for_each(|line| eprintln!("{line}"));
                    if let Some(first) = outcome.violations.first() {
                        let again = "cargo test -p outpost-sim --test seeds no_seed -- --nocapture";
                        failed.lock().unwrap().push(format!("OUTPOST_SIM_SEED={seed} {again}\n    {first}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), end - first, failed.join("\n"));
}
