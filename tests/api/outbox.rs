//! Webhooks at a replica: what the Hub is answered, what happens when too many wait, and in which order they leave.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use outpost_model::webhook::WebhookEvent;
use outpost_node::outbox::ReplicaOutbox;
use outpost_storage::outbox::OutboxBounds;
use outpost_storage::{Outbox, OutboxStats};
use outpost_sync::call::ByteStream;
use outpost_sync::relay::{Relay, RelayCounts};
use outpost_sync::wire::{Message, Taken};
use outpost_sync::{Call, CallError, Upstream, frame};

use crate::fixture::{Api, event};

const BOUNDS: OutboxBounds = OutboxBounds { entries_max: 3, bytes_max: 1_000_000 };

fn open(directory: &Path) -> Outbox {
    Outbox::open_within(directory, BOUNDS).unwrap()
}

/// A primary that takes everything and remembers it.
#[derive(Default)]
struct Taking(Mutex<Vec<String>>);

#[async_trait]
impl Upstream for Taking {
    fn name(&self) -> &str {
        "primary"
    }

    async fn call(&self, _: Call, request: Message) -> Result<ByteStream, CallError> {
        let Message::Relay(relay) = request else { panic!("{}", request.name()) };
        self.0.lock().unwrap().push(String::from_utf8(relay.body).unwrap());
        let answer = frame::encode(&Taken::Applied(1, 1).into());
        Ok(futures::stream::once(async move { Ok::<Bytes, _>(answer) }).boxed())
    }
}

#[tokio::test]
async fn the_answer_to_a_webhook_at_a_replica_is_a_primarys() {
    let directory = tempfile::tempdir().unwrap();
    let outbox = open(directory.path());
    let api = Api::start_taking(Arc::new(ReplicaOutbox(outbox.clone()))).await;
    let reply = api.webhook(&event("update", "u/d")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, r#"{"status":"ok"}"#));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-error-code"), None);
    // The state that the node's readers see; what the webhook leads to comes later, and is no part of it.
    assert_eq!(reply.header("x-sync-position"), api.get("/healthcheck").await.header("x-sync-position"));
    assert_eq!(outbox.stats().entries, 1);
    // What the primary would ignore or refuse is not kept.
    let ignored = r#"{"event":"update","scope":"discussion","repo":{"type":"dataset","name":"u/d"}}"#;
    assert_eq!(api.webhook(ignored).await.status, 200);
    assert_eq!(api.webhook("{").await.status, 400);
    assert_eq!(outbox.stats().entries, 1);
}

#[tokio::test]
async fn a_full_outbox_refuses_in_words_and_drains_in_order_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let outbox = open(directory.path());
    let api = Api::start_taking(Arc::new(ReplicaOutbox(outbox.clone()))).await;
    let bodies = ["add", "update", "remove"].map(|news| event(news, "u/d"));
    for body in &bodies {
        assert_eq!(api.webhook(body).await.status, 200);
    }
    let refused = api.webhook(&event("update", "u/other")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.text()),
        (
            503,
            r#"{"status":"error","error":"too many webhooks wait for the primary, which cannot be reached; retry later"}"#
        )
    );
    assert_eq!(refused.header("x-error-code"), Some("OutboxFull"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 0));
    drop((api, outbox));

    let outbox = open(directory.path());
    assert_eq!(outbox.stats().entries, 3);
    let primary = Arc::new(Taking::default());
    let queue = Arc::new(ReplicaOutbox(outbox.clone()));
    let relay = Relay::new(queue, vec![primary.clone()], Arc::<RelayCounts>::default());
    let relaying = tokio::spawn(relay.run());
    outpost_harness::wait_until("the outbox to drain", Duration::from_secs(30), || async {
        (outbox.stats() == OutboxStats::default()).then_some(())
    })
    .await;
    assert_eq!(*primary.0.lock().unwrap(), bodies);
    // There is room again.
    let api = Api::start_taking(Arc::new(ReplicaOutbox(outbox.clone()))).await;
    assert!(WebhookEvent::parse(bodies[1].as_bytes()).is_ok());
    assert_eq!(api.webhook(&bodies[1]).await.status, 200);
    relaying.abort();
}
