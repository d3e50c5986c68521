//! What opens a flow, and what is to be known of it before.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::tcp::{ACK, SYN};

use super::answers::{error, reset};
use super::carry::may_be_told;
use super::flow::{FROM_CLIENT, Flow, Place, Stage};
use super::mix::{FLOW_LIMIT, GROUP, LONER, Published, SECOND, published};
use super::nat::{Arrival, Fate, Nat};
use super::wire::{self, Parcel, TCP, u16_at};
use crate::world::Port;

/// Ports of the load balancer's addresses that health checks leave from.
const CHECK_PORTS: RangeInclusive<u16> = 1024..=10_239;

pub(super) fn may_be_client(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..=255),
        IpAddr::V6(address) => {
            let nobody = address.is_unspecified() || address.is_loopback();
            !nobody && !address.is_unicast_link_local() && !address.is_multicast()
        }
    }
}

impl Nat {
    /// What comes to a load balancer and is of no flow.
    pub(super) fn unsolicited(
        &self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
    ) -> Result<Fate, DropReason> {
        if !parcel.is_tcp() {
            return Err(DropReason::Unsolicited);
        }
        let targets = self.mix.targets();
        let target = targets.iter().any(|target| target.0 == parcel.source)
            || parcel.source.0 == targets[LONER].0.0;
        let opening = parcel.has(SYN) && !parcel.has(ACK);
        if !opening && CHECK_PORTS.contains(&parcel.destination.1) {
            return Ok(Fate::Pass);
        }
        if opening || !target {
            return Err(DropReason::Unsolicited);
        }
        reset(arrival, parcel)
    }

    pub(super) fn may_enter(
        &self,
        port: Port,
        parcel: &Parcel,
        opening: bool,
    ) -> Result<Published, DropReason> {
        let ((source, _), (destination, to)) = (parcel.source, parcel.destination);
        if !may_be_client(source) || source == destination {
            return Err(DropReason::SourceAddress);
        }
        let published = published(port, to).ok_or(DropReason::NoListener)?;
        // A's security group lets port 80 of its own addresses through. The others have none, which lets their own
        // addresses through.
        let allowed = match source {
            IpAddr::V4(source) => source.octets()[..2] == [10, 0],
            IpAddr::V6(source) => source.segments()[..4] == [0xfd00, 0, 0, 0],
        };
        if !allowed {
            return Err(DropReason::SecurityGroup);
        }
        if !self.endpoints[published.endpoint].available && opening {
            return Err(DropReason::EndpointNotAvailable);
        }
        Ok(published)
    }

    /// The targets that a new flow may go to.
    fn allowed(&self, endpoint: usize) -> Vec<usize> {
        if endpoint == SECOND {
            return vec![LONER];
        }
        let weighty = || (0..GROUP).filter(|&target| self.mix.target(target).1 > 0);
        let usable: Vec<usize> = weighty().filter(|&target| self.usable[target]).collect();
        if usable.is_empty() { weighty().collect() } else { usable }
    }

    pub(super) fn open(
        &mut self,
        arrival: Arrival<'_>,
        parcel: &Parcel,
        published: Published,
    ) -> Result<Fate, DropReason> {
        let Arrival { port, link, packet, seen, .. } = arrival;
        let Published { endpoint, keeps_port } = published;
        let allowed = self.allowed(endpoint);
        let refusal = |&target: &usize| self.refusal(endpoint, target, packet, parcel);
        let refusals: Vec<Option<DropReason>> = allowed.iter().map(refusal).collect();
        let Some((target, lease)) = seen.opened.filter(|_| refusals.contains(&None)) else {
            let seen =
                refusals.iter().find(|refusal| refusal.is_some() && **refusal == seen.reason);
            let refusal =
                seen.copied().flatten().or_else(|| refusals.iter().copied().flatten().next());
            // Refusing where nothing speaks against it is what the run then finds wrong.
            let reason = refusal.unwrap_or(DropReason::NoTarget);
            return match reason {
                DropReason::TooBig => {
                    let family = self.mix.target(allowed[0]).0.0;
                    self.too_big(arrival, parcel, Port::Provider, family)
                }
                DropReason::EndpointFlowLimit if may_be_told(arrival, parcel) => {
                    Ok(Fate::Answered(reason, error(arrival, parcel, None)))
                }
                reason => Err(reason),
            };
        };
        let at = allowed.iter().position(|&allowed| allowed == target);
        assert!(at.is_some_and(|at| refusals[at].is_none()), "target {target} of {allowed:?}");
        assert_eq!(lease.0, self.mix.balancer(target), "the lease is the load balancer's");
        assert!(lease.1 >= 10_240, "{lease:?}");
        let (address, own) = self.mix.target(target).0;
        let to = (address, if keeps_port { parcel.destination.1 } else { own });
        let is_its_last =
            |flow: &Flow| flow.lends_to(port, parcel) && flow.to == to && flow.lease == lease;
        if let Some(last) = self.flows.iter().position(is_its_last) {
            self.flows.remove(last);
        }
        let mut others = self.flows.iter().filter(|flow| flow.protocol == parcel.protocol);
        let other = others.find(|flow| flow.to == to && flow.lease == lease);
        assert!(other.is_none(), "a lease twice: {other:?}");
        self.opened += 1;
        self.flows.push(Flow {
            serial: self.opened,
            wide: self.mix.is_wide(port, parcel.destination.0),
            protocol: parcel.protocol,
            port,
            client: parcel.source,
            endpoint: parcel.destination,
            owner: endpoint,
            target,
            to,
            lease,
            place: Place { mac: link.from, tags: link.tags.clone() },
            sides: Default::default(),
            stage: Stage::HalfOpen,
            last: self.now,
        });
        self.carry(arrival, parcel, self.flows.len() - 1, FROM_CLIENT)
    }

    /// What speaks against a new flow to a target.
    fn refusal(
        &self,
        endpoint: usize,
        target: usize,
        packet: &[u8],
        parcel: &Parcel,
    ) -> Option<DropReason> {
        let own = self.flows.iter().filter(|flow| flow.owner == endpoint);
        let live = own.filter(|flow| flow.is_live()).count();
        let provider = &self.interfaces[Port::Provider as usize];
        let address = self.mix.target(target).0.0;
        let length = parcel.length_as(address);
        if !self.reachable[target] {
            Some(DropReason::NextHopUnresolved)
        } else if !provider.attached {
            Some(DropReason::InterfaceGone)
        } else if address.is_ipv6() && is_unsummed(packet, parcel) {
            Some(DropReason::UdpChecksum)
        } else if length as u32 > provider.mtu {
            Some(DropReason::TooBig)
        } else {
            (live >= FLOW_LIMIT).then_some(DropReason::EndpointFlowLimit)
        }
    }
}

/// Whether a datagram has no checksum, and what it would cover is not all here, or longer than what is summed up.
fn is_unsummed(packet: &[u8], parcel: &Parcel) -> bool {
    let is_cut = parcel.piece.is_some() || parcel.covered_length(packet) > 1480;
    !parcel.is_tcp() && u16_at(packet, parcel.checksum()) == 0 && is_cut
}

/// The checksums of what is to open a flow; those of jumbo packets are their receivers' business.
pub(super) fn verify(packet: &[u8], parcel: &Parcel) -> Result<(), DropReason> {
    if parcel.header == 20 && !wire::ipv4_is_right(packet) {
        return Err(DropReason::Ipv4Checksum);
    }
    // Of a fragment it covers what is not here.
    let is_piece = parcel.piece.is_some();
    if is_piece || parcel.covered_length(packet) > 1480 || parcel.is_right(packet) {
        return Ok(());
    }
    let unfinished = u16_at(packet, parcel.checksum()) == parcel.unfinished(packet);
    Err(match parcel.protocol {
        _ if unfinished => DropReason::ChecksumUnfinished,
        TCP => DropReason::TcpChecksum,
        _ => DropReason::UdpChecksum,
    })
}
