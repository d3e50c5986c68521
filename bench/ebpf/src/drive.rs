//! Drives a program under test over all flows within one BPF_PROG_TEST_RUN.
//!
//! The kernel runs a program again and again on one buffer without restoring it. These write the frame of the next
//! flow into the buffer and tail-call the program under test; the next run finds there what that made of it.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use crate::frame;
use crate::maps::{DRIVE, FORWARD, PROGRAMS, REVERSE};
use crate::records::{Drive, Tuple};

/// Segments of the clients.
#[xdp]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn forward(ctx: XdpContext) -> u32 {
    drive(&ctx, &FORWARD, |_, _| ()).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Segments of the targets.
#[xdp]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn reverse(ctx: XdpContext) -> u32 {
    drive(&ctx, &REVERSE, |_, _| ()).unwrap_or(xdp_action::XDP_ABORTED)
}

/// Segments of the clients, and notes from what became of each one how its target will answer.
#[xdp]
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
    let frame = frame::window(ctx)?;
    let position = drive.position;
    if frame::was_forwarded(&frame) {
        drive.forwarded += 1;
        let previous = if position == 0 { drive.count } else { position } - 1;
        learn(previous, frame::answer(&frame));
    }
    drive.position = if position + 1 == drive.count { 0 } else { position + 1 };
    frame::write(&frame, tuples.get(position)?, drive);
    // SAFETY: nothing here needs to be dropped.
    unsafe { PROGRAMS.tail_call(ctx, drive.program) };
    None
}
