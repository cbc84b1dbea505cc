//! What only the embedded store promises.

use std::sync::Arc;

use outpost_model::planning::Event;
use outpost_model::*;

use super::EmbeddedStore;
use crate::authority::{Authority, Completion};
use crate::mirror::Mirror;

#[tokio::test(flavor = "multi_thread")]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let store = EmbeddedStore::open(&path).unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                let now = TimestampMs(1000);
                for i in 0..20 {
                    let d = DatasetName::new(&format!("u{caller}/d{i}")).unwrap();
                    let event = Event::Revision {
                        revision: Revision::new("aa").unwrap(),
                        visibility: Visibility::Public,
                        priority: Priority::Normal,
                        force: false,
                    };
                    store.submit(&d, &event, now).await.unwrap();
                }
            })
        })
        .collect();
    for t in tasks {
        t.await.unwrap();
    }
    let started = std::time::Instant::now();
    let total = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, total) = (store.clone(), total.clone());
            tokio::spawn(async move {
                let now = TimestampMs(2000);
                while let Some(claim) = store.claim(&Queue::ALL, now).await.unwrap() {
                    let names = match claim.job.key.kind() {
                        StepKind::DatasetConfigNames => vec!["default".to_owned()],
                        StepKind::ConfigSplitNames => vec!["train".to_owned()],
                        _ => vec![],
                    };
                    let entry = Entry {
                        key: claim.job.key.clone(),
                        http_status: 200,
                        error_code: None,
                        revision: claim.job.revision.clone(),
                        body: "x".repeat(3000).into(),
                        details: None,
                        names,
                        progress: Some(1.0),
                        job_runner_version: claim.job.key.kind().spec().version,
                        failed_runs: 0,
                        updated_at: now,
                        duration_ms: 5,
                    };
                    store.finish(&claim.lease, Completion::Store(Box::new(entry)), now).await.unwrap();
                    total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    for t in tasks {
        t.await.unwrap();
    }
    let n = total.load(std::sync::atomic::Ordering::Relaxed);
    println!("{n} finishes in {:?}: {:.0}/s", started.elapsed(), n as f64 / started.elapsed().as_secs_f64());
    println!("{:?} {:?}", Mirror::position(&store), store.stats().await.unwrap());
    drop(store);
    let started = std::time::Instant::now();
    let store = EmbeddedStore::open(&path).unwrap();
    println!("reopened in {:?} {:?} {:?}", started.elapsed(), store.open_report(), store.stats().await);
}
