//! What may happen to a gateway.

use crate::world::Port;

/// A sequence number, beside the one that would be right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Right,
    Beside(u32),
    Random(u32),
}

impl Number {
    pub(super) const fn beside(self, right: u32) -> u32 {
        match self {
            Self::Right => right,
            Self::Beside(by) => right.wrapping_add(by),
            Self::Random(number) => number,
        }
    }
}

/// What a segment says, whoever sends it, or a datagram, as far as that can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying {
    pub(super) flags: u8,
    pub(super) sequence: Number,
    pub(super) acknowledgement: Number,
    pub(super) payload: usize,
    pub(super) options: usize,
    pub(super) tags: usize,
    pub(super) ttl: u8,
    pub(super) dont_fragment: bool,
    /// Whether a datagram has a checksum.
    pub(super) summed: bool,
    /// The seed of some damage.
    pub(super) damage: Option<u64>,
}

/// A client of A's or B's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(super) port: Port,
    pub(super) host: usize,
    pub(super) six: bool,
    pub(super) protocol: u8,
    /// Which of a few source ports.
    pub(super) number: u16,
}

/// What is wrong about what an ICMP error quotes, or about its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrong {
    Nothing,
    Port,
    Protocol,
    /// TCP for UDP, or UDP for TCP.
    Other,
    Fragment,
    Version,
    /// How long the packet was.
    Length(u16),
    Receiver,
    /// The interface that it comes by.
    Elsewhere,
}

/// An ICMP error of either family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Complaint {
    /// Which of a family's types.
    pub(super) kind: usize,
    pub(super) code: u8,
    /// What stands behind the checksum.
    pub(super) word: u32,
    pub(super) sequence: Number,
    /// Bytes that it quotes behind the IP header.
    pub(super) quoted: usize,
    pub(super) wrong: Wrong,
    pub(super) ttl: u8,
    pub(super) dont_fragment: bool,
    pub(super) damage: Option<u64>,
}

/// A fragment of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Bytes before it.
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) more: bool,
    /// How long the first one says that the datagram is, if not as long as itself.
    pub(super) claims: Option<u16>,
    pub(super) checksum: u16,
    pub(super) dont_fragment: bool,
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    pub(super) damage: Option<u64>,
}

/// An extension header of IPv6.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension {
    pub(super) kind: u8,
    /// How long it is, and says to be, in units of eight bytes behind the first.
    pub(super) units: u8,
    pub(super) says: u8,
    /// What follows its length: where a fragment belongs, and in a routing header the segments that are left.
    pub(super) word: u16,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A client says something to its endpoint, at this port; `elsewhere` is nobody's address.
    Client {
        client: Client,
        to: u16,
        elsewhere: bool,
        moved: bool,
        saying: Saying,
    },
    /// The target of some flow says something.
    Target {
        flow: usize,
        saying: Saying,
    },
    /// Somebody in the provider's vpc writes to the load balancer.
    Stranger {
        target: usize,
        port: u16,
        saying: Saying,
    },
    /// A handshake that goes as it should.
    Connect {
        client: Client,
        to: u16,
    },
    /// Both sides of a flow close.
    Close {
        flow: usize,
        target_first: bool,
    },
    /// An ICMP error about what some flow has sent.
    Error {
        flow: usize,
        to_client: bool,
        complaint: Complaint,
    },
    /// Fragments of a datagram of a client's, or of the target of some flow, with one of a few identifications.
    Pieces {
        client: Client,
        to: u16,
        flow: Option<usize>,
        datagram: u16,
        tags: usize,
        pieces: Vec<Piece>,
    },
    /// Something that is said in IPv6, behind extension headers.
    Extended {
        step: Box<Self>,
        extensions: Vec<Extension>,
        damage: Option<u64>,
    },
    /// A segment of some flow arrives where it does not belong.
    Astray {
        flow: usize,
        from_target: bool,
        by: Port,
        saying: Saying,
    },
    /// Any bytes; mostly behind headers that lead to us.
    Garbage {
        port: Port,
        six: bool,
        headers: usize,
        bytes: Vec<u8>,
    },
    Echo {
        client: Client,
        length: usize,
        damage: Option<u64>,
    },
    Arp {
        port: Port,
        operation: u16,
        wanted: usize,
        tags: usize,
        damage: Option<u64>,
    },
    /// A message of neighbour discovery; `asker` is one of a few, and so is `kind`.
    Neighbour {
        port: Port,
        kind: usize,
        asker: usize,
        wanted: usize,
        hops: u8,
        tags: usize,
        damage: Option<u64>,
    },
    /// Time passes, seconds.
    Pass(u64),
    Sweep,
    Reachable(usize, bool),
    Usable([bool; 3]),
    Mtu(Port, u32),
    Attached(Port, bool),
    /// An endpoint, by its number.
    Available(u32, bool),
    Echoes(Port, bool),
}
