//! What the watched program does besides: keeps a packet's first bytes as it arrived, and tells of it once it was
//! handled. Nothing here can keep a packet up: what finds no room is counted.

use core::hint::black_box;

use aya_ebpf::bindings::{BPF_RB_NO_WAKEUP, xdp_action};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use privatelink_common::capture::{Asked, Captured, Counts, HEADERS, MAX_SNAPLEN, Order, Subject};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_table::FlowMemory as _;
use privatelink_common::limits::INTERFACE_SLOTS;
use privatelink_common::memory::{CHUNK, Packet, Shared, Window};
use privatelink_common::records::interface_slots;
use privatelink_common::tables::Tables;

use crate::hook::Frame;
use crate::maps::{KernelTables, WideKernelTables};

/// Bytes of the ring that packets are told through, a power of two.
const RING: u32 = 4 << 20;
/// Bytes of a packet, before and after.
const BYTES: usize = 2 * MAX_SNAPLEN as usize;

#[map]
static CAPTURE: Array<Order> = Array::with_max_entries(1, 0);
#[map]
static CAPTURED: RingBuf = RingBuf::with_byte_size(RING, 0);
#[map]
static CAPTURE_COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(INTERFACE_SLOTS, 0);
#[map]
static CAPTURE_CPU: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
// In the upper half a second, in the lower how many packets were told in it.
#[map]
static CAPTURE_RATE: Array<Shared> = Array::with_max_entries(1, 0);

/// The packet that a CPU handles, as it will be told.
#[repr(C, align(8))]
struct Scratch {
    captured: Captured,
    bytes: [u8; BYTES],
    /// What it is looked for by.
    asked: Asked,
    /// Bytes kept as it arrived; 0 where nothing is captured.
    kept: u32,
    /// Packets wanted so far, for sampling.
    wanted: u32,
}

impl Scratch {
    #[inline(always)]
    fn of_this_cpu() -> Option<&'static mut Self> {
        // SAFETY: the element is this CPU's own, and XDP is not interrupted by XDP; no two references to it live at
        // once, since the functions here only call one another before they take it or after they have used it.
        CAPTURE_CPU.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
    }

    /// Copies the first bytes of the packet, as it is, to `at`.
    #[inline(always)]
    fn load(&mut self, frame: impl Frame, at: u32, len: u32) -> bool {
        // The verifier learns the bounds here, and LLVM, which may know better, must not take them out. Linux 6.1 learns
        // them from whole words only, and from a length that is tested in two steps not that it is no zero.
        let (at, rest) = (black_box(at as usize), black_box((len as usize).wrapping_sub(1)));
        if at > MAX_SNAPLEN as usize || rest >= MAX_SNAPLEN as usize {
            return false;
        }
        let len = rest as u32 + 1;
        // SAFETY: in bounds by the test above.
        unsafe { frame.load(self.bytes.as_mut_ptr().add(at), len) }
    }
}

/// The first bytes of the packet as it arrived.
struct Head<'s>(&'s Scratch);

impl Packet for Head<'_> {
    fn len(&self) -> usize {
        self.0.captured.length_before as usize
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Window<'_, N>> {
        let end = offset + N;
        if end > HEADERS as usize || end > self.0.kept as usize {
            return None;
        }
        // Changes nothing, but it is where the verifier learns the bound: what it knew of the offset, it has forgotten.
        let offset = black_box(offset) % HEADERS as usize;
        // SAFETY: in bounds by the test above, and nobody else writes there; only read by who has a head.
        Some(unsafe { Window::new(self.0.bytes.as_ptr().add(offset).cast_mut()) })
    }

    fn chunk(&self, _: usize, _: usize) -> Option<[u32; CHUNK / 4]> {
        None
    }

    fn move_start(&mut self, _: i32) -> bool {
        false
    }

    fn truncate(&mut self, _: usize) -> bool {
        false
    }
}

/// Keeps the packet's first bytes as it arrives, if a daemon wants any.
#[inline(never)]
pub(crate) fn before(frame: impl Frame) {
    let (Some(order), Some(scratch)) = (CAPTURE.get(0), Scratch::of_this_cpu()) else {
        return;
    };
    scratch.kept = 0;
    if order.until.wrapping_sub(KernelTables.now().0) as i32 <= 0 {
        return;
    }
    let len = frame.length();
    let keep = len.min(order.snaplen.max(HEADERS));
    if scratch.load(frame, 0, keep) {
        scratch.kept = keep;
        scratch.captured.length_before = len;
        scratch.captured.reason = 0;
        scratch.captured.egress = 0;
    }
}

/// Notes why the packet is counted as dropped.
#[inline(always)]
pub(crate) fn dropped(reason: DropReason) {
    if let Some(scratch) = Scratch::of_this_cpu() {
        scratch.captured.reason = reason as u32;
    }
}

/// Notes which slot's interface the packet is to leave by.
#[inline(always)]
pub(crate) fn leaves_by(slot: u32) {
    if let (Some(scratch), Some(interface)) = (Scratch::of_this_cpu(), KernelTables.interface(slot))
    {
        scratch.captured.egress = interface.ifindex;
    }
}

/// Tells of the packet, if it is wanted; the action again, so that the program need not keep it meanwhile.
#[inline(never)]
pub(crate) fn after(frame: impl Frame, action: u32) -> u32 {
    tell(frame, action);
    action
}

#[inline(always)]
fn tell(frame: impl Frame, action: u32) {
    let ifindex = frame.ifindex();
    let slot = capture_slot(ifindex, action);
    if slot >= INTERFACE_SLOTS || capture_read(slot) == 0 {
        return;
    }
    if capture_flow() == 0 && capture_wide() == 0 {
        capture_sender();
    }
    if capture_judge(slot) == 0 {
        return;
    }
    let (Some(order), Some(scratch), Some(counts)) =
        (CAPTURE.get(0), Scratch::of_this_cpu(), CAPTURE_COUNTS.get_ptr_mut(slot))
    else {
        return;
    };
    let before = scratch.kept.min(order.snaplen).min(MAX_SNAPLEN);
    let len = frame.length();
    let left = action == xdp_action::XDP_REDIRECT;
    let mut after = if left { len.min(order.snaplen).min(MAX_SNAPLEN) } else { 0 };
    if left && !scratch.load(frame, before, after) {
        after = 0;
    }
    let captured = &mut scratch.captured;
    captured.run = order.run;
    captured.ingress = ifindex;
    captured.action = action;
    if !left {
        captured.egress = 0;
    }
    captured.length_after = len;
    captured.before = before;
    captured.after = after;
    let size = black_box(size_of::<Captured>() as u32 + before + after) as usize;
    if size > size_of::<Captured>() + BYTES {
        return;
    }
    // SAFETY: in bounds by the test above; the scratch begins with what is told.
    let told =
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(scratch).cast::<u8>(), size) };
    if CAPTURED.output::<[u8]>(told, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        // SAFETY: the element is this CPU's own.
        unsafe { (*counts).lost += 1 };
    }
}

// What follows are functions that the verifier checks once, each with the stack for itself: they tell one another by what they leave
// in the scratch.

/// The slot of the interface that the packet came in by, if it may be wanted by what becomes of it; else one that there is not.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_slot(ifindex: u32, action: u32) -> u32 {
    let (Some(order), Some(scratch)) = (CAPTURE.get(0), Scratch::of_this_cpu()) else {
        return INTERFACE_SLOTS;
    };
    let dropped = scratch.captured.reason != 0;
    if scratch.kept == 0 || !order.wants_kind(action == xdp_action::XDP_PASS, dropped) {
        return INTERFACE_SLOTS;
    }
    for slot in interface_slots(ifindex) {
        if KernelTables.interface(slot).is_some_and(|interface| interface.ifindex == ifindex) {
            return slot;
        }
    }
    INTERFACE_SLOTS
}

/// Reads what the packet is looked for by, if anything; whether there is a scratch.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_read(slot: u32) -> u32 {
    let (Some(scratch), Some(interface)) = (Scratch::of_this_cpu(), KernelTables.interface(slot))
    else {
        return 0;
    };
    scratch.captured.subject = Subject::UNKNOWN;
    scratch.asked =
        Asked::of(&KernelTables, &Head(scratch), interface.vpc).unwrap_or(Asked::NOTHING);
    1
}

/// Finds out what the packet is about, if it has a flow in the narrow table.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_flow() -> u32 {
    about_flow(&KernelTables)
}

/// The same in the wide table.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_wide() -> u32 {
    about_flow(&WideKernelTables)
}

#[inline(always)]
fn about_flow(tables: &impl Tables) -> u32 {
    let Some(scratch) = Scratch::of_this_cpu() else {
        return 0;
    };
    match Subject::of_flow(tables, &scratch.asked) {
        Some(subject) => {
            scratch.captured.subject = subject;
            1
        }
        None => 0,
    }
}

/// The same where it has none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_sender() -> u32 {
    if let Some(scratch) = Scratch::of_this_cpu() {
        scratch.captured.subject = Subject::without_flow(&WideKernelTables, &scratch.asked);
    }
    0
}

/// Whether the packet is to be told.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_judge(slot: u32) -> u32 {
    u32::from(judge(slot).is_some())
}

#[inline(always)]
fn judge(slot: u32) -> Option<()> {
    let (order, scratch) = (CAPTURE.get(0)?, Scratch::of_this_cpu()?);
    if !order.wants(&scratch.captured.subject) {
        return None;
    }
    // SAFETY: the element is this CPU's own.
    let counts = unsafe { &mut *CAPTURE_COUNTS.get_ptr_mut(slot)? };
    counts.wanted += 1;
    scratch.wanted = scratch.wanted.wrapping_add(1);
    if order.sample > 1 && scratch.wanted % order.sample != 0 {
        counts.sampled_out += 1;
        return None;
    }
    if !is_within(order.rate) {
        counts.rate_limited += 1;
        return None;
    }
    // SAFETY: no arguments, no side effects.
    scratch.captured.time = unsafe { bpf_ktime_get_ns() };
    Some(())
}

/// Whether one more packet may be told in this second. The word is written only while it may: what is beyond the rate
/// reads a line that nobody writes. As many more as there are CPUs may slip through.
#[inline(always)]
fn is_within(rate: u32) -> bool {
    let (Some(word), Some(settings)) = (CAPTURE_RATE.get(0), KernelTables.settings()) else {
        return false;
    };
    let second = KernelTables.now().0.checked_div(settings.second).unwrap_or(0);
    let told = word.get();
    if (told >> 32) as u32 != second {
        // Who loses finds what the winner wrote.
        word.exchange(told, u64::from(second) << 32);
    }
    (word.get() as u32) < rate && (word.add(1) as u32) < rate
}
