//! Peers that do no good, at the real listener for other nodes over real connections: what they cost is bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outpost_harness::{client, wait_until};
use outpost_node::http::server::{self, Patience};
use outpost_storage::Mirror;
use outpost_sync::http::{HttpUpstream, parse_address};
use outpost_sync::wire::{self, Message};
use outpost_sync::{Answer, Call, Server, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Api, complete, event, first_rows, public};
use crate::sync::listener_over;

const BOUND: Duration = Duration::from_secs(60);
/// As short as a machine that does other things too allows.
const SHORT: Duration = Duration::from_millis(300);

struct Site {
    api: Api,
    server: Arc<Server>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn site(patience: Patience) -> Site {
    let api = Api::start().await;
    let stop = CancellationToken::new();
    let (sync, server) = listener_over(&api, stop.clone());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(server::serve_with(socket, Arc::new(sync.with_body_time(SHORT)), stop.clone(), patience));
    Site { api, server, address, stop }
}

fn head_of(call: &str, length: usize) -> Vec<u8> {
    format!(
        "POST /sync/{call} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-token\r\nOutpost-Sync-Versions: 1\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

fn question() -> Bytes {
    frame::encode(&wire::Compare { node: 7, ranges: Vec::new() }.into())
}

impl Site {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes, then nothing more; returns all that comes back until the node closes.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The node may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        said(&mut stream).await
    }

    /// Sends bytes one at a time, until the node answers or closes.
    async fn drip(&self, first: &[u8], then: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(first).await.unwrap();
        let mut begin = [0; 1];
        for byte in then.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return String::new();
            }
            match tokio::time::timeout(SHORT / 20, stream.read(&mut begin)).await {
                Ok(Ok(1)) => return format!("{}{}", begin[0] as char, said(&mut stream).await),
                Ok(_) => return String::new(),
                Err(_) => {}
            }
        }
        unreachable!("the bytes come again and again")
    }

    async fn is_alive(&self) {
        let request = [head_of("head", question().len()), question().to_vec()].concat();
        let mut stream = self.connect().await;
        stream.write_all(&request).await.unwrap();
        let mut begin = [0; 15];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200 OK");
    }

    fn upstream(&self) -> HttpUpstream {
        let address = parse_address(&format!("http://{}", self.address)).unwrap();
        HttpUpstream::new(address, Some("the-token".to_owned()), client())
    }

    /// Makes a dataset whose first rows are about two megabytes that do not compress.
    async fn compute(&self, number: u64) {
        let mut random = fastrand::Rng::with_seed(number);
        let noise: String = (0..2_000_000).map(|_| random.alphanumeric()).collect();
        let rows = first_rows(1, 1, false).replace("\"0x\"", &format!("\"{noise}\""));
        assert!(rows.len() > 2_000_000);
        let name = format!("u/d{number}");
        self.api.hub.set(&name, Ok(public(&name)));
        assert_eq!(self.api.webhook(&event("add", &name)).await.status, 200);
        self.api.compute(|key| complete(key, &rows)).await;
    }
}

/// What comes back until the node closes, which it does in time.
async fn said(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("the node closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn hasty() -> Patience {
    Patience { head: SHORT, ..Patience::default() }
}

#[tokio::test]
async fn garbage_ends_its_connection_only() {
    let site = site(hasty()).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\x00\x01\x02\r\n\r\n",
        b"OPSY\x01\x02\x00\x00\x00\x00\x00\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let answer = site.exchange(garbage).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    site.is_alive().await;
}

#[tokio::test]
async fn a_request_that_drips_in_is_given_up_on_wherever_it_is() {
    let site = site(hasty()).await;
    let head = head_of("head", 1_000);
    assert_eq!(site.drip(&head[..40], b"x").await, "", "a head that never ends");
    let answer = site.drip(&head, b"O").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("x-error-code: SyncMalformed"), "{answer}");
    assert!(answer.contains("the body did not arrive in time"), "{answer}");
    // Who does not know the token is not listened to for so long.
    let stranger = String::from_utf8(head).unwrap().replace("the-token", "another");
    let answer = site.drip(stranger.as_bytes(), b"O").await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("SyncUnauthorized"), "{answer}");
    site.is_alive().await;
}

#[tokio::test]
async fn a_call_that_lies_about_its_length_is_refused_in_words_before_it_costs_anything() {
    let site = site(hasty()).await;
    let good = question();
    let mut longer = good.to_vec();
    longer[8..12].copy_from_slice(&20_000_000_u32.to_be_bytes());
    let mut shorter = good.to_vec();
    shorter[8..12].copy_from_slice(&1_u32.to_be_bytes());
    for (length, body) in [
        (1_000_000_000_000, good.to_vec()),
        (good.len() - 1, good.to_vec()),
        (good.len() + 1, good.to_vec()),
        (good.len(), longer),
        (good.len(), shorter),
    ] {
        let answer = site.exchange(&[head_of("head", length), body].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{length}: {answer}");
        assert!(answer.contains("SyncMalformed") && answer.contains(r#"{"error":""#), "{length}: {answer}");
    }
    site.is_alive().await;
}

#[tokio::test]
async fn a_follower_of_another_cluster_or_of_the_future_is_refused_in_words() {
    let site = site(hasty()).await;
    let at = Mirror::position(&site.api.store);
    let own = at.epoch.0;
    for (epoch, seq, code) in
        [(own ^ 1, at.seq, "SyncForeignHistory"), (own, at.seq + 1, "SyncAhead"), (own, 0, "SyncGap")]
    {
        let tail = frame::encode(&wire::Tail { node: 7, epoch, seq }.into());
        let answer = site.exchange(&[head_of("tail", tail.len()), tail.to_vec()].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 409") && answer.contains(code), "{answer}");
        assert!(answer.contains(r#"{"error":"#), "{answer}");
    }
    assert_eq!(site.server.followers(), 0);
    site.is_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_never_reads_is_dropped_and_delays_nobody() {
    let site = site(Patience { unread: 5 * SHORT, ..Patience::default() }).await;
    let at = Mirror::position(&site.api.store);
    let tail = wire::Tail { node: 7, epoch: at.epoch.0, seq: at.seq };
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut still = socket.connect(site.address).await.unwrap();
    let request = frame::encode(&tail.clone().into());
    still.write_all(&[head_of("tail", request.len()), request.to_vec()].concat()).await.unwrap();
    let mut good = Answer::of(&site.upstream(), Call::Tail, tail.into()).await.unwrap();
    wait_until("both to follow", BOUND, || async { (site.server.followers() == 2).then_some(()) }).await;

    // More than the connection of the one that does not read takes in. The other is told of each as it happens.
    for number in 0..8 {
        site.compute(number).await;
        let position = Mirror::position(&site.api.store).seq;
        let told = async {
            loop {
                match good.expect().await.unwrap() {
                    Message::Reached(reached) if reached.seq >= position => break,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(BOUND, told).await.unwrap();
    }
    let reading =
        tokio::spawn(async move { while good.next().await.is_ok_and(|message| message.is_some()) {} });
    wait_until("the other to be dropped", BOUND, || async { (site.server.followers() == 1).then_some(()) })
        .await;
    // It is told so: the connection ends within the answer.
    let mut got = Vec::new();
    let _ = tokio::time::timeout(BOUND, still.read_to_end(&mut got)).await.expect("the node has closed");
    assert!(got.len() < 8_000_000, "{}", got.len());
    reading.abort();
}
