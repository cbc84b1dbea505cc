//! Reading the body of a call, bounded in bytes, in time and in number.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use outpost_model::limits::{SYNC_REQUEST_BYTES_MAX, SYNC_REQUEST_TIMEOUT_MS};
use outpost_sync::{Refusal, RefusalCode};
use tokio::sync::Semaphore;

/// How long a body may take to arrive.
pub(super) const TIME: Duration = Duration::from_millis(SYNC_REQUEST_TIMEOUT_MS);

/// Reads a body of at most [`SYNC_REQUEST_BYTES_MAX`] within `time`; a permit of `bodies` is held meanwhile.
pub(super) async fn read(
    bodies: &Semaphore,
    headers: &HeaderMap,
    body: Body,
    time: Duration,
) -> Result<Bytes, Refusal> {
    let too_large = || malformed(format!("the body is longer than {SYNC_REQUEST_BYTES_MAX} bytes"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > SYNC_REQUEST_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let reading = async {
        let _permit = bodies.acquire().await;
        to_bytes(body, SYNC_REQUEST_BYTES_MAX).await
    };
    match tokio::time::timeout(time, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(malformed("the body did not arrive in time".to_owned())),
    }
}

fn malformed(words: String) -> Refusal {
    Refusal::new(RefusalCode::Malformed, words)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_of_one_byte_a_second_is_given_up_on() {
        let drip = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let started = tokio::time::Instant::now();
        let refusal =
            read(&Semaphore::new(1), &HeaderMap::new(), Body::from_stream(drip.boxed()), TIME).await;
        assert_eq!(refusal.unwrap_err().code, RefusalCode::Malformed);
        assert!(started.elapsed() <= Duration::from_millis(SYNC_REQUEST_TIMEOUT_MS + 1));
    }

    #[tokio::test]
    async fn a_body_that_is_or_claims_to_be_too_long_is_refused() {
        let mut headers = HeaderMap::new();
        let body = Body::from(vec![0; SYNC_REQUEST_BYTES_MAX + 1]);
        assert!(read(&Semaphore::new(1), &headers, body, TIME).await.is_err());
        headers.insert(CONTENT_LENGTH, "999999999999".parse().unwrap());
        assert!(read(&Semaphore::new(1), &headers, Body::empty(), TIME).await.is_err());
    }
}
