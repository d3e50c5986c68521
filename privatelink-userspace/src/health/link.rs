//! The wire as smoltcp sees it: a device that carries the packets of one check.

use std::sync::Arc;

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::failure::InterfaceFailed;
use super::wire::Wire;

/// The way to the next hop, and the packet that came last.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: Arc<Wire>,
    /// MAC address of the next hop.
    pub(super) hop: [u8; 6],
    /// Bytes of the largest IP packet.
    pub(super) mtu: usize,
    /// A packet to be read.
    pub(super) received: Option<Vec<u8>>,
    /// Why the last packet was not sent.
    pub(super) failed: Option<InterfaceFailed>,
}

impl Device for Link {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.received.take()?;
        Some((Received(packet), Sending(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // The far end of a veth leaves TCP's checksum unfinished, and the kernel's own TCP takes it so.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

/// A packet that has come.
#[derive(Debug)]
pub(super) struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Leave to send a packet.
#[derive(Debug)]
pub(super) struct Sending<'l>(&'l mut Link);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.failed = self.0.wire.send(&packet, self.0.hop).err();
        result
    }
}
