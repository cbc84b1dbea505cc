//! Cache misses: what readers may cost the Hub (http-api.md section 2).

use std::sync::Arc;
use std::time::Duration;

use outpost_harness::wait_until;
use outpost_hub::RepoInfo;
use outpost_model::planning::Event;
use outpost_model::{Priority, Revision, Visibility};
use outpost_storage::{Authority, EmbeddedStore, Mirror};

use crate::fixture::{Api, NOW, REVISION, SECRET, dataset, first_rows, public};

#[tokio::test]
async fn a_miss_of_a_supported_dataset_queues_it() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    let reply = api.get("/splits?dataset=u/d").await;
    reply.is_error(500, "ResponseNotReady");
    assert_eq!(reply.header("x-revision"), None);
    assert_eq!(api.store.state(&dataset("u/d")).await.unwrap().jobs.len(), 1);
    api.get("/splits?dataset=u/d").await.is_error(500, "ResponseNotReady");
    assert_eq!(api.hub.calls(), 1);
}

#[tokio::test]
async fn readers_of_one_dataset_share_one_lookup() {
    let api = Arc::new(Api::start().await);
    api.hub.close();
    let reads: Vec<_> = (0..20)
        .map(|_| {
            let api = Arc::clone(&api);
            tokio::spawn(async move { api.get("/splits?dataset=u/unknown").await.status })
        })
        .collect();
    wait_until("the lookup", Duration::from_secs(5), || async { (api.hub.calls() > 0).then_some(()) }).await;
    api.hub.open();
    for read in reads {
        assert!([401, 500].contains(&read.await.unwrap().as_u16()));
    }
    assert_eq!(api.hub.calls(), 1);
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_while() {
    let api = Api::start().await;
    for _ in 0..3 {
        api.get("/splits?dataset=u/unknown").await.is_error(401, "ExternalUnauthenticatedError");
    }
    assert_eq!(api.hub.calls(), 1);
}

#[tokio::test]
async fn a_slow_hub_does_not_hold_readers_and_its_answer_counts_later() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    api.hub.close();
    api.get("/splits?dataset=u/d").await.is_error(500, "AuthCheckHubRequestError");
    api.hub.open();
    wait_until("the dataset to be queued", Duration::from_secs(5), || async {
        (api.get("/splits?dataset=u/d").await.header("x-error-code") == Some("ResponseNotReady"))
            .then_some(())
    })
    .await;
    assert_eq!(api.hub.calls(), 1);
}

#[tokio::test]
async fn what_is_not_served_leaves_no_trace_in_the_store() {
    let api = Api::start().await;
    api.hub.set("u/private", Ok(RepoInfo { visibility: Visibility::Private, ..public("u/private") }));
    api.hub.set("u/off", Ok(RepoInfo { viewer_disabled: true, ..public("u/off") }));
    let before = Mirror::position(&api.store);
    for name in ["u/private", "u/off", "u/unknown"] {
        api.get(&format!("/splits?dataset={name}")).await;
    }
    assert_eq!(Mirror::position(&api.store), before);
    assert_eq!(api.store.stats().await.unwrap().datasets, 0);
}

#[tokio::test]
async fn what_a_mirror_has_still_to_get_is_not_ready_instead_of_absent() {
    let behind = tempfile::tempdir().unwrap();
    let mirror = EmbeddedStore::open(behind.path()).unwrap();
    let api = Api::start_over(Some(SECRET), "", None, |_| Arc::new(mirror)).await;
    api.serve(&first_rows(1, 1, false)).await;
    let calls = api.hub.calls();
    let rows = "/first-rows?dataset=u/d&config=default&split=";
    api.get(&format!("{rows}train")).await.is_error(500, "ResponseNotReady");
    api.get(&format!("{rows}test")).await.is_error(404, "ResponseNotFound");
    let withheld = Event::Revision {
        revision: Revision::new(REVISION).unwrap(),
        visibility: Visibility::Gated,
        priority: Priority::Normal,
        force: false,
    };
    api.store.submit(&dataset("u/d"), &withheld, NOW).await.unwrap();
    api.get(&format!("{rows}train")).await.is_error(401, "ExternalUnauthenticatedError");
    assert_eq!(api.hub.calls(), calls);
}
