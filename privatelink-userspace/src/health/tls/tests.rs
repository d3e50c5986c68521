//! Certificates that are good or not, over a connection in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::duplex;
use tokio_rustls::TlsAcceptor;

use super::{Tls, provider};
use crate::model::TlsCheck;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 10));
const ADDRESS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10));

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate").into();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A server for this name or address, with a certificate that is valid in these years.
    fn server(&self, name: &str, (first, last): (i32, i32)) -> ServerConfig {
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.into()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a certificate with its key")
    }
}

/// What the handshake comes to, in words.
async fn handshake(
    tls: &Tls,
    check: &TlsCheck,
    address: IpAddr,
    server: ServerConfig,
) -> Result<(), String> {
    let (ours, theirs) = duplex(1 << 16);
    let accept = TlsAcceptor::from(Arc::new(server)).accept(theirs);
    let (result, _) = tokio::join!(tls.connect(ours, check, address), accept);
    result.map(drop).map_err(|failure| failure.words)
}

#[tokio::test]
async fn certificates_and_what_is_said_of_them() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let mut roots = RootCertStore::empty();
    roots.add(ours.root.clone()).expect("a root certificate");
    let tls = Tls::trusting(roots);
    let years = (2000, 2999);
    for (who, certificate, asked, words) in [
        (&ours, ("web.example.com", years), Some("web.example.com"), ""),
        (&ours, ("10.0.1.10", years), None, ""),
        (
            &ours,
            ("web.example.com", years),
            Some("other.example.com"),
            "certificate: it is not for other.example.com",
        ),
        (&ours, ("web.example.com", years), None, "certificate: it is not for 10.0.1.10"),
        (
            &ours,
            ("web.example.com", (2000, 2020)),
            Some("web.example.com"),
            "certificate: it has expired",
        ),
        (
            &ours,
            ("web.example.com", (2900, 2999)),
            Some("web.example.com"),
            "certificate: it is not valid yet",
        ),
        (
            &strangers,
            ("web.example.com", years),
            Some("web.example.com"),
            "certificate: no root certificate of this host vouches for it",
        ),
    ] {
        let server_name = asked.map(|name| DnsName::try_from(name).expect("a name"));
        let server = || who.server(certificate.0, certificate.1);
        let check = TlsCheck { server_name, verify_certificate: true };
        let expected = if words.is_empty() { Ok(()) } else { Err(words.to_owned()) };
        assert_eq!(
            handshake(&tls, &check, ADDRESS, server()).await,
            expected,
            "{certificate:?} {asked:?}"
        );
        let unverified = TlsCheck { verify_certificate: false, ..check };
        assert_eq!(
            handshake(&tls, &unverified, ADDRESS, server()).await,
            Ok(()),
            "{certificate:?} {asked:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_for_an_ipv6_address() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone()).expect("a root certificate");
    let tls = Tls::trusting(roots);
    let check = TlsCheck { server_name: None, verify_certificate: true };
    for (name, expected) in [
        ("2001:db8::10", Ok(())),
        ("2001:db8::11", Err("certificate: it is not for 2001:db8::10".to_owned())),
    ] {
        let server = authority.server(name, (2000, 2999));
        assert_eq!(handshake(&tls, &check, ADDRESS6, server).await, expected, "{name}");
    }
}
