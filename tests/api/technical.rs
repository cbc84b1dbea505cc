//! `/healthcheck`, `/ready`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::Epoch;
use outpost_node::feed::FeedReading;
use outpost_storage::MirrorStore;
use outpost_storage::mirror_store::MirrorBatch;

use crate::fixture::{Api, SECRET, StillFeed, first_rows};

#[tokio::test]
async fn the_healthcheck_is_ok_and_not_cached() {
    let api = Api::start().await;
    let reply = api.get("/healthcheck").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn a_draining_node_is_not_ready_but_healthy() {
    let api = Api::start().await;
    assert_eq!(api.get("/ready").await.status, 200);
    api.readiness.start_draining();
    assert_eq!(api.get("/ready").await.status, 503);
    assert_eq!(api.get("/healthcheck").await.status, 200);
}

#[tokio::test]
async fn metrics_count_requests_and_what_is_stored() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    api.get("/splits?dataset=u/d").await;
    api.get("/splits?dataset=u/d").await;
    api.get("/splits").await;
    api.get("/nowhere").await;
    let reply = api.get("/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = reply.text();
    for line in [
        r#"starlette_requests_total{method="GET",path_template="/splits"} 3"#,
        r#"starlette_responses_total{method="GET",path_template="/splits",status_code="200"} 2"#,
        r#"starlette_responses_total{method="GET",path_template="/splits",status_code="422"} 1"#,
        r#"starlette_requests_in_progress{method="GET",path_template="/splits"} 0"#,
        r#"starlette_requests_processing_time_seconds_count{method="GET",path_template="/splits"} 3"#,
        r#"responses_in_cache_total{http_status="200",kind="split-first-rows"} 1"#,
        "outpost_datasets 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("/nowhere"));
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("outpost_store_bytes") > 0.0 && value("outpost_position_seq") > 0.0);
}

#[tokio::test]
async fn a_node_whose_mirror_was_never_filled_is_not_ready() {
    let behind = tempfile::tempdir().unwrap();
    let mirror = MirrorStore::open(behind.path()).unwrap();
    let reading = FeedReading { phase: "scanning", lag_s: 7, quarantined: 3, ..FeedReading::default() };
    let filled = mirror.clone();
    let api = Api::start_over(Some(SECRET), "", Some(StillFeed(reading)), |_| Arc::new(mirror)).await;
    assert_eq!(api.get("/ready").await.status, 503);
    let metrics = api.get("/metrics").await.text().to_owned();
    for line in [r#"outpost_feed{figure="lag_seconds"} 7"#, r#"outpost_feed{figure="quarantined"} 3"#] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let (epoch, changes) = (Epoch(7), Vec::new());
    filled.apply(MirrorBatch { epoch, changes, reached: Some(5), cursor: None, left: Vec::new() }).unwrap();
    outpost_harness::wait_until("the mirror to be on disk", Duration::from_secs(30), || async {
        (api.get("/ready").await.status == 200).then_some(())
    })
    .await;
}
