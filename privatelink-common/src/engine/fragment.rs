//! Fragments of UDP datagrams. The first one has the ports: it goes the way of a datagram, opens a flow where there is none,
//! and leaves what the others need. A later one that finds nothing is dropped, so what comes before its first is lost.
//!
//! A datagram leaves with another identification than it came with: two clients behind one load balancer address may have
//! sent theirs with the same, by chance or by intent, and the target would put one together from both.
//!
//! The map is of bounded size and forgets the datagrams of longest ago: a client that sends first fragments only, by the
//! thousand, costs others their later ones, but no memory.
//!
//! Where XDP leaves a first fragment to the classifier behind it, both leave the same word: the next fragments may be there
//! before the classifier has seen it.
//!
//! Who writes, and who may come between:
//!
//! - What a first fragment leaves is written by the CPU that has it, before it sends the fragment on. One that another CPU
//!   has at the same time may find nothing: it is lost, as one that came before.
//! - The map forgets by itself and uses the memory of an element anew at once, so another CPU may read one word of this
//!   datagram and one of the next. A fragment goes on only if the half in the first word has the key that the fragment's
//!   addresses and the ports in the second make. So it stays on the flow between those, at worst as a piece of another
//!   datagram of it.
//! - A half that was used anew has another key, unless the same client has the same port again: then the fragment goes to
//!   where that one's new flow goes, which has seen no first one.
//! - Two CPUs that have the same first fragment at once (a duplicate) may both choose an identification: the others go
//!   with one of them, and the datagram is whole with that one.

use super::udp::{self, Carried, Opener};
use super::{Ingress, Now, Refusal, Verdict, known, refuse};
use crate::checksum::{self, Delta};
use crate::drop_reason::DropReason;
use crate::ethernet::Ethernet;
use crate::flow_table::Found;
use crate::fragment::{Fragment, FragmentKey, Tracked};
use crate::hash::hash;
use crate::ipv4::{self, Addresses, Header};
use crate::limits::IDENTIFICATION_COUNTERS;
use crate::memory::Packet;
use crate::records::{Address, AddressKey, Settings};
use crate::stages::Stage;
use crate::tables::Tables;
use crate::udp::Datagram;

/// A datagram's first fragment.
struct First(Datagram);

/// A later one, whose header has the ports of the first, and the identification that it leaves with.
struct Later {
    header: Header,
    identification: u16,
}

#[inline(always)]
pub(super) fn step(
    packet: &mut impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let Some(settings) = tables.settings() else {
        return Ok(Verdict::Pass);
    };
    let now = Now { tick: tables.now(), settings };
    let ethernet = Ethernet::parse(packet)?;
    let offset = packet.standing(ethernet.tags).header();
    let reason = match Fragment::parse(packet, offset) {
        Ok(fragment) if fragment.is_first => match Datagram::of_fragment(packet, &fragment) {
            Ok(datagram) => {
                let first = First(datagram);
                let outcome = udp::received(packet, tables, ingress, &ethernet, &first);
                return outcome.or_else(|refusal| refuse(packet, tables, ingress, refusal));
            }
            Err(reason) => reason,
        },
        Ok(fragment) => match find(tables, now, ingress, &fragment) {
            Some((later, found)) => {
                let outcome = udp::forward(packet, tables, now, ingress, &ethernet, &later, &found);
                return known::counted(tables, &found, outcome)
                    .map_err(|refusal| silently(packet, tables, ingress, refusal));
            }
            None => DropReason::FragmentUnknown,
        },
        Err(reason) => reason,
    };
    let destination = Addresses::parse(packet, offset)?.destination;
    match tables.address(&AddressKey::new(ingress.interface.vpc, destination)) {
        None => return Ok(Verdict::Pass),
        Some(address)
            if reason == DropReason::FragmentUnknown && address.flags & Address::WIDE != 0 =>
        {
            return Ok(Verdict::Next(Stage::WideFragments));
        }
        Some(_) => {}
    }
    Err(silently(packet, tables, ingress, reason.into()))
}

/// Tells of a fragment that is refused, though not its sender: no ICMP error is about a later one (RFC 1122, section 3.2.2).
#[inline(always)]
fn silently(
    packet: &impl Packet,
    tables: &impl Tables,
    ingress: Ingress<'_>,
    refusal: Refusal,
) -> DropReason {
    let (reason, _) = refusal.parts();
    packet.tell_refused(tables, ingress.slot, reason);
    reason
}

/// The live flow that carries a later fragment, if the datagram's first one has left word of it.
#[inline(always)]
fn find<'t>(
    tables: &'t impl Tables,
    now: Now<'_>,
    ingress: Ingress<'_>,
    fragment: &Fragment,
) -> Option<(Later, Found<'t>)> {
    let vpc = ingress.interface.vpc;
    let tracked =
        tables.tracked(&FragmentKey::new(vpc, fragment.addresses, fragment.identification))?;
    let found = Found::of(tables, tracked.entry())?;
    let header = fragment.header(tracked.ports());
    let is_carried = tracked.is_fresh(now.tick, now.settings)
        && found.half.is(header.key(vpc).words())
        && known::is_live(tables, now, &found, false);
    is_carried.then_some((Later { header, identification: tracked.identification() }, found))
}

impl First {
    /// [`track`] of its datagram.
    #[inline(always)]
    fn track(
        &self,
        packet: &impl Packet,
        tables: &impl Tables,
        now: Now<'_>,
        found: &Found<'_>,
    ) -> Result<u16, DropReason> {
        let Header { offset, addresses, .. } = self.0.header;
        let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
        let [_, ports] = found.half.key_words();
        let key = FragmentKey::new((ports >> 32) as u16, addresses, ip.u16::<4>());
        Ok(track(tables, now, &key, found))
    }
}

impl Opener for First {
    /// The UDP checksum covers what is not here.
    #[inline(always)]
    fn verify(&self, packet: &impl Packet) -> Result<(), DropReason> {
        self.0.header.verify(packet)
    }
}

impl Carried for First {
    #[inline(always)]
    fn header(&self) -> &Header {
        &self.0.header
    }

    #[inline(always)]
    fn rewrite(
        &self,
        packet: &impl Packet,
        tables: &impl Tables,
        now: Now<'_>,
        found: &Found<'_>,
    ) -> Result<(), DropReason> {
        let identification = self.track(packet, tables, now, found)?;
        udp::rewrite(packet, &self.0, found.half)?;
        identify(packet, self.0.header.offset, identification)
    }

    #[inline(always)]
    fn leave(
        &self,
        packet: &impl Packet,
        tables: &impl Tables,
        now: Now<'_>,
        found: &Found<'_>,
    ) -> Result<(), DropReason> {
        self.track(packet, tables, now, found).map(|_| ())
    }
}

impl Carried for Later {
    #[inline(always)]
    fn header(&self) -> &Header {
        &self.header
    }

    #[inline(always)]
    fn rewrite(
        &self,
        packet: &impl Packet,
        _: &impl Tables,
        _: Now<'_>,
        found: &Found<'_>,
    ) -> Result<(), DropReason> {
        known::rewrite_ip(packet, &self.header, found.half)?;
        identify(packet, self.header.offset, self.identification)
    }
}

/// Leaves word for the fragments that follow a first one, and returns the identification that they are to have: the same
/// again for one that was sent twice.
#[inline(always)]
pub(super) fn track(
    tables: &impl Tables,
    now: Now<'_>,
    key: &FragmentKey,
    found: &Found<'_>,
) -> u16 {
    let [_, ports] = found.half.key_words();
    let ports = ports as u32;
    let before = tables.tracked(key).filter(|before| {
        let is_same = before.entry() == found.entry && before.ports() == ports;
        is_same && before.is_fresh(now.tick, now.settings)
    });
    let identification = match before {
        Some(before) => before.identification(),
        None => new_identification(tables, now.settings, found.half.new_addresses()),
    };
    tables.track(key, Tracked::new(found.entry, identification, ports, now.tick));
    identification
}

/// An identification between two addresses, which comes again there after 65 535 others at the earliest. Addresses that share
/// a counter take turns; nobody else can tell where one stands.
#[inline(always)]
fn new_identification(
    tables: &impl Tables,
    settings: &Settings,
    [source, destination]: [u32; 2],
) -> u16 {
    let addresses = u64::from(source) | u64::from(destination) << 32;
    let mixed = hash(settings.seeds.hash, addresses, 0);
    let counter = tables.identifications(mixed as u32 % IDENTIFICATION_COUNTERS);
    let taken = counter.map_or_else(|| u64::from(tables.random()), |counter| counter.add(1));
    taken.wrapping_add(mixed >> 32) as u16
}

/// Writes the identification.
#[inline(always)]
fn identify(packet: &impl Packet, offset: usize, identification: u16) -> Result<(), DropReason> {
    let ip = packet.window::<{ ipv4::HEADER }>(offset).ok_or(DropReason::Truncated)?;
    let delta = Delta::default().replace16(ip.u16::<4>(), identification).fold();
    ip.set_u16::<4>(identification);
    ip.set_u16::<10>(checksum::apply(ip.u16::<10>(), delta));
    Ok(())
}
