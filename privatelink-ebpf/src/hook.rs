//! Where the kernel calls the programs of the data path: how each is told of a frame, and tells what is to become of it.

#[cfg(target_arch = "bpf")]
use core::arch::asm;
use core::hint::black_box;

use aya_ebpf::bindings::{
    __sk_buff, TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action, xdp_md,
};
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::ethernet::TAG;
use privatelink_common::memory::Packet;
use privatelink_common::stages::Stage;
use privatelink_common::tables::Tables as _;

use crate::maps::{CLASSIFIERS, DEVICES, Kernel, KernelTables, STAGES};
use crate::packet::XdpPacket;
use crate::skb::{self, SkbPacket};

/// What to do when the device map has no interface in the slot: the low bits of the flags.
const OTHERWISE_DROP: u64 = xdp_action::XDP_DROP as u64;

/// Goes on in a stage's program at once, by a call with the stage's place in the map as part of the instruction: the kernel makes
/// a jump of it. A call that is told the place goes by a pointer, which a kernel with retpolines is slow to follow. It comes back
/// where there is no program.
#[cfg(target_arch = "bpf")]
macro_rules! jump {
    ($ctx:expr, $map:ident, $watched:ident, $stage:ident) => {
        // SAFETY: the context is valid while the program runs; the call changes no registers but those named.
        unsafe {
            asm!(
                "r3 = {place}",
                "call 12",
                place = const Stage::$stage.place($watched),
                inlateout("r1") $ctx => _,
                inlateout("r2") &raw const $map => _,
                lateout("r0") _,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
            );
        }
    };
}
// Clippy compiles for the host, which has no such registers.
#[cfg(not(target_arch = "bpf"))]
macro_rules! jump {
    ($ctx:expr, $map:ident, $watched:ident, $stage:ident) => {};
}

/// The context of a program of the data path. What is to become of the frame is told in XDP's words, and as the kernel wants it at
/// the very end.
pub(crate) trait Hook {
    /// What the kernel wants to be told.
    type Action;

    /// The frame.
    fn packet(&self) -> impl Packet;

    /// Index of the interface that it came in by.
    fn ifindex(&self) -> u32;

    /// Goes on in [`Stage::Other`], and comes back where there is no program.
    fn go_other<const WATCHED: bool>(&self);

    /// Goes on in [`Stage::Wide`], and comes back where there is no program.
    fn go_wide<const WATCHED: bool>(&self);

    /// Goes on in a stage, and comes back where there is no program.
    fn go(&self, stage: Stage, watched: bool);

    /// Sends the frame by the interface in a slot.
    fn send<const WATCHED: bool>(&self, slot: u32) -> u32;

    /// An action as the kernel wants it.
    fn action(action: u32) -> Self::Action;
}

impl Hook for XdpContext {
    type Action = u32;

    #[inline(always)]
    fn packet(&self) -> impl Packet {
        XdpPacket(self)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn go_other<const WATCHED: bool>(&self) {
        jump!(self.ctx, STAGES, WATCHED, Other);
    }

    #[inline(always)]
    fn go_wide<const WATCHED: bool>(&self) {
        jump!(self.ctx, STAGES, WATCHED, Wide);
    }

    #[inline(always)]
    fn go(&self, stage: Stage, watched: bool) {
        // SAFETY: the context is valid while the program runs.
        unsafe { STAGES.tail_call(self, stage.place(watched)) };
    }

    #[inline(always)]
    fn send<const WATCHED: bool>(&self, slot: u32) -> u32 {
        DEVICES.redirect(slot, OTHERWISE_DROP).unwrap_or_else(|action| {
            Kernel::<WATCHED, false>::count(slot, DropReason::InterfaceGone, 1);
            action
        })
    }

    #[inline(always)]
    fn action(action: u32) -> u32 {
        action
    }
}

impl Hook for TcContext {
    type Action = i32;

    #[inline(always)]
    fn packet(&self) -> impl Packet {
        SkbPacket::new(self)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn go_other<const WATCHED: bool>(&self) {
        jump!(self.skb.skb, CLASSIFIERS, WATCHED, Other);
    }

    #[inline(always)]
    fn go_wide<const WATCHED: bool>(&self) {
        jump!(self.skb.skb, CLASSIFIERS, WATCHED, Wide);
    }

    #[inline(always)]
    fn go(&self, stage: Stage, watched: bool) {
        // SAFETY: the context is valid while the program runs.
        unsafe { CLASSIFIERS.tail_call(self, stage.place(watched)) };
    }

    #[inline(always)]
    fn send<const WATCHED: bool>(&self, slot: u32) -> u32 {
        let Some(interface) = KernelTables.interface(slot) else {
            return xdp_action::XDP_DROP;
        };
        // SAFETY: no memory is passed. Where the interface is gone, the kernel drops the frame.
        unsafe { bpf_redirect(interface.ifindex, 0) };
        xdp_action::XDP_REDIRECT
    }

    #[inline(always)]
    fn action(action: u32) -> i32 {
        match action {
            // To the next program, or else to the host.
            xdp_action::XDP_PASS => TC_ACT_UNSPEC,
            xdp_action::XDP_REDIRECT => TC_ACT_REDIRECT,
            _ => TC_ACT_SHOT,
        }
    }
}

/// A frame by its context, as far as captures need it.
pub(crate) trait Frame: Copy {
    /// Bytes of the frame, its outer tag among them.
    fn length(self) -> u32;

    /// Index of the interface that it came in by.
    fn ifindex(self) -> u32;

    /// Copies the first `length` bytes of the frame to `to`; false where it has fewer.
    ///
    /// # Safety
    /// There is room for as many.
    unsafe fn load(self, to: *mut u8, length: u32) -> bool;
}

impl Frame for *mut xdp_md {
    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self) as u32 }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: as in `length`.
        unsafe { (*self).ingress_ifindex }
    }

    #[inline(always)]
    unsafe fn load(self, to: *mut u8, length: u32) -> bool {
        // SAFETY: in bounds by the contract; the kernel checks those of the frame (5.18).
        unsafe { bpf_xdp_load_bytes(self, 0, to.cast(), length) == 0 }
    }
}

impl Frame for *mut __sk_buff {
    #[inline(always)]
    fn length(self) -> u32 {
        let tag = if skb::taken_tag(self) == 0 { 0 } else { TAG as u32 };
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self).len + tag }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: as in `length`.
        unsafe { (*self).ifindex }
    }

    #[inline(always)]
    unsafe fn load(self, to: *mut u8, length: u32) -> bool {
        const ADDRESSES: u32 = 12;
        const REST: u32 = ADDRESSES + TAG as u32;
        let tag = skb::taken_tag(self);
        // SAFETY: in bounds by the contract and the comparison; the kernel checks those of the frame. The machine takes any
        // alignment.
        unsafe {
            let load = |from: u32, to: *mut u8, length: u32| {
                bpf_skb_load_bytes(self.cast(), from, to.cast(), length) == 0
            };
            if tag == 0 || length <= REST {
                return load(0, to, length);
            }
            let loaded = load(0, to, ADDRESSES)
                && load(ADDRESSES, to.add(REST as usize), black_box(length - REST));
            to.add(ADDRESSES as usize).cast::<u32>().write_unaligned(tag);
            loaded
        }
    }
}
