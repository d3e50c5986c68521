//! The programs of the object.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::macros::{classifier, tracepoint, xdp};
use aya_ebpf::programs::{TcContext, TracePointContext, XdpContext};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::{self, Verdict};
use privatelink_common::flow_table::ending::{BYTES, Ending, MOST};
use privatelink_common::memory::Packet as _;
use privatelink_common::records::interface_slots;
use privatelink_common::stages::Stage;
use privatelink_common::tables::Tables as _;
use privatelink_common::ticks::Tick;

use crate::hook::Hook;
use crate::maps::{CLOCK, Kernel, KernelTables, WideKernelTables};
use crate::packet::XdpPacket;
use crate::skb::SkbPacket;
use crate::watch;

const ENXIO: i32 = 6;
const EOPNOTSUPP: i32 = 95;

/// Declares the programs of the data path for both hooks, and those that run while packets are captured: `watch` is told of each
/// packet before the first and after the last that handles it.
macro_rules! data_path {
    ($($(#[$about:meta])* $name:ident, $watched:ident, $classifier:ident, $watched_classifier:ident: $carry:ident $(($stage:ident))?;)+) => {
        $(
            $(#[$about])*
            #[xdp(frags)]
            pub(crate) fn $name(ctx: XdpContext) -> u32 {
                $carry::<_, false>(&ctx $(, Stage::$stage)?)
            }

            /// The same, while packets are captured.
            #[xdp(frags)]
            pub(crate) fn $watched(ctx: XdpContext) -> u32 {
                data_path!(before $carry, ctx.ctx);
                watch::after(ctx.ctx, $carry::<_, true>(&ctx $(, Stage::$stage)?))
            }

            $(#[$about])*
            #[classifier]
            pub(crate) fn $classifier(ctx: TcContext) -> i32 {
                data_path!(first $carry, &ctx);
                TcContext::action($carry::<_, false>(&ctx $(, Stage::$stage)?))
            }

            /// The same, while packets are captured.
            #[classifier]
            pub(crate) fn $watched_classifier(ctx: TcContext) -> i32 {
                data_path!(first $carry, &ctx);
                let skb = ctx.skb.skb;
                data_path!(before $carry, skb);
                TcContext::action(watch::after(skb, $carry::<_, true>(&ctx $(, Stage::$stage)?)))
            }
        )+
    };
    (first carry, $ctx:expr) => {
        SkbPacket::of($ctx).begin_with_header()
    };
    (first $carry:ident, $ctx:expr) => {};
    (before carry, $frame:expr) => {
        watch::before($frame)
    };
    (before $carry:ident, $frame:expr) => {};
}

data_path! {
    /// The data path, on every interface of every vpc.
    privatelink, watched, tcx_privatelink, tcx_watched: carry;
    /// What is no TCP segment.
    other, watched_other, tcx_other, tcxw_other: carry_other;
    /// IPv4 fragments.
    fragments, watched_fragments, tcx_fragments, tcxw_fragments: carry_fragment;
    /// What may be of a flow in the wide table.
    wide, watched_wide, tcx_wide, tcxw_wide: carry_wide(Wide);
    /// What is of none there.
    wide_new, watched_new, tcx_wide_new, tcxw_new: carry_wide(WideNew);
    /// What is neither segment nor datagram there.
    wide_other, watched_wother, tcx_wide_other, tcxw_wother: carry_wide(WideOther);
    /// What was refused and is to be answered.
    refused, watched_refused, tcx_refused, tcxw_refused: carry_refused;
    /// Fragments there.
    wide_fragments, watched_wfrags, tcx_wfrags, tcxw_wfrags: carry_wide(WideFragments);
}

#[inline(always)]
fn carry<H: Hook, const WATCHED: bool>(ctx: &H) -> u32 {
    let tables = Kernel::<WATCHED, false>;
    let verdict = engine::process(&mut ctx.packet(), &tables, ctx.ifindex());
    match verdict {
        Verdict::Next(Stage::Other) => ctx.go_other::<WATCHED>(),
        Verdict::Next(Stage::Wide) => ctx.go_wide::<WATCHED>(),
        _ => {}
    }
    act::<H, WATCHED>(ctx, verdict)
}

#[inline(always)]
fn carry_other<H: Hook, const WATCHED: bool>(ctx: &H) -> u32 {
    let tables = Kernel::<WATCHED, false>;
    act::<H, WATCHED>(ctx, engine::process_other(&mut ctx.packet(), &tables, ctx.ifindex()))
}

#[inline(always)]
fn carry_refused<H: Hook, const WATCHED: bool>(ctx: &H) -> u32 {
    let tables = Kernel::<WATCHED, false>;
    act::<H, WATCHED>(ctx, engine::process_refused(&mut ctx.packet(), &tables, ctx.ifindex()))
}

#[inline(always)]
fn carry_wide<H: Hook, const WATCHED: bool>(ctx: &H, stage: Stage) -> u32 {
    let tables = Kernel::<WATCHED, true>;
    act::<H, WATCHED>(ctx, engine::process_wide(stage, &mut ctx.packet(), &tables, ctx.ifindex()))
}

#[inline(always)]
fn carry_fragment<H: Hook, const WATCHED: bool>(ctx: &H) -> u32 {
    let tables = Kernel::<WATCHED, false>;
    act::<H, WATCHED>(ctx, engine::process_fragment(&mut ctx.packet(), &tables, ctx.ifindex()))
}

/// What is to become of the frame, in XDP's words.
#[inline(always)]
fn act<H: Hook, const WATCHED: bool>(ctx: &H, verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Next(stage) => {
            // It comes back only where no program is there: the daemon attaches none before the others are.
            ctx.go(stage, WATCHED);
            if stage.is_wide() { xdp_action::XDP_PASS } else { xdp_action::XDP_ABORTED }
        }
        Verdict::Redirect(slot) => {
            if WATCHED {
                watch::leaves_by(slot);
            }
            ctx.send::<WATCHED>(slot)
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
