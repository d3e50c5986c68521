//! QUIC, which finds the size of its datagrams and marks them by itself, from each family to each. Needs root.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use sha2::{Digest, Sha256};

use privatelink_tests::{DualStack, Flow, MIXES, Namespace};

/// Bytes of a stream, each way.
const BYTES: usize = 16 << 20;
/// Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the target's certificate says.
const NAME: &str = "target.test";

/// Both sides' settings: the client trusts the target's own certificate.
fn configurations() -> (ClientConfig, ServerConfig) {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certificate = own.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let server = ServerConfig::with_single_cert(vec![certificate], key.into()).unwrap();
    (ClientConfig::with_root_certificates(Arc::new(roots)).unwrap(), server)
}

/// An end of QUIC with its socket inside a namespace; a server with a configuration.
fn end(namespace: &Namespace, address: SocketAddr, server: Option<ServerConfig>) -> Endpoint {
    let socket = namespace.enter(|| std::net::UdpSocket::bind(address)).unwrap().unwrap();
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime)).unwrap()
}

fn payload() -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    bytes.fill_with(rand::random);
    bytes
}

/// Takes a stream to its end, and sends as much with its own digest before it and that of what it got after it.
async fn serve(target: Endpoint) {
    let connection = target.accept().await.unwrap().await.unwrap();
    let (mut send, mut receive) = connection.accept_bi().await.unwrap();
    let (got, given) = (receive.read_to_end(BYTES).await.unwrap(), payload());
    for part in [&Sha256::digest(&given)[..], &given, &Sha256::digest(&got)] {
        send.write_all(part).await.unwrap();
    }
    send.finish().unwrap();
    connection.closed().await;
}

async fn transfer(client: Endpoint, to: SocketAddr) {
    let connection = client.connect(to, NAME).unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let given = payload();
    send.write_all(&given).await.unwrap();
    send.finish().unwrap();
    let answer = receive.read_to_end(32 + BYTES + 32).await.unwrap();
    let (announced, rest) = answer.split_at(32);
    let (got, taken) = rest.split_at(BYTES);
    assert_eq!(announced, &Sha256::digest(got)[..], "what the client got");
    assert_eq!(taken, &Sha256::digest(&given)[..], "what the target got");
    connection.close(0_u32.into(), b"done");
    client.wait_idle().await;
}

#[test]
fn a_stream_each_way_from_each_family_to_each() {
    let site = DualStack::new(&[]).unwrap();
    for (client, target) in MIXES {
        let (client_side, server_side) = configurations();
        // One for each: it closes its sockets when it goes.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = end(site.provider(), target.target(), Some(server_side));
            let mut from = end(site.consumer(), SocketAddr::new(client.client(), 0), None);
            from.set_default_client_config(client_side);
            let serving = tokio::spawn(serve(server));
            let transfer = transfer(from, client.endpoint(target));
            tokio::time::timeout(PATIENCE, transfer).await.unwrap();
            tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
        });
    }
    let flows: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&["--protocol", "udp"]).unwrap();
    for (client, target) in MIXES {
        let of = |flow: &&Flow<SocketAddr>| flow.endpoint_address == client.endpoint(target);
        let found: Vec<_> = flows.iter().filter(of).collect();
        let [flow] = &found[..] else { panic!("{client:?} to {target:?}: {flows:?}") };
        assert_eq!((flow.client.ip(), flow.nat.ip()), (client.client(), target.balancer()));
        assert_eq!(flow.target, target.target());
        assert!(flow.bytes_to_target.min(flow.bytes_to_client) > BYTES as u64, "{flow:?}");
    }
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
}
