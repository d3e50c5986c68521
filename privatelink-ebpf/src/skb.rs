//! A frame as a classifier's context shows it: its first bytes in linear memory, its outer VLAN tag taken out, its checksum perhaps
//! not finished, and perhaps several packets in one, which part when they leave.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR,
    bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, bpf_hdr_start_off::BPF_HDR_START_MAC,
};
use aya_ebpf::helpers::generated::{
    bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_change_proto,
    bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_pull_data,
    bpf_skb_store_bytes, bpf_skb_vlan_pop, bpf_skb_vlan_push,
};
use aya_ebpf::programs::TcContext;
use privatelink_common::checksum::Change;
use privatelink_common::drop_reason::DropReason;
use privatelink_common::ethernet::{self, Tags};
use privatelink_common::icmp::QUOTED_PAYLOAD;
use privatelink_common::ip::{Family, IPV6_HEADER};
use privatelink_common::ipv4::{self, TCP, VERSION_IHL};
use privatelink_common::memory::{CHUNK, Packet, Parts, Window};
use privatelink_common::records::Interface;
use privatelink_common::tables::Tables;
use privatelink_common::{tcp, udp};

use crate::functions;
use crate::packet::OFFSETS;

/// Bytes that are to be in linear memory: all headers, and those that an ICMP error quotes.
const HEADERS: u32 = 192;

/// A frame of the network stack's.
pub(crate) struct SkbPacket<'c>(&'c TcContext);

impl<'c> SkbPacket<'c> {
    /// The frame, its headers pulled into linear memory if they are not there.
    #[inline(always)]
    pub(crate) fn new(ctx: &'c TcContext) -> Self {
        let (frame, headers) = (Self(ctx), ctx.len().min(HEADERS));
        if ctx.data() + headers as usize > ctx.data_end() && !frame.has_headers_of_segment() {
            // SAFETY: the context is valid while the program runs. Where it fails, there are no windows.
            unsafe { bpf_skb_pull_data(ctx.skb.skb, headers) };
        }
        frame
    }

    /// Whether linear memory ends behind the headers of a TCP segment, as a sender on this machine leaves it. To pull in what the
    /// segment carries would have the kernel copy the headers, since the sender keeps a clone.
    #[inline(always)]
    fn has_headers_of_segment(&self) -> bool {
        const V4: u16 = Family::V4.ether_type();
        const V6: u16 = Family::V6.ether_type();
        const IP: usize = ethernet::HEADER;
        let start = match self.protocol() {
            V4 => self.window(IP).and_then(|ip: Window<'_, { ipv4::HEADER }>| {
                let is_tcp = ip.u8::<0>() == VERSION_IHL && ip.u8::<9>() == TCP;
                is_tcp.then_some(IP + ipv4::HEADER)
            }),
            V6 => self.window(IP).and_then(|ip: Window<'_, IPV6_HEADER>| {
                (ip.u8::<6>() == TCP).then_some(IP + IPV6_HEADER)
            }),
            _ => None,
        };
        start.is_some_and(|start| {
            self.window(start).is_some_and(|tcp: Window<'_, { tcp::HEADER }>| {
                let end = start + usize::from(tcp.u8::<12>() >> 4) * 4;
                self.0.data() + end <= self.0.data_end()
            })
        })
    }

    /// EtherType of what follows the tags that are taken out, network order.
    #[inline(always)]
    fn protocol(&self) -> u16 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.skb()).protocol as u16 }
    }

    /// Has the frame begin with its Ethernet header. Behind XDP in the network stack it may begin with what follows: where the kernel
    /// has copied the frame for XDP, it has forgotten how long that header is.
    #[inline(always)]
    pub(crate) fn begin_with_header(&self) {
        let protocol = self.protocol();
        let begins = |header: Window<'_, { ethernet::HEADER }>| {
            header.u16::<12>() == protocol && header.u8::<0>() != VERSION_IHL
        };
        if !self.window(0).is_some_and(begins) {
            functions::skb_put_header(self.skb());
        }
    }

    /// Puts the Ethernet header in front of the frame, unless it is there.
    #[inline(always)]
    pub(crate) fn put_header(&self) -> bool {
        const LENGTH: u32 = ethernet::HEADER as u32;
        let [mut header, mut start] = [[0_u16; ethernet::HEADER / 2]; 2];
        let (skb, to, from) = (self.skb(), header.as_mut_ptr().cast(), start.as_mut_ptr().cast());
        // SAFETY: both hold as many bytes; the kernel checks the frame's bounds.
        let read = unsafe {
            bpf_skb_load_bytes_relative(skb.cast(), 0, to, LENGTH, BPF_HDR_START_MAC) == 0
                && bpf_skb_load_bytes(skb.cast(), 0, from, LENGTH) == 0
        };
        // SAFETY: the context is valid while the program runs, no window is held, and the header holds as many bytes.
        read && header != start
            && unsafe {
                bpf_skb_change_head(skb, LENGTH, 0) == 0
                    && bpf_skb_store_bytes(skb, 0, to.cast_const(), LENGTH, 0) == 0
            }
    }

    /// The frame as it is.
    #[inline(always)]
    pub(crate) const fn of(ctx: &'c TcContext) -> Self {
        Self(ctx)
    }

    #[inline(always)]
    const fn skb(&self) -> *mut __sk_buff {
        self.0.skb.skb
    }

    /// Brings a checksum up to date, in whichever state it is.
    #[inline(always)]
    fn mend(&self, at: usize, change: Change, flags: u32) {
        let (own, addresses) = (change.own.fold(), change.addresses.fold());
        // SAFETY: as in `new`; the kernel checks the frame's bounds.
        unsafe {
            bpf_l4_csum_replace(self.skb(), at as u32, 0, own.into(), flags.into());
            if addresses != 0 {
                let flags = flags | BPF_F_PSEUDO_HDR;
                bpf_l4_csum_replace(self.skb(), at as u32, 0, addresses.into(), flags.into());
            }
        }
    }

    /// Whether a checksum is unfinished: a word of the segment itself is said to have changed, and then it stays as it is.
    #[inline(always)]
    pub(crate) fn probe(&self, at: usize) -> bool {
        let before = self.load(at);
        // SAFETY: as in `mend`.
        unsafe { bpf_l4_csum_replace(self.skb(), at as u32, 0, 1, 0) };
        if self.load(at) == before {
            return true;
        }
        // SAFETY: two bytes, in the frame's bounds, which the kernel checks.
        unsafe { bpf_skb_store_bytes(self.skb(), at as u32, (&raw const before).cast(), 2, 0) };
        false
    }

    /// Size of the packets that a frame becomes on the wire, bytes behind their headers; 0 where it is one.
    #[inline(always)]
    const fn gso_size(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.skb()).gso_size }
    }

    /// [`Packet::parts`] of a frame that has a size for them.
    #[inline(always)]
    pub(crate) fn divided(&self, length: u16, offset: usize, protocol: u8) -> Parts {
        let tcp = self.window::<{ tcp::HEADER }>(offset);
        let header = match tcp {
            Some(tcp) if protocol == TCP => u16::from(tcp.u8::<12>() >> 4) * 4,
            _ => udp::HEADER as u16,
        };
        let (payload, size) = (length.saturating_sub(header), self.gso_size().max(1));
        let packets = u32::from(payload).div_ceil(size).max(1) as u16;
        Parts { packets, header, longest: header + u32::from(payload).min(size) as u16 }
    }

    /// The two bytes at an offset.
    #[inline(always)]
    fn load(&self, at: usize) -> u16 {
        let mut word = 0_u16;
        // SAFETY: the buffer is two bytes; the kernel checks the frame's bounds.
        unsafe {
            bpf_skb_load_bytes(self.0.as_ptr().cast(), at as u32, (&raw mut word).cast(), 2);
        }
        word
    }

    /// [`Packet::reframe`]. The kernel changes the family of an IP header only where no tag stands before it.
    #[inline(always)]
    pub(crate) fn change_frame(
        &mut self,
        (old, old_family): (Tags, Family),
        (new, family): (Tags, Family),
        shift: i32,
    ) -> bool {
        let standing =
            |tags: Tags, family: Family| tags.inside().header() as i32 + family.header() as i32;
        let rest = shift - standing(old, old_family) + standing(new, family);
        let proto = family.ether_type();
        // Two tags that stay as they are go for that, too.
        let stays = old == new && (old_family == family || old.inside().outer() == 0);
        (stays || self.pop(old.outer()) && self.pop(old.inside().outer()))
            // SAFETY: as in `new`; no window is held across `&mut self`.
            && (old_family == family || unsafe { bpf_skb_change_proto(self.skb(), proto, 0) == 0 })
            && (rest == 0 || self.shift_start(rest))
            && (stays || self.push(new.inside().outer()) && self.push(new.outer()))
    }

    /// [`Packet::move_start`]. The kernel moves only what is right before an IP header: where a tag stands there, that one takes
    /// the place of the outer one meanwhile.
    #[inline(always)]
    pub(crate) fn shift_start(&mut self, by: i32) -> bool {
        let flags = u64::from(BPF_F_ADJ_ROOM_FIXED_GSO);
        let protocol = self.protocol();
        let is_ip = [Family::V4, Family::V6].iter().any(|family| family.ether_type() == protocol);
        let tag = if is_ip { 0 } else { taken_tag(self.skb()) };
        self.pop(tag) && {
            // SAFETY: as in `new`; no window is held across `&mut self`.
            let moved =
                unsafe { bpf_skb_adjust_room(self.skb(), -by, BPF_ADJ_ROOM_MAC, flags) == 0 };
            self.push(tag) && moved
        }
    }

    /// Takes the outer tag off, if it is not 0.
    #[inline(always)]
    fn pop(&mut self, tag: u32) -> bool {
        // SAFETY: as in `change_frame`.
        tag == 0 || unsafe { bpf_skb_vlan_pop(self.skb()) == 0 }
    }

    /// Puts a tag around all others, if it is not 0.
    #[inline(always)]
    fn push(&mut self, tag: u32) -> bool {
        let (tpid, tci) = (tag as u16, (tag >> 16) as u16);
        // SAFETY: as in `change_frame`.
        tpid == 0 || unsafe { bpf_skb_vlan_push(self.skb(), tpid, u16::from_be(tci)) == 0 }
    }
}

/// [`Packet::taken_tag`] of the frame of a context.
#[inline(always)]
pub(crate) fn taken_tag(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the context is valid while the program runs.
    let skb = unsafe { &*skb };
    if skb.vlan_present == 0 {
        return 0;
    }
    skb.vlan_proto & 0xffff | u32::from((skb.vlan_tci as u16).to_be()) << 16
}

impl Packet for SkbPacket<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len() as usize
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Window<'_, N>> {
        // The pointers are read anew each time: the verifier forgets them when the frame is changed by a call.
        let start = self.0.data() + offset;
        if start + N > self.0.data_end() {
            return None;
        }
        // SAFETY: in bounds by the comparison, which the verifier demands too; the headers are this CPU's, since the kernel
        // has a program that writes begin with bytes of its own.
        Some(unsafe { Window::new(start as *mut u8) })
    }

    #[inline(always)]
    fn chunk(&self, offset: usize, len: usize) -> Option<[u32; CHUNK / 4]> {
        let mut words = [0_u32; CHUNK / 4];
        // As in `XdpPacket::chunk`.
        let len = core::hint::black_box(len.wrapping_sub(1)) % CHUNK + 1;
        // SAFETY: the buffer holds `len` bytes; the kernel checks the frame's bounds.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.0.as_ptr().cast(),
                offset as u32,
                words.as_mut_ptr().cast(),
                len as u32,
            )
        };
        (result == 0).then_some(words)
    }

    #[inline(always)]
    fn move_start(&mut self, by: i32) -> bool {
        functions::skb_move_start(self.skb(), by) != 0
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> bool {
        // SAFETY: as in `shift_start`.
        len == self.len() || unsafe { bpf_skb_change_tail(self.skb(), len as u32, 0) == 0 }
    }

    #[inline(always)]
    fn cut(&mut self, len: usize) -> Option<usize> {
        // The end of a TCP header, the checksum in which the kernel does not have cut off if it is unfinished.
        [len, len + tcp::HEADER - QUOTED_PAYLOAD].into_iter().find(|&len| self.truncate(len))
    }

    #[inline(always)]
    fn is_concurrent(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_left(&self, _: &Interface) -> bool {
        false
    }

    #[inline(always)]
    fn taken_tag(&self) -> u32 {
        taken_tag(self.skb())
    }

    #[inline(always)]
    fn standing(&self, tags: Tags) -> Tags {
        tags.inside()
    }

    #[inline(always)]
    fn reframe(&mut self, from: (Tags, Family), to: (Tags, Family), shift: i32) -> bool {
        let ((old, old_family), (new, family)) = (from, to);
        let families = old_family as u32 | (family as u32) << 8;
        functions::skb_reframe(self.skb(), old.word(), new.word(), families, shift) != 0
    }

    #[inline(always)]
    fn mend_segment(&self, _: Window<'_, { tcp::HEADER }>, offset: usize, change: Change) {
        self.mend(offset + tcp::CHECKSUM, change, 0);
    }

    #[inline(always)]
    fn mend_datagram(&self, _: Window<'_, { udp::HEADER }>, offset: usize, change: Change) {
        self.mend(offset + udp::CHECKSUM, change, BPF_F_MARK_MANGLED_0);
    }

    #[inline(always)]
    fn is_unfinished(&self, offset: usize) -> bool {
        functions::skb_unfinished(self.skb(), offset as u32) != 0
    }

    #[inline(always)]
    fn parts(&self, length: u16, offset: usize, protocol: u8) -> Parts {
        if self.gso_size() == 0 {
            return Parts { packets: 1, header: 0, longest: length };
        }
        let what = u32::from(length) | u32::from(protocol) << 16;
        let parts = functions::skb_parts(self.skb(), offset as u32, what);
        let [packets, header, longest] = [0, 16, 32].map(|at| (parts >> at) as u16);
        Parts { packets, header, longest }
    }

    #[inline(always)]
    fn some_offset(&self, offset: usize) -> usize {
        functions::some_offset(offset as u32) as usize % OFFSETS
    }

    #[inline(always)]
    fn sum(&self, offset: usize, length: u16) -> u32 {
        functions::skb_sum(self.skb(), offset as u32, u32::from(length))
    }

    #[inline(always)]
    fn tell_refused(&self, _: &impl Tables, slot: u32, reason: DropReason) {
        functions::tell_skb_refused(self.skb(), slot, reason as u32);
    }
}
