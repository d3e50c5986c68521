//! A frame as the XDP context shows it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use privatelink_common::drop_reason::DropReason;
use privatelink_common::memory::{CHUNK, Packet, Window};
use privatelink_common::tables::Tables;

use crate::functions;

/// A frame, its headers in linear memory: a jumbo one may go on in other buffers.
pub(crate) struct XdpPacket<'c>(pub(crate) &'c XdpContext);

/// More than any offset of an IP header, a power of two.
pub(crate) const OFFSETS: usize = 32;
/// The same of a segment's or datagram's.
pub(crate) const OFFSETS_OF_SEGMENTS: usize = 128;

impl XdpPacket<'_> {
    /// Where its linear memory starts and stops. Read anew each time: the verifier forgets it when the frame is resized, and takes
    /// for numbers what LLVM keeps of it in halves of registers.
    #[inline(always)]
    fn linear(&self) -> [usize; 2] {
        // SAFETY: the context is valid while the program runs.
        unsafe {
            let ctx = self.0.ctx;
            [&raw const (*ctx).data, &raw const (*ctx).data_end]
                .map(|word| word.read_volatile() as usize)
        }
    }
}

impl Packet for XdpPacket<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as usize }
    }

    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        let [start, stop] = self.linear();
        end <= stop - start || end <= self.len()
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Window<'_, N>> {
        let [start, stop] = self.linear();
        let start = start + offset;
        if start + N > stop {
            return None;
        }
        // SAFETY: in bounds by the comparison, which the verifier demands too; the frame is this CPU's.
        Some(unsafe { Window::new(start as *mut u8) })
    }

    #[inline(always)]
    fn chunk(&self, offset: usize, len: usize) -> Option<[u32; CHUNK / 4]> {
        let mut words = [0_u32; CHUNK / 4];
        // Changes nothing for 1 to CHUNK, but it is where the verifier learns these bounds. Without the
        // black box LLVM, which knows them from the caller, takes the mask out.
        let len = core::hint::black_box(len.wrapping_sub(1)) % CHUNK + 1;
        // SAFETY: the buffer holds `len` bytes; the kernel checks the frame's bounds (5.18).
        let result = unsafe {
            bpf_xdp_load_bytes(
                self.0.as_ptr().cast(),
                offset as u32,
                words.as_mut_ptr().cast(),
                len as u32,
            )
        };
        (result == 0).then_some(words)
    }

    #[inline(always)]
    fn some_offset(&self, offset: usize) -> usize {
        functions::some_offset(offset as u32) as usize % OFFSETS
    }

    #[inline(always)]
    fn sum(&self, offset: usize, length: u16) -> u32 {
        functions::packet_sum(self.0.ctx, offset as u32, u32::from(length))
    }

    #[inline(always)]
    fn tell_refused(&self, _: &impl Tables, slot: u32, reason: DropReason) {
        functions::tell_refused(self.0.ctx, slot, reason as u32);
    }

    #[inline(always)]
    fn move_start(&mut self, by: i32) -> bool {
        // SAFETY: the context is valid while the program runs; no window is held across `&mut self`.
        unsafe { bpf_xdp_adjust_head(self.0.as_ptr().cast(), by) == 0 }
    }

    #[inline(always)]
    fn truncate(&mut self, len: usize) -> bool {
        // The black box keeps LLVM from taking one of the packet's bounds from the length before the other.
        let by = len as i32 - core::hint::black_box(self.len()) as i32;
        // SAFETY: as in `move_start`.
        by <= 0 && unsafe { bpf_xdp_adjust_tail(self.0.as_ptr().cast(), by) == 0 }
    }
}
