//! The programs that the data path calls as its tail, for what segments of IPv4 flows need not pay for. Each has the stack and the
//! verifier's budget for itself.

/// One of them. Its places in the map `STAGES` are those of its number: its own, and that of its watched twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// `other`: what is neither TCP segment nor IPv6.
    Other = 0,
    /// `fragments`: IPv4 fragments.
    Fragments = 1,
    /// `wide`: what may be of a flow in the wide table.
    Wide = 2,
    /// `wide_new`: what is of none there.
    WideNew = 3,
    /// `wide_other`: what is neither segment nor datagram there.
    WideOther = 4,
    /// `refused`: what was refused, of either table, and is to be answered.
    Refused = 5,
    /// `wide_fragments`: fragments of either family to addresses of the wide table.
    WideFragments = 6,
}

impl Stage {
    /// Every stage, in order of number.
    pub const ALL: [Self; 7] = [
        Self::Other,
        Self::Fragments,
        Self::Wide,
        Self::WideNew,
        Self::WideOther,
        Self::Refused,
        Self::WideFragments,
    ];

    /// Whether it is of the wide table only. Where nothing is IPv6 there is no such program, and its packets are the host's.
    #[inline(always)]
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Wide | Self::WideNew | Self::WideOther | Self::WideFragments)
    }

    /// Places in the map.
    pub const PLACES: u32 = 2 * Self::ALL.len() as u32;

    /// Its place in the map, or that of its watched twin.
    #[inline(always)]
    pub const fn place(self, watched: bool) -> u32 {
        2 * self as u32 + watched as u32
    }
}
