//! What an HTTP Hub client needs to know, checked.
//!
//! Owns the endpoint's rules and which hosts are the Hub. Refuses unusable values with a sentence for the operator.

use std::fmt;

use outpost_model::limits;
use reqwest::header::HeaderValue;
use url::Url;

use super::retry::Backoff;

/// Settings of an [`super::HttpHub`].
#[derive(Clone)]
pub struct HttpHubOptions {
    /// Base URL, such as `https://huggingface.co`; may have a path prefix.
    pub endpoint: String,
    /// The node's own token, sent as `Authorization: Bearer` to the Hub only.
    pub token: Option<String>,
    /// Longest silence of the Hub within one request, and the time for one without a body worth mentioning.
    pub timeout_ms: u64,
    /// Time for an access check.
    pub auth_timeout_ms: u64,
    /// Path of the access check; `%s` stands for the dataset (`API_HF_AUTH_PATH`).
    pub auth_path: String,
    /// When and how often failed requests are repeated.
    pub backoff: Backoff,
    /// Entries followed in one listing.
    pub tree_entries_max: usize,
}

impl HttpHubOptions {
    /// The defaults of [`limits`] for an endpoint.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            token: None,
            timeout_ms: limits::HUB_TIMEOUT_MS,
            auth_timeout_ms: limits::HUB_AUTH_TIMEOUT_MS,
            auth_path: "/api/datasets/%s/auth-check".to_owned(),
            backoff: Backoff::default(),
            tree_entries_max: limits::HUB_TREE_ENTRIES_MAX,
        }
    }
}

/// Settings that no client can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// The endpoint is not the base URL of a Hub.
    #[error(
        "'{0}' is not a Hub endpoint: give an http:// or https:// URL without credentials, query and fragment"
    )]
    Endpoint(String),
    /// The token has characters that no HTTP header can hold.
    #[error("the Hub token has characters that no HTTP header can hold: copy it again, without line breaks")]
    Token,
    /// The access check's path cannot name a dataset.
    #[error("the Hub's access check path '{0}' needs to start with '/' and to hold '%s' for the dataset")]
    AuthPath(String),
    /// TLS cannot be set up.
    #[error("TLS for the Hub could not be set up: {0} (are the system's CA certificates installed?)")]
    Tls(String),
}

/// The base URL of the Hub.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    base: Url,
    /// The base as text without a trailing `/`.
    text: String,
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidOptions> {
        let invalid = || InvalidOptions::Endpoint(without_credentials(text));
        let base = Url::parse(text).map_err(|_| invalid())?;
        let is_usable = matches!(base.scheme(), "http" | "https")
            && base.host_str().is_some()
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !is_usable {
            return Err(invalid());
        }
        let text = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, text })
    }

    /// The URL of a path of the API, which starts with `/` and is percent-encoded.
    pub(super) fn url(&self, path: &str) -> Option<Url> {
        Url::parse(&format!("{}{path}", self.text)).ok()
    }

    /// Whether `url` is on the Hub itself, so that the token may go there: the same origin, or the same host after
    /// an upgrade from `http` to `https`.
    pub(super) fn is_hub(&self, url: &Url) -> bool {
        let is_upgrade = self.base.scheme() == "http"
            && url.scheme() == "https"
            && self.base.port().is_none()
            && url.port().is_none()
            && self.base.host_str() == url.host_str();
        is_upgrade || self.base.origin() == url.origin()
    }

    /// Whether the Hub is on this machine, where no proxy applies.
    pub(super) fn is_loopback(&self) -> bool {
        match self.base.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn without_credentials(text: &str) -> String {
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://…@{rest}"),
        None => text.to_owned(),
    }
}

/// `Authorization: Bearer` of the node's token, hidden from debug output.
pub(super) fn bearer(token: Option<&str>) -> Result<Option<HeaderValue>, InvalidOptions> {
    let Some(token) = token.map(str::trim).filter(|token| !token.is_empty()) else { return Ok(None) };
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| InvalidOptions::Token)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_plain_base_url() {
        let endpoint = Endpoint::parse("https://hub.example/prefix/").unwrap();
        assert_eq!(endpoint.to_string(), "https://hub.example/prefix");
        assert_eq!(endpoint.url("/api/x").unwrap().as_str(), "https://hub.example/prefix/api/x");
        for bad in ["", "hub.example", "ftp://hub.example", "https://hub.example/?a=b", "file:///tmp"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        let error = Endpoint::parse("https://me:secret@hub.example").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn only_the_same_origin_or_its_https_form_is_the_hub() {
        let plain = Endpoint::parse("http://hub.example").unwrap();
        let is_hub = |endpoint: &Endpoint, url: &str| endpoint.is_hub(&Url::parse(url).unwrap());
        assert!(is_hub(&plain, "http://hub.example/x"));
        assert!(is_hub(&plain, "https://hub.example/x"));
        for other in
            ["http://hub.example:81/x", "https://cdn.hub.example/", "https://hub.example.evil/", "http://x/"]
        {
            assert!(!is_hub(&plain, other), "{other}");
        }
        let safe = Endpoint::parse("https://hub.example").unwrap();
        assert!(!is_hub(&safe, "http://hub.example/x"));
    }

    #[test]
    fn a_blank_token_is_none_and_a_broken_one_is_refused() {
        assert_eq!(bearer(Some(" ")), Ok(None));
        assert_eq!(bearer(Some("a\nb")), Err(InvalidOptions::Token));
        let value = bearer(Some("hf_x\n")).unwrap().unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer hf_x");
        assert!(!format!("{value:?}").contains("hf_x"));
    }
}
