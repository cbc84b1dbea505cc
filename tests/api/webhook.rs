//! `POST /webhook`: the order of checks and what each event does (http-api.md section 4).

use axum::http::Method;
use outpost_hub::{HubError, RepoInfo};
use outpost_model::{Position, Visibility};
use outpost_storage::{Authority, Mirror};

use crate::fixture::{Api, REVISION, Reply, SECRET, dataset, event, first_rows, public};

fn answer(reply: &Reply) -> (u16, &str) {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-error-code"), None);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    (reply.status.as_u16(), reply.text())
}

const OK: &str = r#"{"status":"ok"}"#;
const NOT_JSON: &str = r#"{"status":"error","error":"the body could not be parsed as a JSON"}"#;
const INVALID: &str = r#"{"status":"error","error":"the JSON payload is invalid"}"#;
const UNSUPPORTED: &str = r#"{"status":"error","error":"the dataset is not supported"}"#;

#[tokio::test]
async fn the_body_is_checked_before_the_secret() {
    let api = Api::start().await;
    for (body, expected) in [
        ("", NOT_JSON),
        ("{", NOT_JSON),
        ("[]", INVALID),
        (r#"{"event":"add"}"#, INVALID),
        (r#"{"event":"add","scope":"repo","repo":{"type":"dataset","name":"u/d","headSha":null}}"#, INVALID),
    ] {
        let reply = api.request(Method::POST, "/webhook", &[], body).await;
        assert_eq!(answer(&reply), (400, expected), "{body}");
    }
}

#[tokio::test]
async fn only_the_right_secret_is_trusted() {
    let api = Api::start().await;
    let body = event("remove", "u/d");
    for headers in [&[][..], &[("x-webhook-secret", "wrong")], &[("x-webhook-secret", "")]] {
        let reply = api.request(Method::POST, "/webhook", headers, &body).await;
        assert_eq!(answer(&reply).0, 400);
        assert!(reply.text().contains("not trusted") && reply.text().contains("valid secret"));
    }
    assert_eq!(answer(&api.webhook(&body).await), (200, OK));
}

#[tokio::test]
async fn without_a_configured_secret_every_call_is_refused() {
    let api = Api::start_with(None, "").await;
    let body = event("add", "u/d");
    for secret in ["", SECRET] {
        let reply = api.request(Method::POST, "/webhook", &[("x-webhook-secret", secret)], &body).await;
        assert_eq!(answer(&reply).0, 400);
    }
    assert_eq!(api.hub.calls(), 0);
}

#[tokio::test]
async fn other_repositories_and_scopes_are_ignored() {
    let api = Api::start().await;
    for body in [
        event("add", "u/d").replace(r#""type":"dataset""#, r#""type":"model""#),
        event("update", "u/d").replace("repo.content", "discussion"),
    ] {
        assert_eq!(answer(&api.webhook(&body).await), (200, OK));
    }
    assert_eq!(api.hub.calls(), 0);
}

#[tokio::test]
async fn an_added_dataset_is_on_disk_when_the_answer_says_so() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    let reply = api.webhook(&event("add", "u/d")).await;
    assert_eq!(answer(&reply), (200, OK));
    let position: Position = reply.header("x-sync-position").unwrap().parse().unwrap();
    assert_eq!(Mirror::position(&api.store).covers(&position), Some(true));
    assert!(position.seq > 0);
    let state = api.store.state(&dataset("u/d")).await.unwrap();
    assert_eq!(state.jobs.len(), 1);
}

#[tokio::test]
async fn an_update_to_the_known_revision_is_ignored() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let calls = api.hub.calls();
    let known =
        event("update", "u/d").replace(r#""name":"u/d""#, &format!(r#""name":"u/d","headSha":"{REVISION}""#));
    assert_eq!(answer(&api.webhook(&known).await), (200, OK));
    assert_eq!(api.hub.calls(), calls);
    let turned = known.replace(r#""scope""#, r#""updatedConfig":{"private":true},"scope""#);
    assert_eq!(answer(&api.webhook(&turned).await), (200, OK));
    assert_eq!(api.hub.calls(), calls + 1);
    let other = known.replace(REVISION, "2222");
    assert_eq!(answer(&api.webhook(&other).await), (200, OK));
    assert_eq!(api.hub.calls(), calls + 2);
}

#[tokio::test]
async fn a_dataset_that_turns_public_is_computed() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(RepoInfo { visibility: Visibility::Private, ..public("u/d") }));
    assert_eq!(answer(&api.webhook(&event("add", "u/d")).await), (200, OK));
    api.get("/splits?dataset=u/d").await.is_error(401, "ExternalUnauthenticatedError");
    api.hub.set("u/d", Ok(public("u/d")));
    let update =
        event("update", "u/d").replace(r#""name":"u/d""#, &format!(r#""name":"u/d","headSha":"{REVISION}""#));
    assert_eq!(answer(&api.webhook(&update).await), (200, OK));
    api.get("/splits?dataset=u/d").await.is_error(500, "ResponseNotReady");
}

#[tokio::test]
async fn a_removed_dataset_is_no_longer_served() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    assert_eq!(api.get("/splits?dataset=u/d").await.status, 200);
    api.hub.set("u/d", Err(HubError::RepoNotFound("u/d".to_owned())));
    assert_eq!(answer(&api.webhook(&event("remove", "u/d")).await), (200, OK));
    api.get("/splits?dataset=u/d").await.is_error(401, "ExternalUnauthenticatedError");
}

#[tokio::test]
async fn a_moved_dataset_is_served_under_its_new_name() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    api.hub.set("u/e", Ok(public("u/e")));
    api.hub.set("u/d", Ok(public("u/e")));
    let moved = event("move", "u/d").replace(r#""event""#, r#""movedTo":"u/e","event""#);
    assert_eq!(answer(&api.webhook(&moved).await), (200, OK));
    api.get("/splits?dataset=u/d").await.is_error(404, "RenamedDatasetError");
    api.get("/splits?dataset=u/e").await.is_error(500, "ResponseNotReady");
}

#[tokio::test]
async fn an_unsupported_dataset_is_refused_and_forgotten() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    api.hub.set("u/d", Ok(RepoInfo { viewer_disabled: true, ..public("u/d") }));
    assert_eq!(answer(&api.webhook(&event("update", "u/d")).await), (400, UNSUPPORTED));
    assert_eq!(Mirror::dataset(&api.store, &dataset("u/d")), Ok(None));
    api.get("/splits?dataset=u/d").await.is_error(501, "NotSupportedDisabledViewerError");
}

#[tokio::test]
async fn when_the_hub_cannot_be_asked_the_sender_retries() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    api.hub.set("u/d", Err(HubError::Unreachable("down".to_owned())));
    let reply = api.webhook(&event("update", "u/d")).await;
    assert_eq!(answer(&reply), (500, r#"{"status":"error","error":"unexpected error"}"#));
    assert_eq!(api.get("/splits?dataset=u/d").await.status, 200);
}
