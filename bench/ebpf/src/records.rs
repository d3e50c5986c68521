//! What the benchmark and its programs tell each other, included by both.

/// The addresses of a TCP segment, network order; also the key of the NAT compared with.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    /// Source address.
    pub(crate) source: u32,
    /// Destination address.
    pub(crate) destination: u32,
    /// Source port.
    pub(crate) source_port: u16,
    /// Destination port.
    pub(crate) destination_port: u16,
    /// As a key: where a NAT keeps protocol and network.
    pub(crate) padding: u32,
}

/// Where the programs that make frames stand, and what they make.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drive {
    /// Packets that came back rewritten: see [`TTL`].
    pub(crate) forwarded: u64,
    /// Index of the next tuple.
    pub(crate) position: u32,
    /// How many tuples there are.
    pub(crate) count: u32,
    /// Which program of `PROGRAMS` gets the frame.
    pub(crate) program: u32,
    /// TCP flags to set.
    pub(crate) flags: u32,
    /// Ethernet addresses to write: destination, source.
    pub(crate) macs: [u16; 6],
    /// What the frames are: [`TCP`] or another.
    pub(crate) form: u32,
}

/// TCP segments over IPv4: [`Drive::form`].
pub(crate) const TCP: u32 = 0;
/// UDP datagrams over IPv4.
pub(crate) const UDP: u32 = 1;
/// TCP segments over IPv6, whose addresses end as the IPv4 ones of a tuple are.
pub(crate) const TCP_OVER_IPV6: u32 = 2;
/// The first 16 bits of those addresses; between them and the last 32 there are zeros.
pub(crate) const IPV6_NETWORK: u16 = 0xfd00;

/// What the NAT compared with knows of one direction of a flow.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// Source address to write, network order.
    pub(crate) source: u32,
    /// Destination address to write, network order.
    pub(crate) destination: u32,
    /// Source port to write, network order.
    pub(crate) source_port: u16,
    /// Destination port to write, network order.
    pub(crate) destination_port: u16,
    /// Change of the IPv4 header checksum, the TTL's included.
    pub(crate) ip_delta: u16,
    /// Change of the TCP checksum.
    pub(crate) tcp_delta: u16,
    /// Ethernet addresses to write: destination, source.
    pub(crate) macs: [u16; 6],
    /// Packets.
    pub(crate) packets: u32,
    /// Bytes.
    pub(crate) bytes: u32,
    /// Jiffies at the last packet.
    pub(crate) last_seen: u32,
}

/// The time to live of every frame made here; a program that forwards it leaves one less.
pub(crate) const TTL: u8 = 64;

/// Slot of `DEVICES` by which the generator sends.
pub(crate) const GENERATOR: u32 = 0;
/// Slot of `DEVICES` by which the bare redirect and the NAT compared with send.
pub(crate) const ONWARD: u32 = 1;

const _: () = assert!(size_of::<Tuple>() == 16 && size_of::<Drive>() == 40);
const _: () = assert!(size_of::<Rewrite>() == 40);
