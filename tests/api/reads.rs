//! `/splits`, `/first-rows`, `/is-valid`: levels, stored answers and each row of http-api.md section 1.5.

use outpost_hub::HubError;
use outpost_model::{ErrorCode, Visibility};

use crate::fixture::{Api, REVISION, Scripted, event, first_rows, public};

#[tokio::test]
async fn stored_answers_are_sent_as_they_are() {
    let api = Api::start().await;
    let rows = first_rows(2, 10, false);
    api.serve(&rows).await;
    for (uri, body) in [
        (
            "/splits?dataset=u/d",
            r#"{"splits":[{"dataset":"u/d","config":"default","split":"train"}],"pending":[],"failed":[]}"#,
        ),
        (
            "/splits?dataset=u%2Fd&config=default",
            r#"{"splits":[{"dataset":"u/d","config":"default","split":"train"}]}"#,
        ),
        ("/first-rows?dataset=u/d&config=default&split=train", rows.as_str()),
        (
            "/is-valid?dataset=u/d&config=default&split=train",
            r#"{"preview":true,"viewer":false,"search":false,"filter":false,"statistics":false}"#,
        ),
    ] {
        let reply = api.get(uri).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, body), "{uri}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("max-age=120"));
        assert_eq!(reply.header("x-revision"), Some(REVISION));
        assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
        assert_eq!(reply.header("x-error-code"), None);
        assert!(reply.header("x-sync-position").is_some());
    }
}

#[tokio::test]
async fn blank_lower_levels_fall_back_to_the_dataset() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let whole = api.get("/splits?dataset=u/d").await;
    for uri in [
        "/splits?dataset=u/d&config=",
        "/splits?dataset=u/d&split=train",
        "/splits?x=1&dataset=u/d&config=%20",
    ] {
        assert_eq!(api.get(uri).await.body, whole.body, "{uri}");
    }
}

#[tokio::test]
async fn missing_parameters_are_422_before_anything_is_looked_up() {
    let api = Api::start().await;
    let dataset = "Parameter 'dataset' is required";
    let all = "Parameters 'dataset', 'config' and 'split' are required";
    for (uri, text) in [
        ("/splits", dataset),
        ("/splits?dataset=", dataset),
        ("/splits?config=c", dataset),
        ("/is-valid?dataset=+", dataset),
        ("/first-rows", all),
        ("/first-rows?dataset=u/d", all),
        ("/first-rows?dataset=u/d&config=c", all),
        ("/first-rows?dataset=u/d&config=&split=s", all),
    ] {
        let reply = api.get(uri).await;
        reply.is_error(422, "MissingRequiredParameter");
        assert_eq!(reply.json()["error"], text, "{uri}");
        assert_eq!(reply.header("x-revision"), None);
    }
    assert_eq!(api.hub.calls(), 0);
}

#[tokio::test]
async fn what_is_not_public_does_not_exist_for_readers() {
    let api = Api::start().await;
    api.hub.set(
        "u/private",
        Ok(outpost_hub::RepoInfo { visibility: Visibility::Private, ..public("u/private") }),
    );
    api.hub.set("u/gated", Ok(outpost_hub::RepoInfo { visibility: Visibility::Gated, ..public("u/gated") }));
    api.hub.set("u/ungranted", Err(HubError::Gated("u/ungranted".to_owned())));
    let mut texts = Vec::new();
    for name in ["u/unknown", "u/private", "u/gated", "u/ungranted", "not//a name", "u/..%2F.."] {
        let uri = format!("/splits?dataset={}", name.replace(' ', "%20"));
        let anonymous = api.get(&uri).await;
        anonymous.is_error(401, "ExternalUnauthenticatedError");
        texts.push(anonymous.body.clone());
        let reply = api.get_with(&uri, &[("authorization", "Bearer hf_x")]).await;
        reply.is_error(404, "ExternalAuthenticatedError");
        assert!(reply.text().contains("with the current credentials"), "{}", reply.text());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "the answers tell the datasets apart");
    assert!(String::from_utf8_lossy(&texts[0]).contains("without authentication"));
}

#[tokio::test]
async fn a_dataset_that_turns_private_is_gone_at_once() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let uri = "/first-rows?dataset=u/d&config=default&split=train";
    assert_eq!(api.get(uri).await.status, 200);
    api.hub.set("u/d", Ok(outpost_hub::RepoInfo { visibility: Visibility::Private, ..public("u/d") }));
    assert_eq!(api.webhook(&event("update", "u/d")).await.status, 200);
    api.get(uri).await.is_error(401, "ExternalUnauthenticatedError");
    api.get("/splits?dataset=u/d&config=other").await.is_error(401, "ExternalUnauthenticatedError");
}

#[tokio::test]
async fn a_renamed_dataset_says_so() {
    let api = Api::start().await;
    api.hub.set("u/old", Ok(public("u/new")));
    api.get("/splits?dataset=u/old").await.is_error(404, "RenamedDatasetError");
}

#[tokio::test]
async fn an_unreachable_hub_is_a_temporary_error() {
    let api = Api::start().await;
    api.hub.set("u/d", Err(HubError::Unreachable("refused".to_owned())));
    let reply = api.get("/splits?dataset=u/d").await;
    reply.is_error(500, "AuthCheckHubRequestError");
    assert!(reply.header("retry-after").is_some());
    let status = HubError::Status { status: 429, url: String::new(), message: String::new() };
    api.hub.set("u/e", Err(status));
    let reply = api.get("/splits?dataset=u/e").await;
    reply.is_error(500, "UnexpectedApiError");
    assert_eq!(reply.json()["error"], "Unexpected error.");
}

#[tokio::test]
async fn pending_work_is_not_ready_and_says_when_to_come_back() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    api.webhook(&event("add", "u/d")).await;
    let reply = api.get("/first-rows?dataset=u/d&config=c&split=s").await;
    reply.is_error(500, "ResponseNotReady");
    assert!(reply.text().contains("retry later"));
    assert_eq!(reply.header("retry-after"), Some("2"));
}

#[tokio::test]
async fn a_known_dataset_without_such_a_config_or_split_is_not_found() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let calls = api.hub.calls();
    for uri in [
        "/splits?dataset=u/d&config=other",
        "/splits?dataset=u/d&config=a%2Fb",
        "/first-rows?dataset=u/d&config=default&split=test",
        "/first-rows?dataset=u/d&config=default&split=not%20a%20split",
        "/rows?dataset=u/d&config=default&split=test",
    ] {
        let reply = api.get(uri).await;
        reply.is_error(404, "ResponseNotFound");
        assert_eq!(reply.json()["error"], "Not found.", "{uri}");
    }
    assert_eq!(api.hub.calls(), calls);
}

#[tokio::test]
async fn unsupported_datasets_are_501_with_their_reason() {
    let api = Api::start_with(None, "blocked/*").await;
    let mut nfaa = public("u/nfaa");
    nfaa.tags.push("nsfw".to_owned());
    api.hub.set("u/nfaa", Ok(nfaa));
    api.hub.set("u/disabled", Ok(outpost_hub::RepoInfo { disabled: true, ..public("u/disabled") }));
    api.hub.set("u/off", Ok(outpost_hub::RepoInfo { viewer_disabled: true, ..public("u/off") }));
    api.hub.set("blocked/d", Ok(public("blocked/d")));
    api.hub.set("u/gone", Err(HubError::Disabled("u/gone".to_owned())));
    for (name, code) in [
        ("u/nfaa", "NotSupportedTagNFAAError"),
        ("u/disabled", "NotSupportedDisabledRepositoryError"),
        ("u/gone", "NotSupportedDisabledRepositoryError"),
        ("u/off", "NotSupportedDisabledViewerError"),
        ("blocked/d", "DatasetInBlockListError"),
    ] {
        api.get(&format!("/splits?dataset={name}")).await.is_error(501, code);
        api.get(&format!("/rows?dataset={name}&config=c&split=s")).await.is_error(501, code);
    }
}

#[tokio::test]
async fn stored_errors_are_replayed_with_their_revision() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    api.webhook(&event("add", "u/d")).await;
    api.compute(|_| Scripted {
        error: Some(ErrorCode::EmptyDatasetError),
        body: r#"{"error":"The dataset is empty."}"#.to_owned(),
        names: Vec::new(),
    })
    .await;
    let reply = api.get("/splits?dataset=u/d").await;
    reply.is_error(500, "EmptyDatasetError");
    assert_eq!(reply.text(), r#"{"error":"The dataset is empty."}"#);
    assert_eq!(reply.header("x-revision"), Some(REVISION));
    assert_eq!(reply.header("etag"), None);
}
