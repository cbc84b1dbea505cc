//! The listener for other nodes: what it refuses, in which words, and what it answers.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use outpost_hub::HubError;
use outpost_node::http::server::Handle;
use outpost_node::sync_api::{NodeDesk, OriginRelays, SyncApi, SyncToken};
use outpost_node::vantage::{OriginStanding, OriginVantage};
use outpost_storage::Mirror;
use outpost_sync::Server;
use outpost_sync::adapter::FeedStore;
use outpost_sync::frame;
use outpost_sync::wire::{self, Message};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Api, event};

const ROWS: &str = r#"{"rows":[]}"#;

fn listener(api: &Api) -> SyncApi {
    listener_over(api, CancellationToken::new()).0
}

/// What answers other nodes until `stop`, with the feed behind it.
pub fn listener_over(api: &Api, stop: CancellationToken) -> (SyncApi, Arc<Server>) {
    let mirror: Arc<dyn Mirror> = Arc::new(api.store.clone());
    let vantage = Arc::new(OriginVantage::new(Arc::clone(&mirror), None));
    let standing = Arc::new(OriginStanding::new(mirror, vantage));
    let server = Server::new(Arc::new(FeedStore::new(Arc::new(api.store.clone()))), standing);
    let desk = NodeDesk::new(Arc::clone(&api.app), Arc::new(OriginRelays::new(Arc::clone(&api.intake))));
    (SyncApi::new(SyncToken::new("the-token"), Arc::clone(&server), Arc::new(desk), stop), server)
}

struct Said {
    status: StatusCode,
    code: Option<String>,
    body: Bytes,
}

async fn call(listener: &SyncApi, name: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Said {
    let mut request = Request::builder().method("POST").uri(format!("/sync/{name}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = listener.handle(request.body(body.into()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let code = parts.headers.get("x-error-code").map(|code| code.to_str().unwrap().to_owned());
    Said { status: parts.status, code, body: to_bytes(body, usize::MAX).await.unwrap() }
}

const KNOWN: [(&str, &str); 2] = [("authorization", "Bearer the-token"), ("outpost-sync-versions", "9, 1")];

fn head() -> Bytes {
    frame::encode(&wire::Compare { node: 7, ranges: Vec::new() }.into())
}

#[tokio::test]
async fn a_call_without_the_token_or_in_another_version_is_refused_in_words() {
    let listener = listener(&Api::start().await);
    for (headers, status, code) in [
        (&[KNOWN[1]][..], 401, "SyncUnauthorized"),
        (&[("authorization", "Bearer other"), KNOWN[1]], 401, "SyncUnauthorized"),
        (&[KNOWN[0]], 400, "SyncVersion"),
        (&[KNOWN[0], ("outpost-sync-versions", "2,three")], 400, "SyncVersion"),
    ] {
        let said = call(&listener, "head", headers, head()).await;
        assert_eq!((said.status.as_u16(), said.code.as_deref()), (status, Some(code)), "{headers:?}");
        let body: serde_json::Value = serde_json::from_slice(&said.body).unwrap();
        assert!(body["error"].as_str().unwrap().len() > 20);
    }
    let said = call(&listener, "head", &KNOWN, head()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert!(matches!(frame::decode_one(&said.body), Ok(Message::Head(_))));
}

#[tokio::test]
async fn frames_that_lie_are_refused_whatever_they_claim() {
    let listener = listener(&Api::start().await);
    let good = head();
    let mut longer = good.to_vec();
    longer[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut shorter = good.to_vec();
    shorter[8..12].copy_from_slice(&1_u32.to_be_bytes());
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let two = [good.clone(), good.clone()].concat();
    let wrong = frame::encode(&wire::Gone { items: Vec::new() }.into()).to_vec();
    let cut = good[..good.len() - 1].to_vec();
    for body in [longer, shorter, flipped, two, wrong, cut, b"GET / HTTP/1.1".to_vec(), Vec::new()] {
        let said = call(&listener, "head", &KNOWN, body.clone()).await;
        assert_eq!((said.status.as_u16(), said.code.as_deref()), (400, Some("SyncMalformed")), "{body:?}");
    }
    assert_eq!(call(&listener, "nothing", &KNOWN, head()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_lookup_is_answered_as_a_reader_is() {
    let api = Api::start().await;
    api.serve(ROWS).await;
    let listener = listener(&api);
    let lookup = |dataset: &str| wire::Lookup {
        kind: "dataset-split-names".to_owned(),
        dataset: dataset.to_owned(),
        key: None,
        after: None,
        age_ms_max: Some(0),
        has_credentials: false,
        hops: 1,
    };
    let said = call(&listener, "lookup", &KNOWN, frame::encode(&lookup("u/unknown").into())).await;
    let Ok(Message::Found(found)) = frame::decode_one(&said.body) else { panic!("{:?}", said.status) };
    let wire::Answer::Error { http_status, error_code, .. } = found.answer else { panic!("an entry") };
    assert_eq!((http_status, error_code.as_deref()), (401, Some("ExternalUnauthenticatedError")));
    let said = call(&listener, "lookup", &KNOWN, frame::encode(&lookup("a/b/c").into())).await;
    assert_eq!(said.code.as_deref(), Some("SyncMalformed"));
}

#[tokio::test]
async fn a_relayed_webhook_is_applied_once() {
    let api = Api::start().await;
    api.serve(ROWS).await;
    let listener = listener(&api);
    let relay = wire::Relay { id: 42, body: event("remove", "u/d").into_bytes(), hops: 0 };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let said = call(&listener, "webhook", &KNOWN, frame::encode(&relay.clone().into())).await;
        let Ok(Message::Taken(taken)) = frame::decode_one(&said.body) else { panic!("{:?}", said.status) };
        answers.push(taken);
    }
    assert!(matches!(answers[..], [wire::Taken::Applied(..), wire::Taken::Ignored]), "{answers:?}");
    api.hub.set("u/d", Err(HubError::RepoNotFound("u/d".to_owned())));
    assert_eq!(api.get("/splits?dataset=u/d").await.status, StatusCode::UNAUTHORIZED);
    let nonsense = wire::Relay { id: 43, body: b"no".to_vec(), hops: 0 };
    let said = call(&listener, "webhook", &KNOWN, frame::encode(&nonsense.into())).await;
    assert!(matches!(frame::decode_one(&said.body), Ok(Message::Taken(wire::Taken::Refused(_)))));
}
