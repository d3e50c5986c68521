//! What the program under test is compared with, and takes frames in several buffers as that one: an array of programs takes one sort.

use aya_ebpf::bindings::{TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use privatelink_common::checksum::apply;
use privatelink_common::memory::Window;
use privatelink_common::{ethernet, ipv4};

use crate::frame;
use crate::maps::{BESIDE, DEVICES, NAT};
use crate::records::{ONWARD, Tuple};

/// Nothing: sends the frame back.
#[xdp(frags)]
pub(crate) fn nothing(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// A bare redirect.
#[xdp(frags)]
pub(crate) fn redirect(_ctx: XdpContext) -> u32 {
    onward()
}

/// The same at tc ingress: to the interface that stands beside the frame's own.
#[classifier]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn beside(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let from = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: elements stay while the benchmark runs.
    let Some(&to) = (unsafe { BESIDE.get(from) }) else {
        return TC_ACT_SHOT;
    };
    // SAFETY: no memory is passed.
    unsafe { bpf_redirect(to, 0) as i32 }
}

/// The least that a full NAT with a kernel hash map can do: one lookup, everything else precomputed in the value; no
/// networks, no TCP states, no MTU check, one egress.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn hash_nat(ctx: XdpContext) -> u32 {
    frame::window(&ctx).and_then(|frame| translate(&frame)).unwrap_or(xdp_action::XDP_PASS)
}

#[inline(always)]
fn translate(frame: &Window<'_, { frame::LENGTH }>) -> Option<u32> {
    const VERSION_IHL: u8 = 0x45;
    const FRAGMENT: u16 = 0x3fff_u16.to_be();
    let carried = frame.u16::<12>() == ethernet::IPV4
        && frame.u8::<14>() == VERSION_IHL
        && frame.u16::<20>() & FRAGMENT == 0
        && frame.u8::<23>() == ipv4::TCP
        && frame.u8::<22>() > 1;
    if !carried {
        return None;
    }
    let key = Tuple {
        source: frame.u32::<26>(),
        destination: frame.u32::<30>(),
        source_port: frame.u16::<34>(),
        destination_port: frame.u16::<36>(),
        padding: 0,
    };
    // SAFETY: elements stay while the benchmark runs, and only this CPU uses them.
    let rewrite = unsafe { &mut *NAT.get_ptr_mut(key)? };
    let [a, b, c, d, e, f] = rewrite.macs;
    frame.set_u16::<0>(a);
    frame.set_u16::<2>(b);
    frame.set_u16::<4>(c);
    frame.set_u16::<6>(d);
    frame.set_u16::<8>(e);
    frame.set_u16::<10>(f);
    frame.set_u8::<22>(frame.u8::<22>() - 1);
    frame.set_u16::<24>(apply(frame.u16::<24>(), rewrite.ip_delta));
    frame.set_u32::<26>(rewrite.source);
    frame.set_u32::<30>(rewrite.destination);
    frame.set_u16::<34>(rewrite.source_port);
    frame.set_u16::<36>(rewrite.destination_port);
    frame.set_u16::<50>(apply(frame.u16::<50>(), rewrite.tcp_delta));
    rewrite.packets = rewrite.packets.wrapping_add(1);
    rewrite.bytes = rewrite.bytes.wrapping_add(u32::from(u16::from_be(frame.u16::<16>())));
    // SAFETY: no arguments, no side effects; kernel 5.5.
    rewrite.last_seen = unsafe { bpf_jiffies64() } as u32;
    Some(onward())
}

#[inline(always)]
fn onward() -> u32 {
    DEVICES.redirect(ONWARD, u64::from(xdp_action::XDP_ABORTED)).unwrap_or_else(|action| action)
}
