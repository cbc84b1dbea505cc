//! The ends of what a replica does: a primary without anything yet, and word from upstream that is too old.

use outpost_harness::wait_until;
use reqwest::StatusCode;

use crate::replica::{LISTEN, position, replica, sync_address, wait_for_position};
use crate::support::{BOUND, Setting, answers, get, get_json, wait_until_idle};

#[tokio::test]
async fn a_replica_of_an_empty_primary_is_ready_and_hears_of_the_first_dataset() {
    let setting = Setting::new();
    std::fs::create_dir_all(setting.hub()).unwrap();
    let primary = setting.start(&LISTEN).await;
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Each of these returns when the node is ready.
    let middle = replica(near.path(), &sync_address(&primary).await, &LISTEN).await;
    let edge = replica(far.path(), &sync_address(&middle).await, &[]).await;
    for node in [&middle, &edge] {
        assert_eq!(position(node).await, position(&primary).await);
        let unknown = "/splits?dataset=org/first";
        assert_eq!(get_json(node, unknown).await, get_json(&primary, unknown).await);
    }
    setting.write("org/first/train.csv", "text,label\nhello,0\n");
    wait_until_idle(&primary, 1).await;
    let at = position(&primary).await;
    for node in [&middle, &edge] {
        wait_for_position(node, &at).await;
        assert_eq!(answers(node, "org/first").await, answers(&primary, "org/first").await);
    }
}

#[tokio::test]
async fn without_word_from_upstream_a_replica_stops_to_call_datasets_public() {
    let setting = Setting::new();
    setting.write("org/first/train.csv", "text,label\nhello,0\n");
    let primary = setting.start(&LISTEN).await;
    wait_until_idle(&primary, 1).await;
    let (patient, hasty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let upstream = sync_address(&primary).await;
    let patient = replica(patient.path(), &upstream, &[]).await;
    let hasty = replica(hasty.path(), &upstream, &["--max-visibility-age", "6s"]).await;
    let path = "/first-rows?dataset=org/first&config=default&split=train";
    for node in [&patient, &hasty] {
        wait_for_position(node, &position(&primary).await).await;
        // Asked again and again, so that the answer is ready in memory too.
        for _ in 0..3 {
            assert_eq!(get(node, path).await.status(), StatusCode::OK);
        }
    }
    primary.kill().unwrap();
    wait_until("the replica to answer no more", BOUND, || async {
        let (status, code, _) = get_json(&hasty, path).await;
        let is_refused = status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(is_refused || status == StatusCode::OK, "{status}");
        is_refused.then(|| assert_eq!(code.as_deref(), Some("StateNotReached")))
    })
    .await;
    let response = get(&hasty, path).await;
    assert!(response.headers().contains_key("retry-after"));
    let staleness: u64 = response.headers()["x-sync-staleness"].to_str().unwrap().parse().unwrap();
    assert!(staleness >= 6, "{staleness}");
    assert_eq!(get(&patient, path).await.status(), StatusCode::OK);
}
