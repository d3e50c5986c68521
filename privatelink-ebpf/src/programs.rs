//! The programs of the object.

#[cfg(target_arch = "bpf")]
use core::arch::asm;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::macros::{tracepoint, xdp};
use aya_ebpf::programs::{TracePointContext, XdpContext};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::{self, Verdict};
use privatelink_common::flow_table::ending::{BYTES, Ending, MOST};
use privatelink_common::memory::Packet as _;
use privatelink_common::records::interface_slots;
use privatelink_common::stages::Stage;
use privatelink_common::tables::Tables as _;
use privatelink_common::ticks::Tick;

use crate::maps::{CLOCK, DEVICES, Kernel, KernelTables, STAGES, WideKernelTables};
use crate::packet::XdpPacket;
use crate::watch;

/// What to do when the device map has no interface in the slot: the low bits of the flags.
const OTHERWISE_DROP: u64 = xdp_action::XDP_DROP as u64;

const ENXIO: i32 = 6;
const EOPNOTSUPP: i32 = 95;

/// Goes on in a stage's program at once, by a call with the stage's place in the map as part of the instruction: the kernel makes
/// a jump of it. A call that is told the place goes by a pointer, which a kernel with retpolines is slow to follow. It comes back
/// where there is no program.
#[cfg(target_arch = "bpf")]
macro_rules! jump {
    ($watched:ident, $ctx:ident, $stage:ident) => {
        // SAFETY: the context is valid while the program runs; the call changes no registers but those named.
        unsafe {
            asm!(
                "r3 = {place}",
                "call 12",
                place = const Stage::$stage.place($watched),
                inlateout("r1") $ctx.ctx => _,
                inlateout("r2") &raw const STAGES => _,
                lateout("r0") _,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
            );
        }
    };
}

/// Declares the programs of the data path, and those that run while packets are captured: `watched` is told of each packet
/// before the first and after the last that handles it.
macro_rules! data_path {
    ($($(#[$about:meta])* $name:ident, $watched:ident: $($stage:ident)?;)+) => {
        $(
            $(#[$about])*
            #[xdp]
            pub(crate) fn $name(ctx: XdpContext) -> u32 {
                data_path!(run false, &ctx, $($stage)?)
            }

            /// The same, while packets are captured.
            #[xdp]
            pub(crate) fn $watched(ctx: XdpContext) -> u32 {
                watch::after(ctx.ctx, data_path!(run true, &ctx, $($stage)?))
            }
        )+
    };
    (run $watched:literal, $ctx:expr,) => {{
        if $watched {
            watch::before($ctx.ctx);
        }
        carry::<$watched>($ctx)
    }};
    (run $watched:literal, $ctx:expr, Other) => {
        carry_other::<$watched>($ctx)
    };
    (run $watched:literal, $ctx:expr, Fragments) => {
        carry_fragment::<$watched>($ctx)
    };
    (run $watched:literal, $ctx:expr, Refused) => {
        carry_refused::<$watched>($ctx)
    };
    (run $watched:literal, $ctx:expr, $stage:ident) => {
        carry_wide::<$watched>($ctx, Stage::$stage)
    };
}

data_path! {
    /// The data path, on every interface of every vpc.
    privatelink, watched:;
    /// What is no TCP segment.
    other, watched_other: Other;
    /// IPv4 fragments.
    fragments, watched_fragments: Fragments;
    /// What may be of a flow in the wide table.
    wide, watched_wide: Wide;
    /// What is of none there.
    wide_new, watched_new: WideNew;
    /// What is neither segment nor datagram there.
    wide_other, watched_wother: WideOther;
    /// What was refused and is to be answered.
    refused, watched_refused: Refused;
    /// Fragments there.
    wide_fragments, watched_wfrags: WideFragments;
}

#[inline(always)]
fn carry<const WATCHED: bool>(ctx: &XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let tables = Kernel::<WATCHED, false>;
    let verdict = engine::process(&mut XdpPacket(ctx), &tables, ifindex);
    // Clippy compiles for the host, which has no such registers.
    #[cfg(target_arch = "bpf")]
    match verdict {
        Verdict::Next(Stage::Other) => jump!(WATCHED, ctx, Other),
        Verdict::Next(Stage::Wide) => jump!(WATCHED, ctx, Wide),
        _ => {}
    }
    act::<WATCHED>(ctx, verdict)
}

#[inline(always)]
fn carry_other<const WATCHED: bool>(ctx: &XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let tables = Kernel::<WATCHED, false>;
    act::<WATCHED>(ctx, engine::process_other(&mut XdpPacket(ctx), &tables, ifindex))
}

#[inline(always)]
fn carry_refused<const WATCHED: bool>(ctx: &XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let tables = Kernel::<WATCHED, false>;
    act::<WATCHED>(ctx, engine::process_refused(&mut XdpPacket(ctx), &tables, ifindex))
}

#[inline(always)]
fn carry_wide<const WATCHED: bool>(ctx: &XdpContext, stage: Stage) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let tables = Kernel::<WATCHED, true>;
    act::<WATCHED>(ctx, engine::process_wide(stage, &mut XdpPacket(ctx), &tables, ifindex))
}

#[inline(always)]
fn carry_fragment<const WATCHED: bool>(ctx: &XdpContext) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let tables = Kernel::<WATCHED, false>;
    act::<WATCHED>(ctx, engine::process_fragment(&mut XdpPacket(ctx), &tables, ifindex))
}

#[inline(always)]
fn act<const WATCHED: bool>(ctx: &XdpContext, verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Next(stage) => {
            // SAFETY: the context is valid while the program runs. It comes back only where no program is there: the daemon
            // attaches none before the others are.
            unsafe { STAGES.tail_call(ctx, stage.place(WATCHED)) };
            if stage.is_wide() { xdp_action::XDP_PASS } else { xdp_action::XDP_ABORTED }
        }
        Verdict::Redirect(slot) => {
            if WATCHED {
                watch::leaves_by(slot);
            }
            DEVICES.redirect(slot, OTHERWISE_DROP).unwrap_or_else(|action| {
                Kernel::<WATCHED, false>::count(slot, DropReason::InterfaceGone, 1);
                action
            })
        }
    }
}

/// Tells the daemon the kernel's jiffies, which user space cannot read. Run by BPF_PROG_TEST_RUN.
#[xdp]
pub(crate) fn clock(_ctx: XdpContext) -> u32 {
    if let Some(clock) = CLOCK.get_ptr_mut(0) {
        // SAFETY: one daemon runs this, one call at a time.
        unsafe { (*clock).jiffies = bpf_jiffies64() };
    }
    xdp_action::XDP_PASS
}

/// Ends the flows that the daemon has found, and returns how many it did. Run by BPF_PROG_TEST_RUN.
#[xdp]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn end_flows(ctx: XdpContext) -> u32 {
    let frame = XdpPacket(&ctx);
    let words = |at: usize| frame.chunk(at * BYTES, BYTES).map(|[a, b, c, d, ..]| [a, b, c, d]);
    let Some([now, count, ..]) = words(0) else {
        return 0;
    };
    let mut ended = 0;
    for at in 1..=MOST {
        if at > count as usize {
            break;
        }
        if let Some(ending) = words(at) {
            let ending = Ending::from_words(ending);
            ended += u32::from(match ending.in_wide() {
                Some(ending) => ending.carry_out(&WideKernelTables, Tick(now)),
                None => ending.carry_out(&KernelTables, Tick(now)),
            });
        }
    }
    ended
}

/// Counts frames that an interface refused after the redirect: the kernel reports them nowhere else.
///
/// Fields of tracepoint xdp:xdp_devmap_xmit, unchanged since kernel 5.6.
#[tracepoint]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn xmit(ctx: TracePointContext) -> u32 {
    const TO_IFINDEX: usize = 16;
    const DROPS: usize = 20;
    const ERROR: usize = 28;
    // SAFETY: the offsets lie within the tracepoint's 32 bytes.
    let field = |offset| unsafe { ctx.read_at::<i32>(offset) };
    if let (Ok(to), Ok(drops), Ok(error)) = (field(TO_IFINDEX), field(DROPS), field(ERROR)) {
        count_refused(to, error, drops);
    }
    0
}

/// Counts frames that could not even be queued for the interface they had to leave by.
///
/// Fields of tracepoint xdp:xdp_redirect_err, unchanged since kernel 5.6.
#[tracepoint]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
pub(crate) fn redirect_err(ctx: TracePointContext) -> u32 {
    const ERROR: usize = 20;
    const TO_IFINDEX: usize = 24;
    // SAFETY: the offsets lie within the tracepoint's 36 bytes.
    let field = |offset| unsafe { ctx.read_at::<i32>(offset) };
    if let (Ok(to), Ok(error)) = (field(TO_IFINDEX), field(ERROR)) {
        count_refused(to, error, 1);
    }
    0
}

/// A veth whose far end has neither GRO nor an XDP program, and no NAPI thus, refuses by ENXIO (veth_xdp_xmit), or since
/// kernel 6.3 by EOPNOTSUPP before that (veth_set_xdp_features).
#[inline(always)]
fn count_refused(to: i32, error: i32, frames: i32) {
    if frames <= 0 {
        return;
    }
    let no_receiver = error == -ENXIO || error == -EOPNOTSUPP;
    let reason = if no_receiver { DropReason::NoReceiver } else { DropReason::RedirectFailed };
    let to = to as u32;
    for slot in interface_slots(to) {
        if KernelTables.interface(slot).is_some_and(|interface| interface.ifindex == to) {
            KernelTables::count(slot, reason, frames as u64);
        }
    }
}
