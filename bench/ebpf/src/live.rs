//! Live frames: a generator, and the end that counts them.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use privatelink_common::{ethernet, ipv4};

use crate::frame::{self, Form as _, Tcp};
use crate::maps::{ARRIVED, DEVICES, DRIVE, FORWARD};
use crate::records::{Drive, GENERATOR, Tuple};

/// The port that the targets listen at: what else arrives is the hosts' own traffic.
const TARGET_PORT: u16 = 8080_u16.to_be();
/// How many hosts the clients are that are always new, and their first port.
const HOSTS: u32 = 1024;
const FIRST_PORT: u32 = 1024;

/// Sends frames of the same flows over and over.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn generate(ctx: XdpContext) -> u32 {
    send(&ctx, |position| FORWARD.get(position).copied()).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Sends frames of always new clients: as the first tuple, from another host each, and from the next port of all of
/// them after that.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn generate_new(ctx: XdpContext) -> u32 {
    let client = |position: u32| {
        let first = FORWARD.get(0)?;
        let source = u32::from_be(first.source).wrapping_add(position % HOSTS).to_be();
        let source_port = ((FIRST_PORT + position / HOSTS) as u16).to_be();
        Some(Tuple { source, source_port, ..*first })
    };
    send(&ctx, client).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn send(ctx: &XdpContext, tuple: impl Fn(u32) -> Option<Tuple>) -> Option<u32> {
    // SAFETY: one generator runs at a time; userspace reads and writes between calls only.
    let drive: &mut Drive = unsafe { &mut *DRIVE.get_ptr_mut(0)? };
    let position = drive.position;
    drive.position = if position + 1 == drive.count { 0 } else { position + 1 };
    Tcp::write(ctx, &tuple(position)?, drive)?;
    DEVICES.redirect(GENERATOR, u64::from(xdp_action::XDP_ABORTED)).ok()
}

/// Counts and drops the frames that arrive for a target; anything else, ARP above all, is the host's.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn sink(ctx: XdpContext) -> u32 {
    let Some(frame) = frame::window::<{ frame::HEADERS }>(&ctx) else {
        return xdp_action::XDP_PASS;
    };
    let for_target = frame.u16::<12>() == ethernet::IPV4
        && frame.u8::<23>() == ipv4::TCP
        && frame.u16::<36>() == TARGET_PORT;
    if !for_target {
        return xdp_action::XDP_PASS;
    }
    if let Some(arrived) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: the element is this CPU's own.
        unsafe { *arrived += 1 };
    }
    xdp_action::XDP_DROP
}
