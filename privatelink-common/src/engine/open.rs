//! A new flow: who may open it, where it goes, and the lease it gets.

use super::Refusal;
use super::route::Route;
use crate::drop_reason::DropReason;
use crate::flow_table::half::Direction;
use crate::flow_table::record::{NewFlow, Record};
use crate::flow_table::{Entry, Found, Insert, life, totals};
use crate::hash::hash;
use crate::maglev::NO_TARGET;
use crate::records::{FlowKey, Listener};
use crate::tables::Tables;

/// The listener that a packet with this key is for, if its source can be a client.
#[inline(always)]
pub(super) fn listener<'t>(
    tables: &'t impl Tables,
    key: &FlowKey,
) -> Result<&'t Listener, DropReason> {
    let FlowKey { source, destination, destination_port, vpc, protocol, .. } = *key;
    if !may_be_client(source) || source == destination {
        return Err(DropReason::SourceAddress);
    }
    tables.listener(vpc, destination, protocol, destination_port).ok_or(DropReason::NoListener)
}

/// Whether the endpoint of a listener lets the sender of a packet reach it; `opens` where the packet asks for a flow. An
/// endpoint that is not available opens none, but in mid-stream its clients may learn that theirs have ended.
#[inline(always)]
pub(super) fn permit(
    tables: &impl Tables,
    listener: &Listener,
    key: &FlowKey,
    opens: bool,
) -> Result<(), DropReason> {
    let endpoint = tables.endpoint(listener.endpoint).ok_or(DropReason::EndpointNotAvailable)?;
    if !endpoint.allows(key.protocol, key.source, key.destination_port) {
        return Err(DropReason::SecurityGroup);
    }
    if endpoint.available == 0 && opens {
        return Err(DropReason::EndpointNotAvailable);
    }
    Ok(())
}

/// Opens a flow to a listener for a packet with this key, as words; `sequence` is a SYN's number. `carries` tells whether the way
/// to a target carries it; `claimed` is told the number of the half that will have the key.
#[inline(always)]
pub(super) fn flow<'t>(
    tables: &'t impl Tables,
    key: [u64; 2],
    sequence: u32,
    listener: &Listener,
    carries: impl FnOnce(&Route<'_>, u32) -> Result<(), Refusal>,
    claimed: impl FnOnce(u32),
) -> Result<Found<'t>, Refusal> {
    let Listener { endpoint, load_balancer, .. } = *listener;
    let target = tables.choose_target(key, listener);
    let to = tables.target(target.number()).ok_or(DropReason::NoTarget)?;
    carries(&Route::to_target(tables, to)?, target.number())?;
    let forward = tables.admit(key, endpoint)?;
    claimed(forward);
    let load_balancer = tables.face(load_balancer, target.number());
    let opening = Opening { key, sequence, endpoint, load_balancer, target, forward };
    let leased = tables.lease(&opening);
    if leased == Err(DropReason::LeaseExhausted) {
        totals::count_exhausted(tables, endpoint, target.number());
    }
    let reverse = leased?;
    tables.leased(&opening, reverse);
    let number = tables.open(&opening, reverse)?;
    let half = tables.half(number).ok_or(DropReason::FlowTableFull)?;
    Ok(Found { half, entry: Entry::new(number, Direction::Forward) })
}

/// Whether an address (network order) can be a single host's on a network: not 0/8, 127/8, nor 224/3.
#[inline(always)]
pub(super) const fn may_be_client(address: u32) -> bool {
    let first = u32::from_be(address) >> 24;
    first != 0 && first != 127 && first < 224
}

/// The target of a listener's pool that a new flow goes to, or [`TargetPort::NONE`].
#[inline(always)]
pub fn choose_target<T: Tables + ?Sized>(
    tables: &T,
    key: [u64; 2],
    listener: &Listener,
) -> TargetPort {
    let key = FlowKey::from_words(key);
    let Some(settings) = tables.settings() else {
        return TargetPort::NONE;
    };
    let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
    let ports = if listener.has(Listener::STICKY) { 0 } else { ports };
    let client = u64::from(key.source) << 32 | ports;
    let asked = u64::from(key.vpc) << 32 | u64::from(listener.service);
    let hash = hash(settings.seeds.hash, client, asked) as u32;
    let number = tables.maglev(listener.pool).map_or(NO_TARGET, |table| table.target(hash));
    let Some(target) = tables.target(u32::from(number)) else {
        return TargetPort::NONE;
    };
    let keep = listener.has(Listener::KEEP_PORT);
    TargetPort::new(u32::from(number), if keep { key.destination_port } else { target.port })
}

/// A target and the port at it that a flow goes to, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetPort(pub u32);

impl TargetPort {
    /// No target: there is none of this number.
    pub const NONE: Self = Self(NO_TARGET as u32);

    /// A target by its number, at a port (network order).
    #[inline(always)]
    pub const fn new(number: u32, port: u16) -> Self {
        Self(number & 0xffff | (port as u32) << 16)
    }

    /// Number of the target.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0 & 0xffff
    }

    /// The port, network order.
    #[inline(always)]
    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// A flow to be opened, once there is room for it.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The key of what the client sends, as words.
    pub key: [u64; 2],
    /// Of TCP, the sequence number of the SYN, host order.
    pub sequence: u32,
    /// Number of the endpoint.
    pub endpoint: u32,
    /// Number of the addresses that ports are leased of: [`Tables::face`].
    pub load_balancer: u32,
    /// Where it goes.
    pub target: TargetPort,
    /// Number of the half claimed for what the client sends.
    pub forward: u32,
}

impl Opening {
    /// IP protocol number of the flow.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        FlowKey::from_words(self.key).protocol
    }
}

/// Opens a flow that has a lease: `reverse` is the number of the half that is. Puts the forward half in; its number,
/// whoever opened the flow.
///
/// Two CPUs may open the same flow at once (a duplicated SYN). Both lease a port by inserting their
/// reverse halves; then one's forward insert succeeds, and the other finds it there, gives both halves and so
/// the lease back and uses the winner's flow. A reply cannot come by the loser's lease: nothing was sent
/// from it, or, since it was taken over, the client is unknown.
#[inline(always)]
pub fn open<T: Tables + ?Sized>(
    tables: &T,
    opening: &Opening,
    reverse: u32,
) -> Result<u32, DropReason> {
    let Opening { key, endpoint, target, forward: number, .. } = *opening;
    let halves = (tables.half(number), tables.half(reverse));
    let (Some(forward), Some(reverse_half)) = halves else {
        return Err(DropReason::FlowTableFull);
    };
    let now = tables.now();
    let flow = NewFlow {
        forward: key,
        reverse: reverse_half.key_words(),
        endpoint,
        target: target.number(),
    };
    forward.fill_forward(&flow, reverse, now);
    let inserted = tables.insert(key, number);
    let record = Record { number, forward, reverse: reverse_half };
    if inserted == Insert::Done {
        life::begin(tables, &record);
        return Ok(number);
    }
    life::withdraw(tables, &record, now);
    if inserted == Insert::Full {
        return Err(DropReason::FlowTableFull);
    }
    tables.find(key).map(|winner| winner.number()).ok_or(DropReason::FlowTableBusy)
}
