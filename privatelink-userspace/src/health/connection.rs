//! A TCP connection of our own, beside the kernel's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{self, Sleep};

use super::check::Via;
use super::failure::{Failure, InterfaceFailed};
use super::link::Link;
use super::wire::Ear;

/// Bytes that wait to be read, and to be sent: a TLS record at least.
const BUFFER: usize = 17 * 1024;
/// Time that the target gets to close its side, before a RST does it.
const LINGER: Duration = Duration::from_secs(1);
/// Shortest time for which the TCP is left alone.
const PAUSE: Duration = Duration::from_millis(1);

/// A connection to a target, or the attempt. It lives by being polled. Dropping it, unless both sides have
/// closed it, sends a RST, so the target keeps nothing of it.
pub(super) struct Connection {
    ear: Ear,
    link: Link,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    opened: time::Instant,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    /// Begins to connect from the ear's address and port.
    pub(super) fn open(ear: Ear, to: SocketAddr, via: Via) -> Result<Self, Failure> {
        let wire = ear.wire.clone();
        // What IP allows (RFC 791, section 3.2; RFC 8200, section 5).
        let least = if to.is_ipv4() { 68 } else { 1280 };
        let mtu = via.mtu.clamp(least, u32::from(u16::MAX)) as usize;
        let mut link = Link { wire, hop: via.next_hop, mtu, received: None, failed: None };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = rand::random();
        let mut interface = Interface::new(config, &mut link, Instant::ZERO);
        // Every address is on the link: the next hop is chosen already.
        let local = IpCidr::new(IpAddress::from(ear.local.ip()), 0);
        interface.update_ip_addrs(|addresses| addresses.extend([local]));

        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
            .connect(interface.context(), to, ear.local)
            .map_err(|error| Failure::internal(format!("cannot connect to {to}: {error}")))?;
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        let opened = time::Instant::now();
        let timer = Box::pin(time::sleep_until(opened));
        Ok(Self { ear, link, interface, sockets, handle, opened, timer })
    }

    /// Waits until the target has accepted.
    pub(super) async fn established(&mut self) -> Result<(), Failure> {
        std::future::poll_fn(|context| {
            self.drive(context).map_err(|failed| Failure::internal(failed.to_string()))?;
            match self.socket().state() {
                State::SynSent | State::SynReceived => Poll::Pending,
                State::Closed => Poll::Ready(Err(Failure::of_target("connection refused"))),
                _ => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    /// Closes it, and lets the target do the same.
    pub(super) async fn close(mut self) {
        self.socket().close();
        let both_closed = std::future::poll_fn(|context| {
            loop {
                if self.drive(context).is_err() || self.is_over() {
                    return Poll::Ready(());
                }
                // What nobody reads would keep the target from closing.
                let unread = self.socket().recv(|bytes| (bytes.len(), bytes.len()));
                if !unread.is_ok_and(|length| length > 0) {
                    return Poll::Pending;
                }
            }
        });
        let _ = time::timeout(LINGER, both_closed).await;
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Whether both sides have closed it.
    fn is_over(&mut self) -> bool {
        matches!(self.socket().state(), State::Closed | State::TimeWait)
    }

    fn poll_tcp(&mut self) {
        let now = Instant::from_micros(self.opened.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.link, &mut self.sockets);
    }

    /// Does all there is to do, and has the task woken when there is more.
    fn drive(&mut self, context: &mut Context<'_>) -> Result<(), InterfaceFailed> {
        loop {
            self.poll_tcp();
            if let Some(failed) = self.link.failed.take() {
                return Err(failed);
            }
            if let Poll::Ready(packet) = self.ear.poll_packet(context) {
                self.link.received = Some(packet?);
                continue;
            }
            let now = Instant::from_micros(self.opened.elapsed().as_micros() as i64);
            let Some(delay) = self.interface.poll_delay(now, &self.sockets) else { return Ok(()) };
            let delay = Duration::from(delay).max(PAUSE);
            self.timer.as_mut().reset(time::Instant::now() + delay);
            if self.timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_over() {
            self.socket().abort();
            self.poll_tcp();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.drive(context)?;
        match self.socket().recv_slice(buffer.initialize_unfilled()) {
            Ok(0) => Poll::Pending,
            Ok(length) => {
                buffer.advance(length);
                Poll::Ready(Ok(()))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(())),
            Err(RecvError::InvalidState) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.drive(context)?;
        match self.socket().send_slice(bytes) {
            Ok(0) => Poll::Pending,
            Ok(length) => {
                self.drive(context)?;
                Poll::Ready(Ok(length))
            }
            Err(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().close();
        Poll::Ready(self.drive(context).map_err(Into::into))
    }
}
