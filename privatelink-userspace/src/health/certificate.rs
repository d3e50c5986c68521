//! Which certificates of targets are taken, and what is wrong with the others.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Takes every certificate, as [AWS does][1]: "Network Load Balancers do not validate these certificates".
///
/// [1]: https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-target-groups.html
#[derive(Debug)]
pub(super) struct AnyCertificate(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate that should be `name`'s.
pub(super) fn complaint(error: &CertificateError, name: &ServerName<'_>) -> String {
    use CertificateError as E;
    let complaint = match error {
        E::UnknownIssuer | E::BadSignature => {
            "no root certificate of this host vouches for it".to_owned()
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            format!("it is not for {}", name.to_str())
        }
        E::Expired | E::ExpiredContext { .. } => "it has expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        E::Revoked => "it is revoked".to_owned(),
        other => other.to_string(),
    };
    format!("certificate: {complaint}")
}
