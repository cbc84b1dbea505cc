//! TLS towards the Hub: rustls with ring and the system's CA certificates.
//!
//! Owns an explicit configuration, so that nothing depends on a process-wide default provider. Where the system has
//! no CA certificates, a plain `http` Hub still works and every `https` address fails its certificate check.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use url::Url;

use super::options::InvalidOptions;

pub(super) fn config(endpoint: &Url) -> Result<ClientConfig, InvalidOptions> {
    let failed = |error: rustls::Error| InvalidOptions::Tls(error.to_string());
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)
    };
    match builder()?.with_platform_verifier() {
        Ok(builder) => Ok(builder.with_no_client_auth()),
        Err(error) if endpoint.scheme() == "https" => Err(failed(error)),
        Err(_) => Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()),
    }
}
