//! Flows as listings show them, and which of them are to be removed: pure functions over map entries.

use std::collections::HashMap;
use std::net::SocketAddrV4;

use privatelink_common::records::{FlowHalf, FlowKey};
use privatelink_common::tcp::{State, Timeouts};

use crate::api::FlowRow;
use crate::contents::{ipv4_address, vpc_index};
use crate::datapath::Clock;
use crate::model::Model;

/// Both directions of a flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Key of the forward direction.
    pub forward_key: FlowKey,
    /// From client to target.
    pub forward: FlowHalf,
    /// Key of the reverse direction.
    pub reverse_key: FlowKey,
    /// From target to client.
    pub reverse: FlowHalf,
}

/// Map entries sorted into flows.
#[derive(Debug, Default)]
pub struct Paired {
    /// Entries that belong together.
    pub flows: Vec<Flow>,
    /// Keys of reverse entries without a forward one, with when they were last used, jiffies: a flow
    /// that the data path was just opening, or half of one whose removal was cut short.
    pub orphans: Vec<(FlowKey, u64)>,
}

impl Flow {
    /// State of its TCP connection.
    pub fn state(&self) -> State {
        State::of(self.forward.flags.get() as u8, self.reverse.flags.get() as u8)
    }

    /// Jiffies of its last packet in either direction.
    pub fn last_seen(&self) -> u64 {
        self.forward.last_seen.get().max(self.reverse.last_seen.get())
    }

    /// Whether it has been silent for longer than its state allows.
    pub fn is_expired(&self, clock: &Clock, timeouts: &Timeouts) -> bool {
        clock.ms_since(self.last_seen()) > self.state().idle_timeout_ms(timeouts)
    }
}

/// Joins entries to flows.
pub fn pair(entries: Vec<(FlowKey, FlowHalf)>) -> Paired {
    let (forward, reverse): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, half)| half.direction == FlowHalf::FORWARD);
    let mut reverse: HashMap<FlowKey, FlowHalf> = reverse.into_iter().collect();
    let flows = forward
        .into_iter()
        .filter_map(|(forward_key, forward)| {
            let reverse_key = forward.peer_key(forward_key.protocol);
            let reverse = reverse.remove(&reverse_key)?;
            Some(Flow { forward_key, forward, reverse_key, reverse })
        })
        .collect();
    Paired {
        flows,
        orphans: reverse.into_iter().map(|(key, half)| (key, half.last_seen.get())).collect(),
    }
}

/// A flow as listings show it.
pub fn row(flow: &Flow, model: &Model, clock: &Clock) -> FlowRow {
    let (key, forward) = (&flow.forward_key, &flow.forward);
    let socket =
        |address, port| SocketAddrV4::new(ipv4_address(address), u16::from_be(port)).to_string();
    let vpc = model.vpcs.get(vpc_index(key.vpc)).map(|vpc| vpc.id.clone());
    let endpoint =
        model.endpoints.get(forward.endpoint as usize).map(|endpoint| endpoint.id.clone());
    let service = model.services.get(forward.service as usize).map(|service| service.id.clone());
    FlowRow {
        protocol: "tcp".into(),
        state: flow.state().name().into(),
        vpc: vpc.unwrap_or_default(),
        endpoint: endpoint.unwrap_or_default(),
        service: service.unwrap_or_default(),
        client: socket(key.source, key.source_port),
        endpoint_address: socket(key.destination, key.destination_port),
        nat: socket(forward.source, forward.source_port),
        target: socket(forward.destination, forward.destination_port),
        packets_to_target: forward.packets.get(),
        bytes_to_target: forward.bytes.get(),
        packets_to_client: flow.reverse.packets.get(),
        bytes_to_client: flow.reverse.bytes.get(),
        age_ms: clock.ms_since(forward.created.get()),
        idle_ms: clock.ms_since(flow.last_seen()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use privatelink_common::memory::Shared;
    use privatelink_common::tcp::{ACK, FIN, RST, SYN};

    const CLOCK: Clock = Clock { jiffies: 1_000_000, per_second: 250 };

    fn flow(forward_flags: u8, reverse_flags: u8, idle_ms: u64) -> Flow {
        let forward_key = FlowKey {
            source: 1,
            destination: 2,
            source_port: 3,
            destination_port: 4,
            vpc: 2,
            protocol: 6,
            padding: 0,
        };
        let half = |direction, flags: u8| FlowHalf {
            source: 5,
            destination: 6,
            source_port: 7,
            destination_port: 8,
            ip_delta: 0,
            tcp_delta: 0,
            target: 0,
            endpoint: 0,
            service: 0,
            peer_vpc: 1,
            direction,
            created: Shared::new(0),
            client: Shared::new(0),
            client_tags: Shared::new(0),
            packets: Shared::new(1),
            bytes: Shared::new(40),
            last_seen: Shared::new(CLOCK.jiffies - idle_ms / 4),
            flags: Shared::new(u64::from(flags)),
        };
        let forward = half(FlowHalf::FORWARD, forward_flags);
        let reverse_key = forward.peer_key(6);
        Flow { forward_key, forward, reverse_key, reverse: half(FlowHalf::REVERSE, reverse_flags) }
    }

    #[test]
    fn each_state_has_its_timeout() {
        let established = SYN | ACK;
        let rows = [
            (SYN, 0, 30_000),
            (SYN, SYN | ACK, 30_000),
            (established, established, 350_000),
            (established | FIN, established, 350_000),
            (established | FIN, established | FIN, 10_000),
            (established | RST, established, 10_000),
            (SYN, RST | ACK, 10_000),
        ];
        for (forward, reverse, timeout) in rows {
            let expired =
                |idle| flow(forward, reverse, idle).is_expired(&CLOCK, &Timeouts::default());
            assert!(!expired(timeout), "{forward:#x} {reverse:#x}");
            assert!(expired(timeout + 4), "{forward:#x} {reverse:#x}");
        }
    }

    #[test]
    fn either_direction_keeps_a_flow() {
        let flow = flow(SYN | ACK, SYN | ACK, 400_000);
        flow.reverse.last_seen.set(CLOCK.jiffies - 1);
        assert!(!flow.is_expired(&CLOCK, &Timeouts::default()));
    }

    #[test]
    fn entries_pair_up_and_orphans_are_named() {
        let whole = flow(SYN, 0, 0);
        let mut orphan = (whole.reverse_key, whole.reverse.clone());
        orphan.0.destination_port = 99;
        let paired = pair(vec![
            (whole.reverse_key, whole.reverse.clone()),
            orphan.clone(),
            (whole.forward_key, whole.forward.clone()),
        ]);
        assert_eq!(paired.flows.len(), 1);
        assert_eq!(paired.flows[0].reverse_key, whole.reverse_key);
        assert_eq!(paired.orphans, [(orphan.0, CLOCK.jiffies)]);
    }
}
