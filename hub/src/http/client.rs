//! One request to the Hub: its headers, redirects, time and size.
//!
//! Owns where the token goes: to the Hub's own host, and to no other from the first redirect away from it on. Refuses
//! redirects from `https` to `http`, and redirects of API calls to another host. A silent or crawling Hub ends as
//! [`HubError::Unreachable`].

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use outpost_model::DatasetName;
use outpost_model::limits::{HUB_JSON_BYTES_MAX, HUB_REDIRECTS_MAX, HUB_TRANSFER_BYTES_PER_S_MIN};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Response, redirect};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Access, HubError};

use super::locations::Locations;
use super::options::{Endpoint, HttpHubOptions, InvalidOptions, bearer};
use super::retry::Failed;
use super::status::{Target, failure, shown};
use super::{link, tls};

const USER_AGENT: &str = concat!("outpost/", env!("CARGO_PKG_VERSION"));

/// Connections to the Hub and what it takes to use them.
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    token: Option<HeaderValue>,
    options: HttpHubOptions,
    pub(super) locations: Locations,
}

/// A GET request.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub(super) url: Url,
    pub(super) target: Target<'a>,
    pub(super) hosts: Hosts,
    /// Value of `Range`.
    pub(super) range: Option<&'a str>,
    /// The most that will be read of the answer, for its time.
    pub(super) bytes_max: u64,
}

/// Where redirects may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hosts {
    /// To other paths of the Hub: renamed repositories.
    Hub,
    /// Anywhere, without the token: where files are stored.
    Any,
}

/// A successful answer, its body unread.
pub(super) struct Answer {
    pub(super) response: Response,
    /// Headers of the last answer that the Hub itself gave; those of a file store are not trusted.
    pub(super) hub_headers: HeaderMap,
    /// Whether the answer comes from another host.
    pub(super) is_elsewhere: bool,
}

/// A JSON answer and the address of the page after it.
pub(super) struct Page<T> {
    pub(super) value: T,
    pub(super) next: Option<Url>,
}

impl Client {
    pub(super) fn new(options: HttpHubOptions) -> Result<Self, InvalidOptions> {
        let endpoint = Endpoint::parse(&options.endpoint)?;
        let token = bearer(options.token.as_deref())?;
        if !options.auth_path.starts_with('/') || !options.auth_path.contains("%s") {
            return Err(InvalidOptions::AuthPath(options.auth_path));
        }
        let timeout = Duration::from_millis(options.timeout_ms);
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(endpoint.base())?)
            .redirect(redirect::Policy::none())
            .user_agent(USER_AGENT)
            .connect_timeout(timeout)
            .read_timeout(timeout);
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| InvalidOptions::Tls(chain(&error)))?;
        Ok(Self { http, endpoint, token, options, locations: Locations::default() })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    pub(super) fn options(&self) -> &HttpHubOptions {
        &self.options
    }

    /// The URL of an API path.
    pub(super) fn url(&self, path: &str) -> Result<Url, HubError> {
        self.endpoint.url(path).ok_or_else(|| HubError::Protocol(format!("'{path}' makes no URL")))
    }

    /// Gets and reads a JSON answer, with retries.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        target: Target<'_>,
    ) -> Result<Page<T>, HubError> {
        self.json_at(self.url(path)?, target).await
    }

    /// As [`Client::json`], at an address that the Hub gave.
    pub(super) async fn json_at<T: DeserializeOwned>(
        &self,
        url: Url,
        target: Target<'_>,
    ) -> Result<Page<T>, HubError> {
        let request = Request { url, target, hosts: Hosts::Hub, range: None, bytes_max: HUB_JSON_BYTES_MAX };
        self.retried(&request, |answer| self.read_json(answer)).await
    }

    async fn read_json<T: DeserializeOwned>(&self, answer: Answer) -> Result<Page<T>, Failed> {
        let url = answer.response.url().clone();
        let next = match link::next_page(answer.response.headers()) {
            Some(address) => Some(self.next_page(&url, address)?),
            None => None,
        };
        let body = read_body(answer.response, HUB_JSON_BYTES_MAX).await?;
        let protocol =
            |message: String| Failed::for_good(HubError::Protocol(format!("{}: {message}", shown(&url))));
        if !body.is_complete {
            return Err(protocol(format!("the answer has more than {HUB_JSON_BYTES_MAX} bytes")));
        }
        let value = serde_json::from_slice(&body.bytes).map_err(|error| protocol(error.to_string()))?;
        Ok(Page { value, next })
    }

    /// Pages are followed with the same headers, so only on the Hub.
    fn next_page(&self, url: &Url, address: &str) -> Result<Url, Failed> {
        let next = url.join(address).ok().filter(|next| self.endpoint.is_hub(next));
        next.ok_or_else(|| {
            Failed::for_good(HubError::Protocol(format!("{}: the next page is not on the Hub", shown(url))))
        })
    }

    /// Sends a request and reads its answer, as often as [`super::Backoff`] says.
    pub(super) async fn retried<T, F>(
        &self,
        request: &Request<'_>,
        read: impl Fn(Answer) -> F,
    ) -> Result<T, HubError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let once = || self.in_time(request, async { read(self.get(request).await?).await });
        self.options.backoff.run(once).await
    }

    /// Bounds a request and its body by the time that a slow but usable link takes.
    pub(super) async fn in_time<T>(
        &self,
        request: &Request<'_>,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let transfer_ms = request.bytes_max.saturating_mul(1_000) / HUB_TRANSFER_BYTES_PER_S_MIN;
        let total_ms = self.options.timeout_ms.saturating_add(transfer_ms);
        match tokio::time::timeout(Duration::from_millis(total_ms), work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(Failed::unreachable(format!("{} took longer than {total_ms} ms", shown(&request.url))))
            }
        }
    }

    /// Sends a request once and follows its redirects.
    pub(super) async fn get(&self, request: &Request<'_>) -> Result<Answer, Failed> {
        let mut url = request.url.clone();
        let mut is_hub = self.endpoint.is_hub(&url);
        let mut hub_headers = HeaderMap::new();
        for _ in 0..=HUB_REDIRECTS_MAX {
            let response = self.send(url.clone(), request.range, is_hub).await?;
            if is_hub {
                hub_headers = response.headers().clone();
            }
            let status = response.status();
            if status.is_success() {
                return Ok(Answer { response, hub_headers, is_elsewhere: !is_hub });
            }
            let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
            let Some(location) = location else {
                // A file store's status says nothing about the dataset.
                let target = if is_hub { request.target } else { Target::default() };
                return Err(failure(response, target).await);
            };
            let next = location.to_str().ok().and_then(|location| url.join(location).ok());
            let next = next.ok_or_else(|| refused(&url, "it redirects to no address"))?;
            is_hub = is_hub && self.endpoint.is_hub(&next);
            check_redirect(&url, &next, is_hub, request.hosts)?;
            url = next;
        }
        Err(refused(&request.url, "it redirects too often"))
    }

    async fn send(&self, url: Url, range: Option<&str>, with_token: bool) -> Result<Response, Failed> {
        let mut get = self.http.get(url).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            get = get.header(RANGE, range);
        }
        if let Some(token) = self.token.as_ref().filter(|_| with_token) {
            get = get.header(AUTHORIZATION, token.clone());
        }
        Ok(get.send().await?)
    }

    /// Asks about a caller's access, once (http-api.md section 3.2).
    pub(super) async fn auth_check(
        &self,
        dataset: &DatasetName,
        authorization: Option<&str>,
    ) -> Result<Access, HubError> {
        let url = self.url(&self.options.auth_path.replacen("%s", dataset.as_str(), 1))?;
        let mut get = self.http.get(url).timeout(Duration::from_millis(self.options.auth_timeout_ms));
        if let Some(authorization) = authorization {
            // What no header can hold are no credentials.
            let Ok(mut value) = HeaderValue::from_str(authorization) else {
                return Ok(Access::Unauthenticated);
            };
            value.set_sensitive(true);
            get = get.header(AUTHORIZATION, value);
        }
        let response = get.send().await.map_err(|error| Failed::from(error).error)?;
        match response.status().as_u16() {
            200 => Ok(Access::Granted),
            307 => Ok(Access::Renamed),
            401 => Ok(Access::Unauthenticated),
            403 | 404 => Ok(Access::Denied),
            // Without a target no status is read as one about the dataset.
            _ => Err(failure(response, Target::default()).await.error),
        }
    }
}

fn check_redirect(from: &Url, to: &Url, is_hub: bool, hosts: Hosts) -> Result<(), Failed> {
    if !matches!(to.scheme(), "http" | "https") || (from.scheme() == "https" && to.scheme() == "http") {
        return Err(refused(from, "it redirects to an address without TLS"));
    }
    if hosts == Hosts::Hub && !is_hub {
        return Err(refused(from, "it redirects away from the Hub"));
    }
    Ok(())
}

/// A redirect that is not followed.
fn refused(url: &Url, why: &str) -> Failed {
    Failed::for_good(HubError::Protocol(format!("{}: {why}", shown(url))))
}

/// What was read of a body.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Whether the body ended within the bound.
    pub(super) is_complete: bool,
}

/// Reads at most `bytes_max` bytes of a body.
pub(super) async fn read_body(mut response: Response, bytes_max: u64) -> Result<Body, Failed> {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > bytes_max - bytes.len() {
            bytes.extend_from_slice(&chunk[..bytes_max - bytes.len()]);
            return Ok(Body { bytes: bytes.freeze(), is_complete: false });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { bytes: bytes.freeze(), is_complete: true })
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        let url = error.url().map(shown).unwrap_or_default();
        Self::unreachable(format!("{url}: {}", chain(&error.without_url())))
    }
}

/// An error with its causes, which is where the reason is.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
