//! UDP from and to the inside of namespaces: clients, and servers that note who asked.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, SockaddrStorage, recvfrom, setsockopt, shutdown, sockopt};

use crate::families::Family;
use crate::namespace::Namespace;

/// How long an answer may take: far longer than any should, so that a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the payload of any datagram.
const LARGEST: usize = 1 << 16;
/// What may wait for its reader. Linux counts several times what a datagram in fragments holds, and by default keeps one only.
const WAITING: usize = 8 << 20;

/// A client's socket inside a namespace, at any IPv4 address and port there.
///
/// # Errors
/// When there can be none.
pub fn udp_socket(namespace: &Namespace) -> Result<UdpSocket> {
    udp_socket_of(namespace, Family::Four)
}

/// A client's socket inside a namespace, at any address of this family and any port there.
///
/// # Errors
/// When there can be none.
pub fn udp_socket_of(namespace: &Namespace, family: Family) -> Result<UdpSocket> {
    let any = match family {
        Family::Four => (Ipv4Addr::UNSPECIFIED, 0).into(),
        Family::Six => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = namespace.enter(|| UdpSocket::bind(any))??;
    setsockopt(&socket, sockopt::RcvBufForce, &WAITING)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A UDP server on a thread; dropping it ends it.
#[derive(Debug)]
pub struct UdpServer {
    socket: Arc<UdpSocket>,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    serving: Option<JoinHandle<()>>,
}

impl UdpServer {
    /// Takes datagrams inside a namespace and sends back what `answer` makes of each, if anything.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<Self> {
        let bound = namespace.enter(|| UdpSocket::bind(address))?;
        let socket = Arc::new(bound.with_context(|| format!("cannot listen at {address}"))?);
        setsockopt(&*socket, sockopt::RcvBufForce, &WAITING)?;
        let peers: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let (own, seen) = (Arc::clone(&socket), Arc::clone(&peers));
        let serving = thread::spawn(move || {
            // An answer that does not arrive is the test's business.
            let _ = serve(&own, &seen, answer);
        });
        Ok(Self { socket, peers, serving: Some(serving) })
    }

    /// A server that sends back what it gets.
    ///
    /// # Errors
    /// As [`UdpServer::start`].
    pub fn echo(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        Self::start(namespace, address, |datagram| Some(datagram.to_vec()))
    }

    /// Who has sent a datagram, in this order.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves until the socket is shut down, when Linux tells of no sender.
fn serve(
    socket: &UdpSocket,
    peers: &Mutex<Vec<SocketAddr>>,
    mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut datagram = vec![0; LARGEST];
    loop {
        let (length, Some(peer)) = recvfrom(socket.as_raw_fd(), &mut datagram)? else {
            return Ok(());
        };
        let peer = address(&peer);
        peers.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
        if let Some(answer) = answer(&datagram[..length]) {
            socket.send_to(&answer, peer)?;
        }
    }
}

/// The address of a peer, which has one of either family.
fn address(peer: &SockaddrStorage) -> SocketAddr {
    let four = peer.as_sockaddr_in().map(|four| SocketAddrV4::from(*four).into());
    let six = peer.as_sockaddr_in6().map(|six| SocketAddrV6::from(*six).into());
    four.or(six).expect("no peer of this socket has another family")
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        // Says that it is not connected, and wakes the thread all the same.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}
