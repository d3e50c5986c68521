//! Ethernet headers with up to two VLAN tags, and ARP.

use network_types::eth::EtherType;

use crate::drop_reason::DropReason;
use crate::ip::Family;
use crate::limits::INTERFACE_SLOTS;
use crate::memory::{Packet, Window};
use crate::records::{Mac, NextHop};

/// Bytes of a header without tags.
pub const HEADER: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG: usize = 4;

/// EtherType of IPv4, network order.
pub const IPV4: u16 = EtherType::Ipv4 as u16;
/// EtherType of IPv6, network order.
pub const IPV6: u16 = EtherType::Ipv6 as u16;
/// EtherType of ARP, network order.
pub const ARP: u16 = EtherType::Arp as u16;

const VLAN: u16 = EtherType::Ieee8021q as u16;
const SERVICE_VLAN: u16 = EtherType::Ieee8021ad as u16;

const fn is_tag(ether_type: u16) -> bool {
    ether_type == VLAN || ether_type == SERVICE_VLAN
}

/// Bits of a next hop's word: the MAC address, and a slot below [`INTERFACE_SLOTS`].
const HOP: u64 = (1 << 48) * INTERFACE_SLOTS as u64 - 1;
const OUTER_KIND: u32 = HOP.count_ones();
const INNER_KIND: u32 = OUTER_KIND + 2;

/// Which tag this is, in two bits; 0 is none.
#[inline(always)]
const fn kind(tag: u32) -> u64 {
    match tag as u16 {
        VLAN => 1,
        SERVICE_VLAN => 2,
        _ => 0,
    }
}

/// The VLAN tags of a frame, outer first, in one word: 16 bits each of TPID and TCI as they stand in
/// the frame. A tag that is not there is zero; no TPID is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags(u64);

impl Tags {
    /// Takes a next hop and tags out of the two words a flow keeps them in.
    #[inline(always)]
    pub fn unpack(place: u64, tcis: u32) -> (NextHop, Self) {
        let tag = |kind: u64, tci: u32| match kind & 3 {
            1 => VLAN as u64 | (tci as u64 & 0xffff) << 16,
            2 => SERVICE_VLAN as u64 | (tci as u64 & 0xffff) << 16,
            _ => 0,
        };
        let outer = tag(place >> OUTER_KIND, tcis);
        let inner = tag(place >> INNER_KIND, tcis >> 16);
        (NextHop::from_word(place & HOP), Self(outer | inner << 32))
    }

    /// Packs a next hop with tags into two words: the slot leaves bits of its half-word free for what
    /// kinds the tags are, their control information is the other word.
    #[inline(always)]
    pub const fn pack(self, hop: NextHop) -> (u64, u32) {
        let place =
            hop.word() | kind(self.outer()) << OUTER_KIND | kind(self.inner()) << INNER_KIND;
        (place, self.outer() >> 16 | self.inner() & 0xffff_0000)
    }

    /// The tags that a word stands for.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word itself: another for other tags.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// TPID and TCI of each tag, outer first, in network order; zeros for one that is not there.
    pub const fn parts(self) -> [[u16; 2]; 2] {
        let (outer, inner) = (self.outer(), self.inner());
        [[outer as u16, (outer >> 16) as u16], [inner as u16, (inner >> 16) as u16]]
    }

    /// Those behind the outer one.
    #[inline(always)]
    pub const fn inside(self) -> Self {
        Self(self.0 >> 32)
    }

    /// TPID of the outer tag and above it its TCI, network order; 0 where there is none.
    #[inline(always)]
    pub const fn outer(self) -> u32 {
        self.0 as u32
    }

    const fn inner(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Bytes of an Ethernet header with these tags.
    #[inline(always)]
    pub const fn header(self) -> usize {
        match (self.outer(), self.inner()) {
            (0, _) => HEADER,
            (_, 0) => HEADER + TAG,
            _ => HEADER + 2 * TAG,
        }
    }
}

/// What an Ethernet header says.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet {
    /// Receiver.
    pub destination: Mac,
    /// Sender.
    pub source: Mac,
    /// VLAN tags.
    pub tags: Tags,
    /// EtherType of the payload, network order.
    pub ether_type: u16,
}

#[inline(always)]
fn mac_at_0<const N: usize>(window: &Window<'_, N>) -> Mac {
    Mac([window.u16::<0>(), window.u16::<2>(), window.u16::<4>()])
}

#[inline(always)]
fn mac_at_6<const N: usize>(window: &Window<'_, N>) -> Mac {
    Mac([window.u16::<6>(), window.u16::<8>(), window.u16::<10>()])
}

impl Ethernet {
    /// Reads the header at the start of the frame, and the tag that the kernel has taken out. A third tag is left for the host to judge.
    #[inline(always)]
    pub fn parse(packet: &impl Packet) -> Result<Self, DropReason> {
        let header = packet.window::<HEADER>(0).ok_or(DropReason::Truncated)?;
        let taken = packet.taken_tag();
        let mut ethernet = Self {
            destination: mac_at_0(&header),
            source: mac_at_6(&header),
            tags: Tags(taken.into()),
            ether_type: header.u16::<12>(),
        };
        if is_tag(ethernet.ether_type) {
            let tag = packet.window::<TAG>(HEADER).ok_or(DropReason::Truncated)?;
            let mut word = u64::from(ethernet.ether_type) | u64::from(tag.u16::<0>()) << 16;
            ethernet.ether_type = tag.u16::<2>();
            if taken != 0 {
                word = u64::from(taken) | word << 32;
            } else if is_tag(ethernet.ether_type) {
                let tag = packet.window::<TAG>(HEADER + TAG).ok_or(DropReason::Truncated)?;
                word |= u64::from(ethernet.ether_type) << 32 | u64::from(tag.u16::<0>()) << 48;
                ethernet.ether_type = tag.u16::<2>();
            }
            ethernet.tags = Tags(word);
        }
        Ok(ethernet)
    }
}

/// Replaces the Ethernet header of an IPv4 packet, which has now the tags `before` and is `old` bytes long; returns its new length.
#[inline(always)]
pub fn replace_header(
    packet: &mut impl Packet,
    old: usize,
    before: Tags,
    hop: NextHop,
    source: Mac,
    tags: Tags,
) -> Result<usize, DropReason> {
    let new = packet.standing(tags).header();
    if !packet.reframe((before, Family::V4), (tags, Family::V4), old as i32 - new as i32) {
        return Err(DropReason::NoHeadroom);
    }
    write_header(packet, new, hop.mac(), source, tags, IPV4)?;
    Ok(new)
}

/// Writes an Ethernet header, `length` bytes long with those of its tags that stand in the frame, in front of a payload of an EtherType (network order).
///
/// The length could be told from the tags, but where the verifier knows it from parsing them, it need
/// not walk all three cases again.
#[inline(always)]
pub fn write_header(
    packet: &impl Packet,
    length: usize,
    destination: Mac,
    source: Mac,
    tags: Tags,
    ether_type: u16,
) -> Result<(), DropReason> {
    let tags = packet.standing(tags);
    let header = packet.window::<HEADER>(0).ok_or(DropReason::Truncated)?;
    write_addresses(&header, destination, source);
    if length == HEADER {
        header.set_u16::<12>(ether_type);
        return Ok(());
    }
    header.set_u16::<12>(tags.outer() as u16);
    let tag = packet.window::<TAG>(HEADER).ok_or(DropReason::Truncated)?;
    tag.set_u16::<0>((tags.outer() >> 16) as u16);
    if length == HEADER + TAG {
        tag.set_u16::<2>(ether_type);
        return Ok(());
    }
    tag.set_u16::<2>(tags.inner() as u16);
    let tag = packet.window::<TAG>(HEADER + TAG).ok_or(DropReason::Truncated)?;
    tag.set_u16::<0>((tags.inner() >> 16) as u16);
    tag.set_u16::<2>(ether_type);
    Ok(())
}

/// Writes receiver and sender at the start of a frame.
#[inline(always)]
pub fn write_addresses<const N: usize>(header: &Window<'_, N>, destination: Mac, source: Mac) {
    let ([a, b, c], [d, e, f]) = (destination.0, source.0);
    header.set_u16::<0>(a);
    header.set_u16::<2>(b);
    header.set_u16::<4>(c);
    header.set_u16::<6>(d);
    header.set_u16::<8>(e);
    header.set_u16::<10>(f);
}

/// An ARP request for an IPv4 address (RFC 826).
pub struct ArpRequest<'p> {
    message: Window<'p, 28>,
}

impl<'p> ArpRequest<'p> {
    /// The request at `offset`, or `None` for every other ARP message.
    #[inline(always)]
    pub fn parse(packet: &'p impl Packet, offset: usize) -> Result<Option<Self>, DropReason> {
        let message = packet.window::<28>(offset).ok_or(DropReason::Truncated)?;
        let ethernet_ipv4 = message.u16::<0>() == 1_u16.to_be()
            && message.u16::<2>() == IPV4
            && message.u16::<4>() == u16::from_ne_bytes([6, 4]);
        let request = ethernet_ipv4 && message.u16::<6>() == 1_u16.to_be();
        // A host that asks for its own address announces it (RFC 5227, section 3): not a question.
        Ok((request && Self { message }.sender() != Self { message }.wanted())
            .then_some(Self { message }))
    }

    fn sender(&self) -> u32 {
        self.message.u32::<14>()
    }

    /// The address asked for, network order.
    #[inline(always)]
    pub fn wanted(&self) -> u32 {
        self.message.u32::<24>()
    }

    /// Turns the message into the answer that `mac` has the address.
    #[inline(always)]
    pub fn answer(&self, mac: Mac) {
        let message = &self.message;
        let (wanted, sender) = (self.wanted(), self.sender());
        message.set_u16::<6>(2_u16.to_be());
        let asker = [message.u16::<8>(), message.u16::<10>(), message.u16::<12>()];
        let [a, b, c] = mac.0;
        message.set_u16::<8>(a);
        message.set_u16::<10>(b);
        message.set_u16::<12>(c);
        message.set_u32::<14>(wanted);
        let [a, b, c] = asker;
        message.set_u16::<18>(a);
        message.set_u16::<20>(b);
        message.set_u16::<22>(c);
        message.set_u32::<24>(sender);
    }
}
