//! The HTTP client of the suites.
//!
//! Owns what `reqwest` needs before its first client can be built: a TLS provider, although nothing here speaks TLS.

use std::sync::OnceLock;
use std::time::Duration;

/// A client without redirects and proxies, one per process.
///
/// # Panics
/// When it cannot be built, which is the machine's fault.
#[must_use]
pub fn client() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let build = || {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client without TLS roots can be built")
    };
    CLIENT.get_or_init(build).clone()
}
