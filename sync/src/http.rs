//! Calls over HTTP: the one module that knows a socket (PROTOCOL.md section 2).
//!
//! Owns the request, the token that goes with it and the reading of refusals. Follows no redirects: a token goes to the
//! address that it was given for. Names are resolved for each new connection, by the client that it is given.

use async_trait::async_trait;
use futures::StreamExt;
use outpost_model::limits;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use url::Url;

use crate::call::{ByteStream, Call, CallError, Refusal, RefusalCode, Upstream};
use crate::frame;
use crate::wire::Message;

/// Names the versions that a caller speaks, best first.
pub const VERSIONS_HEADER: &str = "outpost-sync-versions";
/// Names the version that was chosen.
pub const VERSION_HEADER: &str = "outpost-sync-version";
/// Names the code of a refusal.
pub const CODE_HEADER: &str = "x-error-code";
/// Media type of a stream of frames.
pub const CONTENT_TYPE: &str = "application/vnd.outpost.sync";

/// A text that is not the address of a sync listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a node's sync listener, such as http://primary.internal:8001")]
pub struct InvalidAddress(String);

/// Reads the address of a sync listener: `http(s)://HOST[:PORT]` and nothing behind it.
///
/// # Errors
/// [`InvalidAddress`].
pub fn parse_address(text: &str) -> Result<Url, InvalidAddress> {
    let invalid = || InvalidAddress(text.to_owned());
    let address = Url::parse(text).map_err(|_| invalid())?;
    let is_plain = address.path() == "/" && address.query().is_none() && address.username().is_empty();
    if !matches!(address.scheme(), "http" | "https") || !address.has_host() || !is_plain {
        return Err(invalid());
    }
    Ok(address)
}

/// A node behind an address.
pub struct HttpUpstream {
    name: String,
    address: Url,
    token: Option<String>,
    client: reqwest::Client,
}

impl HttpUpstream {
    /// The node whose sync listener is at `address`. `client` follows no redirects and limits the time to connect.
    #[must_use]
    pub fn new(address: Url, token: Option<String>, client: reqwest::Client) -> Self {
        Self { name: address.as_str().trim_end_matches('/').to_owned(), address, token, client }
    }
}

#[async_trait]
impl Upstream for HttpUpstream {
    fn name(&self) -> &str {
        &self.name
    }

    async fn call(&self, call: Call, request: Message) -> Result<ByteStream, CallError> {
        let mut url = self.address.clone();
        url.set_path(&format!("/sync/{}", call.name()));
        let mut sent = self
            .client
            .post(url)
            .header(VERSIONS_HEADER, frame::VERSION.to_string())
            .header(reqwest::header::CONTENT_TYPE, CONTENT_TYPE)
            .body(frame::encode(&request));
        if let Some(token) = &self.token {
            sent = sent.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = sent.send().await.map_err(|error| CallError::Lost(chain(&error)))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let bytes = response.bytes_stream();
        Ok(bytes.map(|bytes| bytes.map_err(|error| CallError::Lost(chain(&error)))).boxed())
    }
}

#[derive(Deserialize)]
struct Words {
    error: String,
}

/// A refusal in its words; anything else that is no answer is told by its status.
async fn refusal(response: reqwest::Response) -> CallError {
    let status = response.status().as_u16();
    let code = response.headers().get(CODE_HEADER).and_then(|code| code.to_str().ok());
    let code = code.and_then(|code| RefusalCode::ALL.iter().find(|known| known.as_str() == code).copied());
    let words = read_words(response).await;
    match (code, words) {
        (Some(code), words) => Refusal::new(code, words.unwrap_or_default()).into(),
        (None, Some(words)) => CallError::Lost(format!("status {status}: {words}")),
        (None, None) => CallError::Lost(format!("status {status}: is this the address of a sync listener?")),
    }
}

async fn read_words(response: reqwest::Response) -> Option<String> {
    let mut stream = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = stream.next().await {
        body.extend_from_slice(&bytes);
        if body.len() > limits::SYNC_REFUSAL_BYTES_MAX {
            return None;
        }
    }
    let Words { error } = serde_json::from_slice(&body).ok()?;
    Some(error)
}

/// An error with its causes: the outermost alone only says that something failed.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_http_url() {
        assert_eq!(parse_address("http://[::1]:8001/").unwrap().as_str(), "http://[::1]:8001/");
        for wrong in ["localhost:8001", "ftp://x", "http://x/path", "http://u@x", "http://x?q=1", ""] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
    }
}
