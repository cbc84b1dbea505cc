//! Seeds in CI.

use outpost_sim::run;

#[test]
fn a_seed_is_one_run() {
    for seed in 0..3 {
        assert_eq!(run(seed, false).trace, run(seed, false).trace, "seed {seed}");
    }
}

#[test]
fn no_seed_breaks_a_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("OUTPOST_SIM_SEED");
    let count = number("OUTPOST_SIM_SEEDS").unwrap_or(20);
    let seeds = one.map_or(0..count, |seed| seed..seed + 1);
    let mut failed = Vec::new();
    for seed in seeds {
        let outcome = run(seed, one.is_some());
        for line in &outcome.lines {
            eprintln!("{line}");
        }
        if let Some(first) = outcome.violations.first() {
            failed.push(format!("OUTPOST_SIM_SEED={seed} cargo test -p outpost-sim -- no_seed: {first}"));
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}
