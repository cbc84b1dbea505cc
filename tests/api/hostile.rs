//! Hostile requests, over a real connection where the form matters.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Position};
use outpost_node::http::server;
use outpost_storage::{Changed, Mirror, MirrorEntry, StorageError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Api, SECRET, first_rows};

const BOUND: Duration = Duration::from_secs(20);

struct Served {
    api: Api,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    let api = Api::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(server::serve(listener, Arc::clone(&api.frame), stop.clone()));
    Served { api, address, stop, server }
}

impl Served {
    /// Sends bytes and returns all that comes back until the server closes or the answer ends.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ =
            tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("an answer in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
    }

    async fn is_alive(&self) {
        let answer = self.exchange(&Self::get("/healthcheck")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_webhook_above_the_limit_is_413_in_json() {
    let served = serve().await;
    let head = |length: &str| {
        format!(
            "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Webhook-Secret: {SECRET}\r\n{length}\r\nConnection: close\r\n\r\n"
        )
    };
    let announced = format!("{}{}", head("Content-Length: 2000000"), "x".repeat(1_000));
    let answer = served.exchange(announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"error","error":"the body is too large"}"#), "{answer}");
    served.is_alive().await;
    let reply = served.api.webhook(&"x".repeat(2_000_000)).await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn long_queries_are_refused() {
    let served = serve().await;
    for length in [9_000, 60_000, 100_000, 1_000_000] {
        let answer = served.exchange(&Served::get(&format!("/splits?dataset={}", "x".repeat(length)))).await;
        // The largest is cut off while the client still writes, so its answer may be lost with the connection.
        let is_refused = answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431");
        let may_be_lost = length > 500_000 && answer.is_empty();
        assert!(is_refused || may_be_lost, "{length}: {}", &answer[..answer.len().min(200)]);
    }
    assert_eq!(served.api.hub.calls(), 0);
    served.is_alive().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_end_their_connection_only() {
    let served = serve().await;
    for garbage in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut request = garbage.to_vec();
        request.extend_from_slice(b"Host: x\r\nConnection: close\r\n\r\n");
        let answer = served.exchange(&request).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    served.is_alive().await;
}

#[tokio::test]
async fn odd_names_are_refused_without_asking_anyone() {
    let api = Api::start().await;
    for name in [
        "%00",
        "u%00/d",
        "u/d%00",
        "%ff%fe",
        "..",
        "../../etc/passwd",
        "a/b/c",
        "%F0%9F%92%A9",
        "u%2F..",
        "%",
    ] {
        api.get(&format!("/splits?dataset={name}")).await.is_error(401, "ExternalUnauthenticatedError");
        api.get(&format!("/rows?dataset={name}&config=%00&split=%zz"))
            .await
            .is_error(401, "ExternalUnauthenticatedError");
    }
    assert_eq!(api.hub.calls(), 0);
}

/// A mirror with a defect.
struct Panicking(outpost_storage::EmbeddedStore);

impl Mirror for Panicking {
    fn position(&self) -> Position {
        Mirror::position(&self.0)
    }

    fn get(&self, _: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError> {
        Err(StorageError::Damaged("for the test".to_owned()))
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        assert_ne!(name.as_str(), "u/panic", "a defect");
        Mirror::dataset(&self.0, name)
    }

    fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError> {
        self.0.changes_after(seq, limit)
    }

    fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.watch()
    }
}

#[tokio::test]
async fn a_panic_and_a_damaged_record_cost_their_request_only() {
    let api = Api::start_over(Some(SECRET), "", None, |store| Arc::new(Panicking(store.clone()))).await;
    api.serve(&first_rows(1, 1, false)).await;
    for uri in ["/splits?dataset=u/panic", "/splits?dataset=u/d"] {
        for _ in 0..3 {
            let reply = api.get(uri).await;
            reply.is_error(500, "UnexpectedApiError");
            assert_eq!(reply.text(), r#"{"error":"Unexpected error."}"#);
            assert!(reply.header("x-sync-position").is_some());
        }
    }
    let metrics = api.get("/metrics").await;
    let counted =
        r#"starlette_exceptions_total{exception_type="panic",method="GET",path_template="/splits"} 3"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    assert!(metrics.text().contains(r#"in_progress{method="GET",path_template="/splits"} 0"#));
}

#[tokio::test]
async fn an_open_request_ends_before_the_server_stops() {
    let served = serve().await;
    served.api.hub.close();
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&Served::get("/splits?dataset=u/slow")).await.unwrap();
    outpost_harness::wait_until("the request", BOUND, || async {
        (served.api.hub.calls() > 0).then_some(())
    })
    .await;
    served.stop.cancel();
    let mut answer = String::new();
    tokio::time::timeout(BOUND, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("AuthCheckHubRequestError"), "{answer}");
    tokio::time::timeout(BOUND, served.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
