//! Functions that the verifier checks once, by themselves, whatever their callers know (global functions, Linux
//! 5.6). They take and return plain numbers, and the program's context.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::admit;
use privatelink_common::engine::lease::{self, Wanted};
use privatelink_common::engine::open::{self, Opening, TargetPort};
use privatelink_common::engine::refused;
use privatelink_common::ethernet::Tags;
use privatelink_common::flow_table::life::{self, Pressure};
use privatelink_common::flow_table::note::{self, Told};
use privatelink_common::flow_table::record::Place;
use privatelink_common::flow_table::{FlowMemory as _, free, index, totals};
use privatelink_common::ip::Family;
use privatelink_common::ipv4;
use privatelink_common::records::Listener;
use privatelink_common::tables::{Tables, WideTables as _};
use privatelink_common::ticks::Tick;
use privatelink_common::wide;

use crate::events;
use crate::maps::{self, KernelTables, WideKernelTables};
use crate::packet::{self, XdpPacket};
use crate::skb::SkbPacket;

/// Declares the functions of one of the two flow tables. Each needs a name of its own: it is by its name that the kernel is told
/// that a function is global.
macro_rules! functions {
    ($tables:expr, $other:expr, $flow_find:ident, $flow_owner:ident, $flow_suits:ident, $flow_insert:ident, $flow_remove:ident, $flow_sweep:ident, $flow_cut:ident, $flow_count_ended:ident, $flow_claim:ident, $flow_note:ident, $flow_establish:ident, $flow_choose_target:ident, $flow_choose_lease:ident, $flow_admit:ident, $flow_lease:ident, $udp_lease:ident, $flow_renew:ident, $flow_open:ident, $tell_ended:ident) => {
        /// [`index::find`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_find(addresses: u64, ports: u64) -> u64 {
            index::find(&$tables, [addresses, ports]).0
        }

        /// [`index::owner`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_owner(number: u32) -> u32 {
            index::owner(&$tables, number)
        }

        /// [`lease::suits`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_suits(addresses: u64, ports: u64, picky: u32) -> u32 {
            u32::from(lease::suits(&$tables, &$other, [addresses, ports], picky != 0))
        }

        /// [`index::insert`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_insert(addresses: u64, ports: u64, number: u32) -> u32 {
            index::insert(&$tables, [addresses, ports], number) as u32
        }

        /// [`index::remove`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_remove(number: u32) -> u32 {
            index::remove(&$tables, number);
            0
        }

        /// [`life::sweep`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_sweep(number: u32, pressure: u32, now: u32) -> u32 {
            u32::from(life::sweep(&$tables, number, Pressure::from_number(pressure), Tick(now)))
        }

        /// [`life::cut`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_cut(number: u32, place: u64, now: u32) -> u32 {
            u32::from(life::cut(&$tables, number, Place(place), Tick(now)))
        }

        /// [`totals::count_ended`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_count_ended(number: u32) -> u32 {
            totals::count_ended(&$tables, number);
            0
        }

        /// [`free::claim`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_claim(
            addresses: u64,
            ports: u64,
            random: u32,
            now: u32,
        ) -> u32 {
            free::claim(&$tables, [addresses, ports], random, Tick(now))
        }

        /// [`note::note`], now; `told` is a [`Told`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_note(number: u32, told: u32) -> u32 {
            let now = ($tables.nanoseconds() / 1000) as u32;
            note::note(&$tables, number, Told::from_number(told), now);
            0
        }

        /// [`life::establish`], noted.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_establish(number: u32) -> u32 {
            if let Some(record) = $tables.record(number) {
                life::establish(&$tables, &record);
                $tables.note_told(number, Told::Ack);
            }
            0
        }

        /// [`open::choose_target`]; `asked` is the pool, above it the service.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_choose_target(
            addresses: u64,
            ports: u64,
            asked: u64,
            flags: u32,
        ) -> u32 {
            let listener = Listener {
                endpoint: 0,
                service: (asked >> 32) as u32,
                load_balancer: 0,
                pool: asked as u32,
                flags,
                padding: 0,
            };
            open::choose_target(&$tables, [addresses, ports], &listener).0
        }

        /// [`lease::choose`]; `target` is a [`TargetPort`], `wanted` a [`Wanted`], above it the protocol.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_choose_lease(
            balancer: u32,
            target: u32,
            endpoint: u32,
            wanted: u32,
        ) -> u64 {
            let (protocol, wanted) = ((wanted >> 8) as u8, wanted as u8);
            let wanted = match wanted {
                0 => Wanted::Free,
                _ => Wanted::Any,
            };
            lease::choose(&$tables, balancer, TargetPort(target), endpoint, protocol, wanted).0
        }

        /// [`admit::admit`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_admit(addresses: u64, ports: u64, endpoint: u32) -> u64 {
            number_or_reason(admit::admit(&$tables, [addresses, ports], endpoint))
        }

        /// [`lease::lease`] of TCP; `whose` is the claimed half, above it the endpoint; `way` is the [`TargetPort`], above it the
        /// load balancer.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_lease(
            addresses: u64,
            ports: u64,
            whose: u64,
            way: u64,
            sequence: u32,
        ) -> u64 {
            let opening = opening([addresses, ports], whose, way, sequence);
            number_or_reason(lease::lease(&$tables, &opening, ipv4::TCP))
        }

        /// As [`flow_lease`], of UDP. One function that is told the protocol would need more of the stack.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $udp_lease(
            addresses: u64,
            ports: u64,
            whose: u64,
            way: u64,
        ) -> u64 {
            let opening = opening([addresses, ports], whose, way, 0);
            number_or_reason(lease::lease(&$tables, &opening, ipv4::UDP))
        }

        /// [`lease::renew`]; otherwise as [`flow_lease`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_renew(
            addresses: u64,
            ports: u64,
            whose: u64,
            way: u64,
            sequence: u32,
        ) -> u32 {
            lease::renew(&$tables, &opening([addresses, ports], whose, way, sequence))
        }

        /// [`open::open`]; otherwise as [`flow_lease`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $flow_open(
            addresses: u64,
            ports: u64,
            whose: u64,
            way: u64,
            reverse: u32,
        ) -> u64 {
            let opening = opening([addresses, ports], whose, way, 0);
            number_or_reason(open::open(&$tables, &opening, reverse))
        }

        /// Tells of a flow that has ended ([`privatelink_common::flow_event::Ended`]).
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $tell_ended(number: u32, place: u64, last: u32, now: u32) -> u32 {
            events::ended(&$tables, number, Place(place), [last, now]);
            0
        }
    };
}

functions!(
    KernelTables,
    WideKernelTables,
    flow_find,
    flow_owner,
    flow_suits,
    flow_insert,
    flow_remove,
    flow_sweep,
    flow_cut,
    flow_count_ended,
    flow_claim,
    flow_note,
    flow_establish,
    flow_choose_target,
    flow_choose_lease,
    flow_admit,
    flow_lease,
    udp_lease,
    flow_renew,
    flow_open,
    tell_ended
);
functions!(
    WideKernelTables,
    KernelTables,
    wide_find,
    wide_owner,
    wide_suits,
    wide_insert,
    wide_remove,
    wide_sweep,
    wide_cut,
    wide_count_ended,
    wide_claim,
    wide_note,
    wide_establish,
    wide_choose_target,
    wide_choose_lease,
    wide_admit,
    wide_lease,
    wide_udp_lease,
    wide_renew,
    wide_open,
    tell_wide_ended
);

/// A half's number, or above it the number of a drop reason.
const fn number_or_reason(outcome: Result<u32, DropReason>) -> u64 {
    match outcome {
        Ok(number) => number as u64,
        Err(reason) => (reason as u64) << 32,
    }
}

/// What [`number_or_reason`] has put into one word.
#[inline(always)]
pub(crate) fn outcome(word: u64) -> Result<u32, DropReason> {
    match DropReason::from_number((word >> 32) as u32) {
        None => Ok(word as u32),
        Some(reason) => Err(reason),
    }
}

/// `whose` and `way` of [`flow_lease`].
#[inline(always)]
pub(crate) const fn words(opening: &Opening) -> [u64; 2] {
    let Opening { endpoint, load_balancer, target, forward, .. } = *opening;
    [(endpoint as u64) << 32 | forward as u64, (load_balancer as u64) << 32 | target.0 as u64]
}

/// What the arguments of [`flow_lease`] stand for.
#[inline(always)]
const fn opening(key: [u64; 2], whose: u64, way: u64, sequence: u32) -> Opening {
    Opening {
        key,
        sequence,
        endpoint: (whose >> 32) as u32,
        load_balancer: (way >> 32) as u32,
        target: TargetPort(way as u32),
        forward: whose as u32,
    }
}

/// [`wide::leased`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn wide_leased(face: u32, target: u32, forward: u32, reverse: u32) -> u32 {
    let addresses = maps::wide_balancer(face);
    if let Some((addresses, &target)) = addresses.zip(WideKernelTables.wide_target(target)) {
        wide::leased(&WideKernelTables, [forward, reverse], addresses, target);
    }
    0
}

/// [`refused::tell`]; `reason` is a [`DropReason`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_refused(ctx: *mut xdp_md, slot: u32, reason: u32) -> u32 {
    if let Some(reason) = DropReason::from_number(reason) {
        let ctx = XdpContext::new(ctx);
        refused::tell(&XdpPacket(&ctx), &KernelTables, slot, reason);
    }
    0
}

/// [`tell_refused`] of a classifier's frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_skb_refused(ctx: *mut __sk_buff, slot: u32, reason: u32) -> u32 {
    if let Some(reason) = DropReason::from_number(reason) {
        let ctx = TcContext::new(ctx);
        refused::tell(&SkbPacket::of(&ctx), &KernelTables, slot, reason);
    }
    0
}

/// The same number, which the verifier takes for any: it does not look into a function that is global when it comes to a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn some_offset(offset: u32) -> u32 {
    core::hint::black_box(offset)
}

/// [`ipv4::sum_bytes`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn packet_sum(ctx: *mut xdp_md, offset: u32, length: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    ipv4::sum_bytes(&XdpPacket(&ctx), offset as usize, length as u16)
}

/// [`packet_sum`] of a classifier's frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn skb_sum(ctx: *mut __sk_buff, offset: u32, length: u32) -> u32 {
    let ctx = TcContext::new(ctx);
    ipv4::sum_bytes(&SkbPacket::of(&ctx), offset as usize, length as u16)
}

/// [`SkbPacket::change_frame`]: the words of the tags, and the old family and above it the new one, as in [`Family`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn skb_reframe(
    ctx: *mut __sk_buff,
    old: u64,
    new: u64,
    families: u32,
    shift: i32,
) -> u32 {
    let ctx = TcContext::new(ctx);
    let [old_family, family] = [families & 1, families >> 8 & 1].map(Family::from_number);
    let (old, new) = ((Tags::from_word(old), old_family), (Tags::from_word(new), family));
    u32::from(SkbPacket::of(&ctx).change_frame(old, new, shift))
}

/// [`SkbPacket::shift_start`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn skb_move_start(ctx: *mut __sk_buff, by: i32) -> u32 {
    let ctx = TcContext::new(ctx);
    u32::from(SkbPacket::of(&ctx).shift_start(by))
}

/// [`SkbPacket::put_header`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn skb_put_header(ctx: *mut __sk_buff) -> u32 {
    u32::from(SkbPacket::of(&TcContext::new(ctx)).put_header())
}

/// [`SkbPacket::probe`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn skb_unfinished(ctx: *mut __sk_buff, at: u32) -> u32 {
    let ctx = TcContext::new(ctx);
    u32::from(SkbPacket::of(&ctx).probe(at as usize))
}

/// [`SkbPacket::divided`]: the numbers of its result, 16 bits each; `what` is the length, and above it the protocol.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn skb_parts(ctx: *mut __sk_buff, offset: u32, what: u32) -> u64 {
    let ctx = TcContext::new(ctx);
    let (length, protocol) = (what as u16, (what >> 16) as u8);
    let offset = offset as usize % packet::OFFSETS_OF_SEGMENTS;
    let parts = SkbPacket::of(&ctx).divided(length, offset, protocol);
    u64::from(parts.packets) | u64::from(parts.header) << 16 | u64::from(parts.longest) << 32
}
