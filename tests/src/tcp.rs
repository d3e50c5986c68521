//! TCP from and to the inside of namespaces: clients with a chosen source, servers that note who came, probes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind,
    connect as connect_socket, setsockopt, shutdown, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::lab::Lab;
use crate::namespace::Namespace;

/// How long a connection may take, and how long each later read or write: far longer than any should, so that a test
/// fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a probe waits for an answer: the first SYN, none of its repetitions.
const PROBE: Duration = Duration::from_millis(700);

/// The endpoint of `examples/overlap.toml`, the same address in both consumers' networks.
pub const ENDPOINT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 10), 80);
/// The load balancer address of `examples/overlap.toml`.
pub const LOAD_BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

/// Opens a connection from inside a namespace, from the address and port `from` if given (port 0: any).
///
/// # Errors
/// As the system call connect; `WouldBlock` when nobody answers within 20 seconds.
pub fn connect(
    namespace: &Namespace,
    from: Option<SocketAddrV4>,
    to: impl Into<SocketAddr>,
) -> io::Result<TcpStream> {
    connect_within(namespace, from, to.into(), PATIENCE)
}

fn connect_within(
    namespace: &Namespace,
    from: Option<SocketAddrV4>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let stream = namespace.enter(|| open(from, to, patience)).map_err(io::Error::other)??;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn open(from: Option<SocketAddrV4>, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let new: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // connect(2) obeys SO_SNDTIMEO, by EINPROGRESS.
    let patience = TimeVal::new(patience.as_secs().cast_signed(), patience.subsec_micros().into());
    setsockopt(&new, sockopt::SendTimeout, &patience)?;
    if let Some(from) = from {
        setsockopt(&new, sockopt::ReuseAddr, &true)?;
        bind(new.as_raw_fd(), &SockaddrIn::from(from))?;
    }
    let mut connected = Err(Errno::EINTR);
    while connected == Err(Errno::EINTR) {
        connected = connect_socket(new.as_raw_fd(), &SockaddrStorage::from(to));
    }
    match connected {
        Err(Errno::EINPROGRESS | Errno::EAGAIN) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(new.into()),
    }
}

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A connection.
    Accepted,
    /// An error came back: a RST, or an ICMP message.
    Error(ErrorKind),
    /// Nothing came back in the time in which a neighbour's answer would.
    Silence,
}

/// Sends one SYN to each of these at the same time, and tells what became of it.
///
/// # Panics
/// When `from` cannot be bound in the namespace.
pub fn probe(namespace: &Namespace, from: SocketAddrV4, to: &[SocketAddrV4]) -> Vec<Answer> {
    let one = |to| match connect_within(namespace, Some(from), SocketAddrV4::into(to), PROBE) {
        Ok(_) => Answer::Accepted,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Answer::Silence,
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => panic!("{from}: {error}"),
        Err(error) => Answer::Error(error.kind()),
    };
    thread::scope(|scope| {
        let probes: Vec<_> = to.iter().map(|to| scope.spawn(move || one(*to))).collect();
        probes.into_iter().map(|probe| probe.join().expect("a probe does not panic")).collect()
    })
}

/// A TCP server on a thread for each connection; dropping it closes its door.
#[derive(Debug)]
pub struct Server {
    listener: Arc<TcpListener>,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens inside a namespace and gives every connection to `serve`; an error of its ends that connection only.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        serve: impl Fn(TcpStream, SocketAddr) -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let bound = namespace.enter(|| TcpListener::bind(address))?;
        let listener = Arc::new(bound.with_context(|| format!("cannot listen at {address}"))?);
        let peers: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let (door, seen, serve) = (Arc::clone(&listener), Arc::clone(&peers), Arc::new(serve));
        let accepting = thread::spawn(move || {
            while let Ok((stream, peer)) = door.accept() {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    // The client sees a connection that ends early; that is its test's business.
                    let _ = patient(&stream).and_then(|()| serve(stream, peer));
                });
            }
        });
        Ok(Self { listener, peers, accepting: Some(accepting) })
    }

    /// A server that says `<name> <peer's address and port>` on a line, and then sends back what it gets until the
    /// client closes.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn echo(namespace: &Namespace, address: SocketAddr, name: &str) -> Result<Self> {
        let name = name.to_owned();
        Self::start(namespace, address, move |mut stream, peer| {
            stream.write_all(format!("{name} {peer}\n").as_bytes())?;
            io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
        })
    }

    /// Who has connected, in this order, health checks included.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who has connected over a NAT lease, in this order.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.peers().into_iter().filter(is_leased).collect()
    }
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Whether this is a NAT lease; health checks come from lower ports.
#[must_use]
pub fn is_leased(peer: &SocketAddr) -> bool {
    peer.port() >= 10_240
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the accepting thread: Linux lets accept fail on a listener that is shut down.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Echo servers in place of the HTTP targets of `examples/overlap.toml`, named by their addresses.
///
/// # Errors
/// When the lab has no network "provider", or its HTTP targets run.
pub fn echo_targets(lab: &Lab) -> Result<[Server; 2]> {
    let target = |address: &str| -> Result<Server> {
        Server::echo(lab.network("provider")?, address.parse()?, address)
    };
    Ok([target("10.0.1.10:8080")?, target("10.0.1.11:8081")?])
}

/// What an echo server says first: its name, and whom it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The server's name.
    pub name: String,
    /// The client's address and port as the server sees them.
    pub peer: SocketAddrV4,
}

/// Reads an echo server's greeting.
///
/// # Errors
/// When the connection ends or fails before, or something else arrives.
pub fn greeting(stream: &mut TcpStream) -> Result<Greeting> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).context("no greeting arrives")?;
        line.extend(byte);
    }
    let line = String::from_utf8(line).context("the greeting is not text")?;
    let (name, peer) = line.trim().split_once(' ').with_context(|| format!("greeted {line:?}"))?;
    Ok(Greeting { name: name.to_owned(), peer: peer.parse()? })
}

/// Sends `message` to an echo server and takes as many bytes back.
///
/// # Errors
/// When the connection ends or fails.
pub fn exchange(stream: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(message)?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Opens a connection to an echo server, has a word echoed and closes it again. Returns the greeting.
///
/// # Errors
/// When any of that fails.
pub fn round_trip(namespace: &Namespace, to: SocketAddrV4) -> Result<Greeting> {
    let mut stream =
        connect(namespace, None, to).with_context(|| format!("no connection to {to}"))?;
    let greeting = greeting(&mut stream)?;
    let answer = exchange(&mut stream, b"hello").context("no echo")?;
    ensure!(answer == b"hello", "the echo is {answer:?}");
    Ok(greeting)
}
