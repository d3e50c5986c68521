//! TLS 1.2 and 1.3 towards a target.

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_native_certs::load_native_certs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{AnyCertificate, complaint};
use super::failure::Failure;
use crate::model::TlsCheck;

/// How to speak TLS, by whether the certificate must be valid.
#[derive(Debug, Default)]
pub(super) struct Tls {
    any: OnceLock<Arc<ClientConfig>>,
    valid: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Trusts these roots instead of the host's.
    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        Self { any: OnceLock::new(), valid: Arc::new(trusting(roots)).into() }
    }

    /// Shakes hands over a connection.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        check: &TlsCheck,
        address: IpAddr,
    ) -> Result<TlsStream<S>, Failure> {
        let config = if check.verify_certificate {
            self.valid.get_or_init(|| Arc::new(trusting(roots_of_host())))
        } else {
            self.any.get_or_init(|| Arc::new(trusting_all()))
        };
        // An address is never sent as SNI (RFC 6066, section 3).
        let name = match &check.server_name {
            Some(name) => ServerName::from(name.clone()),
            None => ServerName::from(address),
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let connected = connector.connect(name.clone(), stream).await;
        connected.map_err(|error| failure(&error, &name))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A client that trusts these roots.
pub(crate) fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for all versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn trusting_all() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for all versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth()
}

/// The host's root certificates.
pub(crate) fn roots_of_host() -> RootCertStore {
    let found = load_native_certs();
    for error in &found.errors {
        log::warn!("root certificates of this host: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        log::warn!("this host has no root certificates: install ca-certificates");
    }
    roots
}

fn failure(error: &io::Error, name: &ServerName<'_>) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => Failure::of_target(complaint(error, name)),
        Some(error) => Failure::of_target(format!("TLS: {error}")),
        None => Failure::lost(error),
    }
}
