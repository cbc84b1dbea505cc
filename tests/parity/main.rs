//! Parity with Python's `datasets`: every case of `cases.json` through the real pipeline.
//!
//! Each case's files are laid out in a folder Hub; configs, default config, splits, features, rows and error classes
//! are compared with what the library answered (dataset-loading.md section 8). `known_failures.txt` lists what
//! differs, with the reason. A failure that is not listed and a listed success both fail the suite, so the list stays
//! true. `PARITY_CASE=name` runs one case and prints every difference.

mod case;
mod compare;
mod known;
mod layout;
mod report;
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_hub::{FolderHub, FolderHubOptions};
use outpost_loading::{JobGuard, LoadContext};
use outpost_model::DatasetName;

use case::Case;
use known::KnownFailures;
use report::Report;

/// What the suite must reach over all cases.
const PASS_RATE_MIN: f64 = 0.97;

#[test]
fn the_pipeline_answers_as_the_library_does() {
    let only = std::env::var("PARITY_CASE").ok();
    let cases: Vec<Case> = case::read_all()
        .into_iter()
        .filter(|case| only.as_ref().is_none_or(|only| *only == case.name))
        .collect();
    assert!(!cases.is_empty(), "there is no case of this name");
    let known = KnownFailures::read();
    let folder = tempfile::tempdir().expect("a folder for the cases");
    for case in &cases {
        layout::write(folder.path(), case);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime for the Hub");
    let hub = FolderHub::open(FolderHubOptions::new(folder.path())).expect("the folder is a Hub");
    let context = LoadContext {
        hub: Arc::new(hub),
        runtime: runtime.handle().clone(),
        guard: Arc::new(JobGuard::new(Instant::now() + Duration::from_secs(3_600))),
    };

    let mut report = Report::default();
    for case in &cases {
        report.add(case, run(&context, case), &known);
    }
    println!("{report}");
    if only.is_none() {
        assert!(report.pass_rate() >= PASS_RATE_MIN, "the pass rate is below {PASS_RATE_MIN}");
        assert_eq!(
            report.surprises(&known),
            Vec::<String>::new(),
            "known_failures.txt does not say what happens"
        );
    }
}

/// The differences between our answer and the library's; a panic is one.
fn run(context: &LoadContext, case: &Case) -> Vec<String> {
    let dataset = DatasetName::new(&format!("u/{}", case.name)).expect("case names are dataset names");
    let info = context.runtime.block_on(context.hub.repo_info(&dataset, None));
    let revision = info.expect("the case's folder is a dataset").revision;
    let compare = || compare::differences(context, &dataset, &revision, &case.expected);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(compare))
        .unwrap_or_else(|_| vec!["the pipeline panicked".to_owned()])
}
