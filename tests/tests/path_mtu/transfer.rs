//! A transfer each way whose bytes are compared by their digests.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use privatelink_tests::{Namespace, connect};
use sha2::{Digest, Sha256};

/// So many random bytes.
fn payload(bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    payload.fill_with(rand::random);
    payload
}

/// Takes so many bytes and answers with their digest, then sends as many and their digest, and waits for the client to close.
pub(crate) fn serve(mut stream: TcpStream, bytes: usize) -> io::Result<()> {
    let mut taken = Vec::new();
    (&mut stream).take(bytes as u64).read_to_end(&mut taken)?;
    stream.write_all(&Sha256::digest(&taken))?;
    let given = payload(bytes);
    stream.write_all(&given)?;
    stream.write_all(&Sha256::digest(&given))?;
    stream.read(&mut [0]).map(drop)
}

/// Sends and fetches so many bytes.
pub(crate) fn both_ways(client: &Namespace, endpoint: SocketAddr, bytes: usize) {
    let stream = exchanged(client, endpoint, bytes);
    stream.shutdown(Shutdown::Both).unwrap();
}

/// The same, but leaves the connection open.
pub(crate) fn exchanged(client: &Namespace, endpoint: SocketAddr, bytes: usize) -> TcpStream {
    let mut stream = connect(client, None, endpoint).unwrap();
    let sent = payload(bytes);
    stream.write_all(&sent).unwrap();
    let mut digest = [0; 32];
    stream.read_exact(&mut digest).unwrap();
    assert_eq!(digest, Sha256::digest(&sent).as_slice(), "what the target got");
    let mut got = vec![0; bytes];
    stream.read_exact(&mut got).unwrap();
    stream.read_exact(&mut digest).unwrap();
    assert_eq!(digest, Sha256::digest(&got).as_slice(), "what the client got");
    stream
}
