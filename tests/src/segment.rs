//! Single TCP segments that no connection of the sender's kernel stands behind.

use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, sendto, socket,
};

use crate::namespace::Namespace;

/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// The connection is over.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement field is valid.
pub const ACK: u8 = 0x10;

/// IPPROTO_TCP, and the length of a TCP header without options.
const TCP: u8 = 6;
const HEADER: usize = 20;
/// Five words of header, in the upper half of its byte.
const DATA_OFFSET: u8 = 5 << 4;

/// Sends one segment from inside a namespace; `from` is an address of the namespace, its port need not be anybody's.
///
/// # Errors
/// When the address is not the namespace's, or there is no route.
pub fn send_segment(
    namespace: &Namespace,
    from: SocketAddrV4,
    to: SocketAddrV4,
    flags: u8,
    payload: &[u8],
) -> Result<()> {
    let segment = segment(from, to, flags, payload);
    let send = || -> nix::Result<usize> {
        // A raw socket of this protocol: the kernel adds the IP header only.
        let raw = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            Some(SockProtocol::Tcp),
        )?;
        bind(raw.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(*from.ip(), 0)))?;
        let to = SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0));
        sendto(raw.as_raw_fd(), &segment, &to, MsgFlags::empty())
    };
    let sent = namespace.enter(send)?.with_context(|| format!("cannot send {from} -> {to}"))?;
    ensure!(sent == segment.len(), "only {sent} bytes of {from} -> {to} were sent");
    Ok(())
}

/// RFC 9293, section 3.1: sequence and acknowledgement number 1, a window of 64 KiB, the checksum over the pseudo-header.
pub(crate) fn segment(from: SocketAddrV4, to: SocketAddrV4, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(HEADER + payload.len());
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend(1_u32.to_be_bytes());
    segment.extend(1_u32.to_be_bytes());
    segment.extend([DATA_OFFSET, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);

    let mut covered = [from.ip().octets(), to.ip().octets()].concat();
    covered.extend([0, TCP]);
    covered.extend((segment.len() as u16).to_be_bytes());
    covered.extend(&segment);
    let words = covered.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let checksum = !(((folded >> 16) + folded) as u16);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_its_checksum() {
        let (from, to) = ("10.0.0.1:5".parse().unwrap(), "10.0.0.2:6".parse().unwrap());
        // Computed by hand: 0x0a00+1+0x0a00+2 (addresses) +6+20 (pseudo-header) +5+6 (ports) +1+1+0x5010+0xffff = 0x16439,
        // folded 0x643a, complement 0x9bc5.
        assert_eq!(segment(from, to, ACK, b"")[16..18], [0x9b, 0xc5]);
        assert_eq!(segment(from, to, PSH | ACK, b"odd").len(), HEADER + 3);
    }
}
