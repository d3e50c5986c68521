//! The engine with its maps in ordinary memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::{self, Verdict as EngineVerdict};
use privatelink_common::flow_event::FlowEvent;
use privatelink_common::flow_table::totals::AddressCounts;
use privatelink_common::flow_table::{Flow, FlowMemory};
use privatelink_common::host::{MemoryFlowTable, MemoryTables, WideMaps};
use privatelink_common::maglev::Table;
use privatelink_common::memory::{Frame, Packet as _};
use privatelink_common::records::{self, Endpoint, EndpointAddressKey, NextHop};
use privatelink_common::stages::Stage;
use privatelink_common::tables::Tables as _;
use privatelink_common::ticks::Tick;
use privatelink_common::wide::WideEndpointAddressKey;
use privatelink_userspace::contents::{Contents, CountedAddress, TargetWay, network_order};
use privatelink_userspace::datapath::{Verdict, jiffies_per_second};
use privatelink_userspace::model::Model;

use super::configuration::{by_port, contents, counted, model, usable_of};
use super::engine::{Engine, Outcome};
use super::flows;
use super::network::Port;

/// The engine on the host.
pub(crate) struct Host {
    model: Model,
    contents: Contents,
    tables: MemoryTables,
    interfaces: Vec<(u32, records::Interface)>,
}

const HOST_IFINDEXES: [u32; 3] = [11, 12, 13];
/// When its time begins.
const START: Tick = Tick(1 << 20);

impl Host {
    pub(crate) fn new(edit: &dyn Fn(String) -> String) -> Self {
        let model = model(edit);
        let contents = contents(&model, HOST_IFINDEXES);
        let mut tables = MemoryTables::default();
        tables.flows = MemoryFlowTable::new(contents.settings, contents.endpoints.len());
        tables.now.set(START);
        let mut totals = HashMap::new();
        for CountedAddress { address, vpc, endpoint } in counted(&model) {
            match address {
                IpAddr::V4(address) => {
                    let address = network_order(address);
                    let key = EndpointAddressKey { address, vpc, endpoint };
                    tables.flows.addresses.insert(key, Default::default());
                }
                IpAddr::V6(_) => {
                    let key = WideEndpointAddressKey::new(vpc, address.into(), endpoint);
                    totals.insert(key, Default::default());
                }
            }
        }
        let interfaces = by_port(&contents, HOST_IFINDEXES);
        tables.interfaces = interfaces.iter().copied().collect();
        tables.addresses = contents.addresses.clone();
        tables.endpoints = contents.endpoints.clone();
        tables.listeners = contents.listeners.clone();
        tables.load_balancers = contents.load_balancers.clone();
        tables.maglev =
            contents.pools.iter().map(|(&number, pool)| (number, Table::build(pool))).collect();
        tables.targets =
            contents.targets.iter().map(|(&number, target)| (number, target.record())).collect();
        tables.target_keys = contents.target_keys.clone();
        tables.wide = WideMaps {
            addresses: contents.wide_addresses.clone(),
            listeners: contents.wide_listeners.clone(),
            rules: contents.wide_rules.clone(),
            targets: contents.wide_targets.clone(),
            load_balancers: contents.wide_load_balancers.clone(),
            target_keys: contents.wide_target_keys.clone(),
            totals,
            flows: MemoryFlowTable::wide(contents.wide_settings),
        };
        Self { model, contents, tables, interfaces }
    }
}

impl Host {
    fn stage(&self, stage: Stage, packet: &mut Frame, ifindex: u32) -> EngineVerdict {
        match stage {
            Stage::Other => engine::process_other(packet, &self.tables, ifindex),
            Stage::Fragments => engine::process_fragment(packet, &self.tables, ifindex),
            Stage::Refused => engine::process_refused(packet, &self.tables, ifindex),
            // No such program is loaded then.
            wide if wide.is_wide() && !self.contents.is_wide() => EngineVerdict::Pass,
            wide => {
                self.tables.with_wide(|tables| engine::process_wide(wide, packet, tables, ifindex))
            }
        }
    }

    /// Sets the time.
    pub(crate) fn set_now(&self, now: Tick) {
        self.tables.now.set(now);
    }
}

impl Engine for Host {
    fn model(&self) -> &Model {
        &self.model
    }

    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome {
        let mut packet = Frame::new(frame);
        assert_eq!(packet.len(), frame.len());
        let ifindex = HOST_IFINDEXES[port as usize];
        let mut verdict = engine::process(&mut packet, &self.tables, ifindex);
        while let EngineVerdict::Next(stage) = verdict {
            verdict = self.stage(stage, &mut packet, ifindex);
        }
        let verdict = match verdict {
            EngineVerdict::Next(_) => unreachable!("no stage is left"),
            EngineVerdict::Pass => Verdict::Pass,
            EngineVerdict::Drop => Verdict::Drop,
            EngineVerdict::Redirect(slot) => {
                let egress = self.tables.interface(slot).expect("a slot");
                let from = packet.window::<12>(0).expect("an Ethernet header");
                let from = [from.u16::<6>(), from.u16::<8>(), from.u16::<10>()];
                assert_eq!(from, egress.mac.0, "the sender is the interface it leaves by");
                Verdict::Redirect
            }
        };
        Outcome { verdict, frame: packet.into_bytes() }
    }

    fn table(&self) -> &dyn FlowMemory {
        &self.tables
    }

    fn in_wide_table(&self, work: &mut dyn FnMut(&dyn FlowMemory)) {
        self.tables.with_wide(|tables| work(tables));
    }

    fn drops(&self, port: Port) -> HashMap<DropReason, u64> {
        let count = |&reason| (reason, self.tables.drops(self.slot(port), reason));
        DropReason::ALL.iter().map(count).filter(|&(_, count)| count != 0).collect()
    }

    fn set_next_hop(&mut self, target: u32, next_hop: NextHop) {
        let key = self.contents.targets[&target].key;
        self.tables.targets.insert(target, TargetWay { key, next_hop }.record());
    }

    fn set_usable(&mut self, usable: &dyn Fn(u32) -> bool) {
        let pool = usable_of(&self.contents, usable);
        self.tables.maglev.insert(0, Table::build(&pool));
    }

    fn edit_endpoint(&mut self, index: u32, edit: &dyn Fn(&mut Endpoint)) {
        edit(self.tables.endpoints.get_mut(&index).expect("it is there"));
    }

    fn wait(&mut self, time: Duration) {
        let now = self.tables.nanoseconds.get() + time.as_nanos() as u64;
        self.tables.nanoseconds.set(now);
        let jiffies = now / (1_000_000_000 / jiffies_per_second());
        self.tables.now.set(Tick(START.0 + Tick::from_jiffies(jiffies).0));
    }

    fn edit_interface(&mut self, port: Port, edit: &dyn Fn(&mut records::Interface)) {
        let slot = self.slot(port);
        edit(self.tables.interfaces.get_mut(&slot).expect("it is attached"));
    }

    fn detach(&mut self, port: Port) {
        self.tables.interfaces.remove(&self.slot(port));
    }

    fn hand_over(&mut self, slot_of: Port, to: Port) {
        self.tables.interfaces.insert(self.slot(slot_of), self.interfaces[to as usize].1);
    }

    fn now(&mut self) -> Tick {
        self.tables.now.get()
    }

    fn reserve(&mut self, words: &[(u32, u64)]) {
        for &(at, word) in words {
            let ports =
                (0..64).filter(|bit| word >> bit & 1 != 0).map(|bit| (at * 64 + bit) as u16);
            self.tables.reserved_ports.extend(ports);
        }
    }

    fn slot(&self, port: Port) -> u32 {
        self.interfaces[port as usize].0
    }

    fn events(&mut self) -> Vec<FlowEvent> {
        self.tables.events()
    }

    fn address_counts(&self) -> HashMap<CountedAddress, AddressCounts> {
        let count = |address: CountedAddress| {
            let CountedAddress { address, vpc, endpoint } = address;
            match address {
                IpAddr::V4(address) => {
                    let address = network_order(address);
                    self.tables.flows.addresses[&EndpointAddressKey { address, vpc, endpoint }]
                        .read()
                }
                IpAddr::V6(_) => {
                    let key = WideEndpointAddressKey::new(vpc, address.into(), endpoint);
                    self.tables.wide.totals[&key].read()
                }
            }
        };
        counted(&self.model).map(|address| (address, count(address))).collect()
    }

    fn cut(&mut self, flow: &Flow) {
        let now = self.tables.now.get();
        flows::in_its_table(self, flow, &mut |table, record| {
            assert!(table.cut(record.number, record.place(), now));
        });
    }
}
