//! Drives a program under test over all flows within one BPF_PROG_TEST_RUN.
//!
//! The kernel runs a program again and again on one buffer without restoring it. These write the frame of the next
//! flow into the buffer and tail-call the program under test; the next run finds there what that made of it.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use crate::frame::{Form, Tcp, TcpOverIpv6, Udp};
use crate::maps::{DRIVE, FORWARD, PROGRAMS, REVERSE};
use crate::records::{Drive, TCP, TCP_OVER_IPV6, Tuple, UDP};

/// Segments of the clients.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn forward(ctx: XdpContext) -> u32 {
    drive(&ctx, &FORWARD, |_, _| ()).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Segments of the targets.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn reverse(ctx: XdpContext) -> u32 {
    drive(&ctx, &REVERSE, |_, _| ()).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Segments of the clients, and notes from what became of each one how its target will answer.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn open(ctx: XdpContext) -> u32 {
    let learn = |index, answer| {
        if let Some(tuple) = REVERSE.get_ptr_mut(index) {
            // SAFETY: one run at a time writes here, and nobody reads meanwhile.
            unsafe { *tuple = answer };
        }
    };
    drive(&ctx, &FORWARD, learn).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Does not return where the tail call succeeds; `None` where anything is missing.
#[inline(always)]
fn drive(ctx: &XdpContext, tuples: &Array<Tuple>, learn: impl Fn(u32, Tuple)) -> Option<u32> {
    // SAFETY: one run at a time; userspace reads and writes between calls only.
    let drive: &mut Drive = unsafe { &mut *DRIVE.get_ptr_mut(0)? };
    match drive.form {
        TCP => next::<Tcp>(ctx, drive, tuples, learn)?,
        UDP => next::<Udp>(ctx, drive, tuples, learn)?,
        TCP_OVER_IPV6 => next::<TcpOverIpv6>(ctx, drive, tuples, learn)?,
        _ => return None,
    }
    // SAFETY: nothing here needs to be dropped.
    unsafe { PROGRAMS.tail_call(ctx, drive.program) };
    None
}

/// Looks at what became of the last frame, and writes the next one.
#[inline(always)]
fn next<F: Form>(
    ctx: &XdpContext,
    drive: &mut Drive,
    tuples: &Array<Tuple>,
    learn: impl Fn(u32, Tuple),
) -> Option<()> {
    let position = drive.position;
    if F::was_forwarded(ctx)? {
        drive.forwarded += 1;
        let previous = if position == 0 { drive.count } else { position } - 1;
        learn(previous, F::answer(ctx)?);
    }
    drive.position = if position + 1 == drive.count { 0 } else { position + 1 };
    F::write(ctx, tuples.get(position)?, drive)
}
