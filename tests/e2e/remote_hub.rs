//! A node over a Hub that speaks HTTP: computed on demand, refreshed by webhook, closed to what is not public.

use outpost_harness::hub_stub::HubStub;
use outpost_harness::{NodeProcess, client, wait_until};
use outpost_model::Visibility;
use reqwest::StatusCode;
use serde_json::json;

use crate::replica::{LAG, LISTEN, replica, sync_address};
use crate::support::{BOUND, Setting, get, get_json, wait_until_idle};

const SECRET: &str = "s3cret";
/// A token that may read what is gated and private.
const TOKEN: &str = "hf_operator";

struct Remote {
    setting: Setting,
    hub: HubStub,
    node: NodeProcess,
}

async fn remote(options: &[&str]) -> Remote {
    let setting = Setting::new();
    for dataset in ["open", "gated", "private", "adult"] {
        setting.write(&format!("org/{dataset}/train.csv"), "id,secret\n1,first\n2,second\n");
    }
    let hub = HubStub::start(&setting.hub()).unwrap();
    hub.configure("org/gated", |knobs| knobs.visibility = Visibility::Gated);
    hub.configure("org/private", |knobs| knobs.visibility = Visibility::Private);
    hub.configure("org/adult", |knobs| knobs.tags = vec!["not-for-all-audiences".to_owned()]);
    for dataset in ["org/gated", "org/private"] {
        hub.configure(dataset, |knobs| knobs.readers.extend([TOKEN.to_owned()]));
    }
    hub.add_account(TOKEN, "operator");
    let data = setting.data();
    let endpoint = hub.endpoint();
    let mut arguments =
        vec!["--hub", &endpoint, "--data-dir", data.to_str().unwrap(), "--webhook-secret", SECRET];
    arguments.extend_from_slice(options);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_node"));
    let node = NodeProcess::start(binary, &arguments).await.unwrap();
    Remote { setting, hub, node }
}

const ROWS: &str = "/rows?config=default&split=train&dataset=org/";

async fn wait_for_cell(node: &NodeProcess, cell: &str) {
    wait_until("the cell to be served", BOUND, || async {
        let (status, _, body) = get_json(node, &format!("{ROWS}open")).await;
        (status == StatusCode::OK && body["rows"][0]["row"]["secret"] == cell).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dataset_is_computed_when_first_asked_for() {
    let remote = remote(&[]).await;
    let response = get(&remote.node, &format!("{ROWS}open")).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["x-error-code"], "ResponseNotReady");
    assert!(response.headers().contains_key("retry-after"));
    assert!(response.text().await.unwrap().contains("retry later"));
    wait_for_cell(&remote.node, "first").await;
    wait_until("the answer about another split", BOUND, || async {
        let other = "/rows?config=default&split=test&dataset=org/open";
        let (status, code, _) = get_json(&remote.node, other).await;
        (status == StatusCode::NOT_FOUND && code.as_deref() == Some("ResponseNotFound")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_public_is_never_read() {
    assert_closed(&remote(&[]).await).await;
}

#[tokio::test]
async fn what_is_not_public_is_never_read_although_the_nodes_token_could() {
    assert_closed(&remote(&["--hub-token", TOKEN]).await).await;
}

async fn assert_closed(remote: &Remote) {
    for dataset in ["gated", "private", "missing"] {
        let (status, code, _) = get_json(&remote.node, &format!("{ROWS}{dataset}")).await;
        assert_eq!(
            (status, code.as_deref()),
            (StatusCode::UNAUTHORIZED, Some("ExternalUnauthenticatedError"))
        );
    }
    let (status, code, _) = get_json(&remote.node, &format!("{ROWS}adult")).await;
    assert_eq!((status, code.as_deref()), (StatusCode::NOT_IMPLEMENTED, Some("NotSupportedTagNFAAError")));
    wait_until_idle(&remote.node, 0).await;
    assert_eq!(remote.hub.count("/datasets/"), 0, "no file was asked for");
}

#[tokio::test]
async fn a_webhook_brings_the_new_revision_and_a_private_turn_ends_serving() {
    let remote = remote(&[]).await;
    get(&remote.node, &format!("{ROWS}open")).await;
    wait_for_cell(&remote.node, "first").await;

    remote.setting.write("org/open/train.csv", "id,secret\n1,changed\n");
    assert_eq!(webhook(&remote.node, "repo.content", &json!({})).await, StatusCode::OK);
    wait_for_cell(&remote.node, "changed").await;

    remote.hub.configure("org/open", |knobs| knobs.visibility = Visibility::Private);
    let turned = json!({"updatedConfig": {"private": true}});
    webhook(&remote.node, "repo.config", &turned).await;
    let (status, code, _) = get_json(&remote.node, &format!("{ROWS}open")).await;
    assert_eq!((status, code.as_deref()), (StatusCode::UNAUTHORIZED, Some("ExternalUnauthenticatedError")));
}

#[tokio::test]
async fn a_private_turn_ends_serving_at_a_replica_that_had_the_rows() {
    let remote = remote(&LISTEN).await;
    get(&remote.node, &format!("{ROWS}open")).await;
    wait_for_cell(&remote.node, "first").await;
    let copy = tempfile::tempdir().unwrap();
    let replica = replica(copy.path(), &sync_address(&remote.node).await, &[]).await;
    wait_for_cell(&replica, "first").await;
    remote.hub.configure("org/open", |knobs| knobs.visibility = Visibility::Private);
    webhook(&remote.node, "repo.config", &json!({"updatedConfig": {"private": true}})).await;
    let refused = (StatusCode::UNAUTHORIZED, Some("ExternalUnauthenticatedError".to_owned()));
    wait_until("the replica to refuse it", LAG, || async {
        let (status, code, _) = get_json(&replica, &format!("{ROWS}open")).await;
        ((status, code) == refused).then_some(())
    })
    .await;
}

async fn webhook(node: &NodeProcess, scope: &str, more: &serde_json::Value) -> StatusCode {
    let mut body = json!({
        "event": "update", "scope": scope, "repo": {"type": "dataset", "name": "org/open", "headSha": "0123"},
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = client().post(format!("{}/webhook", node.base_url())).header("x-webhook-secret", SECRET);
    request.body(body.to_string()).send().await.unwrap().status()
}
