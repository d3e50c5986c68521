//! A packet socket: IP packets of one interface, past the kernel's own IP.
#![expect(unsafe_code, reason = "tokio must be told that a descriptor stays open")]

use std::io;

use nix::libc;
use privatelink_common::lease::{FIRST_CHECK_PORT, FIRST_PORT};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::packet_address::packet_address;

/// Hears the segments that came to the interface's own MAC address for a port of health checks, and sends
/// packets to any MAC address. Link headers are the kernel's business.
#[derive(Debug)]
pub(super) struct PacketSocket {
    socket: AsyncFd<Socket>,
    ifindex: i32,
    ether_type: u16,
}

impl PacketSocket {
    /// Opens one on an interface for one version of IP, by its EtherType (host order). Needs CAP_NET_RAW, and a
    /// running tokio runtime.
    pub(super) fn open(ifindex: u32, ether_type: u16) -> io::Result<Self> {
        let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
        // Without a protocol it hears nothing, so nothing comes before the filter.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
        socket.attach_filter(&FILTER)?;
        socket.bind(&packet_address(ifindex, ether_type, None))?;
        // SAFETY: a `Socket` owns its descriptor, which stays the same and open until it is dropped.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, ifindex, ether_type })
    }

    /// Waits for a packet and writes it to the start of `buffer`; its length.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let receive = |mut socket: &Socket| io::Read::read(&mut socket, buffer);
        self.socket.async_io(Interest::READABLE, receive).await
    }

    /// Sends a packet to a MAC address. One for which there is no room is lost, as on the wire.
    pub(super) fn send(&self, packet: &[u8], to: [u8; 6]) -> io::Result<()> {
        let to = packet_address(self.ifindex, self.ether_type, Some(to));
        match self.socket.get_ref().send_to(packet, &to) {
            Err(error) if is_full(&error) => Ok(()),
            sent => sent.map(drop),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Length of an IPv6 header, bytes.
const IPV6_HEADER: u32 = 40;

/// Lets through: TCP, no fragment, to this host's MAC address and a port of health checks. It begins at the IP
/// header; the protocol that the socket is bound to says that there is one. In IPv6, TCP must follow that header at once.
const FILTER: [SockFilter; 18] = [
    load(libc::BPF_B | libc::BPF_ABS, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32),
    jump(libc::BPF_JEQ, libc::PACKET_HOST as u32, Jump { then: 0, otherwise: 14 }),
    // The version: 4, or 6, which alone has this bit.
    load(libc::BPF_B | libc::BPF_ABS, 0),
    jump(libc::BPF_JSET, 0x20, Jump { then: 6, otherwise: 0 }),
    load(libc::BPF_B | libc::BPF_ABS, 9),
    jump(libc::BPF_JEQ, libc::IPPROTO_TCP as u32, Jump { then: 0, otherwise: 10 }),
    load(libc::BPF_H | libc::BPF_ABS, 6),
    jump(libc::BPF_JSET, 0x3fff, Jump { then: 8, otherwise: 0 }),
    SockFilter::new((libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16, 0, 0, 0),
    SockFilter::new((libc::BPF_JMP | libc::BPF_JA) as u16, 0, 0, 3),
    load(libc::BPF_B | libc::BPF_ABS, 6),
    jump(libc::BPF_JEQ, libc::IPPROTO_TCP as u32, Jump { then: 0, otherwise: 4 }),
    SockFilter::new((libc::BPF_LDX | libc::BPF_IMM) as u16, 0, 0, IPV6_HEADER),
    load(libc::BPF_H | libc::BPF_IND, 2),
    jump(libc::BPF_JGE, FIRST_CHECK_PORT as u32, Jump { then: 0, otherwise: 1 }),
    jump(libc::BPF_JGE, FIRST_PORT as u32, Jump { then: 0, otherwise: 1 }),
    give(0),
    give(u16::MAX as u32),
];

/// Instructions to skip.
struct Jump {
    then: u8,
    otherwise: u8,
}

const fn load(how: u32, at: u32) -> SockFilter {
    SockFilter::new((libc::BPF_LD | how) as u16, 0, 0, at)
}

const fn jump(test: u32, with: u32, Jump { then, otherwise }: Jump) -> SockFilter {
    SockFilter::new((libc::BPF_JMP | test | libc::BPF_K) as u16, then, otherwise, with)
}

/// Ends with this many bytes of the packet; 0 drops it.
const fn give(bytes: u32) -> SockFilter {
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes)
}
