//! Captures: what the watched program tells of packets, as pcapng or as lines of JSON.

mod filter;
mod headers;
mod names;
mod pcapng;
mod session;
mod trace;
mod watching;

pub use pcapng::{Blocks, Statistics};
pub use session::{Capture, Captures};

use crate::api::CaptureSummary;
use privatelink_common::capture::Captured;

use names::Names;

/// A packet that was told.
struct Packet<'p> {
    captured: Captured,
    /// Nanoseconds since 1970.
    time: u64,
    before: &'p [u8],
    after: &'p [u8],
}

/// Which form a capture's answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A pcapng file.
    Pcapng,
    /// A line of JSON each.
    Lines,
}

/// Writes packets in a form.
trait Writer: Send + Sync {
    /// Begins.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// Writes a packet.
    fn packet(&mut self, names: &mut Names, packet: &Packet<'_>, out: &mut Vec<u8>);
    /// Writes how it stands, by interface.
    fn summary(
        &mut self,
        names: &mut Names,
        by_interface: &[(u32, CaptureSummary)],
        time: u64,
        out: &mut Vec<u8>,
    );
}

impl Form {
    fn writer(self) -> Box<dyn Writer> {
        match self {
            Self::Pcapng => Box::new(pcapng::Pcapng::default()),
            Self::Lines => Box::new(trace::Lines),
        }
    }
}
