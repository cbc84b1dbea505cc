//! Bodies over HTTP/2, where a reader can leave one answer unread while its connection lives on.
//!
//! Owns the patience for it: a reader that takes no part of an answer for so long loses it. What the answer held is let
//! go of at once, and its stream is reset, never ended as if it were whole. Over HTTP/1.1 the connection's own guard
//! does that ([`super::stalling`]), and bodies go as they are.

use std::io;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::body::Body as _;
use outpost_model::limits;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::stalling::Answering;

/// What a reader takes at a time.
enum Part {
    Bytes(Bytes),
    /// There is nothing more.
    End,
}

/// The answer, given to a reader who is waited for no longer than `unread` at a time. It is being answered until its
/// last part was taken.
pub(super) fn paced(mut response: Response<Body>, unread: Duration, answering: Answering) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response.map(|body| {
        let (sender, parts) = mpsc::channel(1);
        tokio::spawn(async move {
            let _answering = answering;
            pass(body.into_data_stream(), unread, sender).await;
        });
        Body::from_stream(stream::unfold(Some(parts), taken))
    })
}

/// Passes a body on until its end, or until the reader takes nothing.
async fn pass(mut body: BodyDataStream, unread: Duration, sender: mpsc::Sender<io::Result<Part>>) {
    let send = async |part| matches!(timeout(unread, sender.send(part)).await, Ok(Ok(())));
    loop {
        let mut bytes = match body.next().await {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => {
                send(Err(io::Error::other(error))).await;
                return;
            }
            None => {
                send(Ok(Part::End)).await;
                return;
            }
        };
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(limits::RESPONSE_PART_BYTES_MAX));
            // A copy: the part waits in the connection's buffer for as long as that lives, and would hold all of them.
            if !send(Ok(Part::Bytes(Bytes::copy_from_slice(&part)))).await {
                return;
            }
        }
    }
}

type Parts = mpsc::Receiver<io::Result<Part>>;

async fn taken(parts: Option<Parts>) -> Option<(io::Result<Bytes>, Option<Parts>)> {
    let mut parts = parts?;
    match parts.recv().await {
        Some(Ok(Part::Bytes(bytes))) => Some((Ok(bytes), Some(parts))),
        Some(Ok(Part::End)) => None,
        Some(Err(error)) => Some((Err(error), None)),
        None => Some((Err(io::ErrorKind::TimedOut.into()), None)),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::super::stalling::{Activity, Patience};
    use super::*;

    const UNREAD: Duration = Duration::from_secs(30);

    fn answering() -> Answering {
        Activity::start(Patience::default()).answering()
    }

    fn long() -> Vec<u8> {
        (0..3 * limits::RESPONSE_PART_BYTES_MAX + 7).map(|number| number as u8).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_read_arrives_whole_however_long_that_takes() {
        let response = paced(Response::new(Body::from(long())), UNREAD, answering());
        assert_eq!(response.headers()[CONTENT_LENGTH], long().len().to_string().as_str());
        let (mut parts, mut read) = (response.into_body().into_data_stream(), Vec::new());
        while let Some(part) = parts.next().await {
            read.extend_from_slice(&part.unwrap());
            tokio::time::sleep(UNREAD - Duration::from_secs(1)).await;
        }
        assert_eq!(read, long());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_not_read_is_let_go_of_and_does_not_look_whole() {
        let (held, mut is_held) = mpsc::channel::<()>(1);
        let source = stream::iter(long().into_iter().map(move |byte| {
            let _held = &held;
            io::Result::Ok(Bytes::from(vec![byte; limits::RESPONSE_PART_BYTES_MAX]))
        }));
        let body = paced(Response::new(Body::from_stream(source)), UNREAD, answering()).into_body();
        assert!(is_held.recv().await.is_none(), "the source was dropped");
        to_bytes(body, usize::MAX).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_body_that_fails_or_that_nobody_wants_ends() {
        let failing = stream::iter([Ok(Bytes::from("begun")), Err(io::Error::other("broken"))]);
        let body = paced(Response::new(Body::from_stream(failing)), UNREAD, answering()).into_body();
        to_bytes(body, usize::MAX).await.unwrap_err();
        let (held, mut is_held) = mpsc::channel::<()>(1);
        let endless = stream::repeat_with(move || {
            let _held = &held;
            io::Result::Ok(Bytes::from("more"))
        });
        drop(paced(Response::new(Body::from_stream(endless)), UNREAD, answering()));
        assert!(is_held.recv().await.is_none());
        let empty = paced(Response::new(Body::empty()), UNREAD, answering());
        assert!(empty.headers().is_empty() && empty.body().is_end_stream());
    }
}
