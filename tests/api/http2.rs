//! Readers over HTTP/2, at the real accept loop: one answer left unread costs itself only.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use bytes::Bytes;
use futures::stream;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outpost_harness::wait_until;
use outpost_node::http::server::{self, Handle, Patience};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// As short as a machine that does other things too allows.
const SHORT: Duration = Duration::from_millis(300);
/// More than a connection's windows and buffers hold.
const PARTS: usize = 64;
const PART: &[u8] = &[7; 100_000];

/// Answers `/stream` with a body that comes in parts and `/whole` with one that is there at once. Each holds a claim
/// until it is let go of.
struct Site(Arc<()>);

struct Claimed(Vec<u8>, #[expect(dead_code, reason = "it is held")] Arc<()>);

impl AsRef<[u8]> for Claimed {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Handle for Site {
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let claim = Arc::clone(&self.0);
        Response::new(match request.uri().path() {
            "/stream" => Body::from_stream(stream::iter((0..PARTS).map(move |_| {
                let _claim = &claim;
                io::Result::Ok(Bytes::from_static(PART))
            }))),
            "/whole" => Body::from(Bytes::from_owner(Claimed(PART.repeat(PARTS), claim))),
            _ => Body::from("small"),
        })
    }
}

/// A connection to a node of its own with this patience for unread answers, and what its answers claim.
async fn connect(unread: Duration) -> (SendRequest<Body>, Arc<()>, DropGuard) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (socket.local_addr().unwrap(), CancellationToken::new());
    let (claims, patience) = (Arc::default(), Patience { unread, ..Patience::default() });
    let site = Arc::new(Site(Arc::clone(&claims)));
    tokio::spawn(server::serve_with(socket, site, stop.clone(), patience));
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (requests, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    (requests, claims, stop.drop_guard())
}

async fn ask(requests: &mut SendRequest<Body>, path: &str) -> Response<Body> {
    let request = Request::get(format!("http://node{path}")).body(Body::empty()).unwrap();
    requests.send_request(request).await.unwrap().map(Body::new)
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_cut_and_the_connection_goes_on() {
    for path in ["/stream", "/whole"] {
        let (mut requests, claims, _stop) = connect(SHORT).await;
        let unread = ask(&mut requests, path).await;
        assert_eq!(unread.status(), 200);
        // The node's own claim and the test's are left.
        wait_until("the answer to be let go of", Duration::from_secs(60), || async {
            (Arc::strong_count(&claims) == 2).then_some(())
        })
        .await;
        to_bytes(unread.into_body(), usize::MAX).await.unwrap_err();
        assert_eq!(to_bytes(ask(&mut requests, "/").await.into_body(), 100).await.unwrap(), "small");
    }
}

#[tokio::test]
async fn answers_that_are_read_are_whole() {
    let (mut requests, _, _stop) = connect(Patience::default().unread).await;
    for path in ["/stream", "/whole"] {
        let answer = ask(&mut requests, path).await;
        assert_eq!(answer.headers().contains_key("content-length"), path == "/whole");
        let read = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert!(read == PART.repeat(PARTS), "{path}: {} bytes", read.len());
    }
}
