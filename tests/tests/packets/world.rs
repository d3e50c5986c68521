//! The world the packets live in, twice: as the engine's model of the maps, and in the kernel.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use privatelink_common::capture::{MAX_SNAPLEN, Order};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::engine::{self, Verdict as EngineVerdict};
use privatelink_common::flow_event::{ENDED, FlowEvent, REFUSED};
use privatelink_common::flow_table::ending::Ending;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::record::{NewFlow, Record};
use privatelink_common::flow_table::totals::AddressCounts;
use privatelink_common::flow_table::{Flow, FlowMemory, Half, PacketKey, life};
use privatelink_common::host::{self, MemoryFlowTable, MemoryTables, WideMaps};
use privatelink_common::maglev::{Candidate, Table};
use privatelink_common::memory::{Frame, Packet as _};
use privatelink_common::records::{self, Endpoint, EndpointAddressKey, FlowKey, NextHop};
use privatelink_common::stages::Stage;
use privatelink_common::tables::Tables as _;
use privatelink_common::ticks::Tick;
use privatelink_common::wide::{WIDE, WideAddress, WideEndpointAddressKey};
use privatelink_tests::{Namespace, veth};
use privatelink_userspace::config;
use privatelink_userspace::contents::zones::WHOLE_SHARE;
use privatelink_userspace::contents::{
    Contents, CountedAddress, Fitness, Host as HostFacts, LinkFacts, TargetWay, counted_addresses,
    interfaces, ipv4_address, network_order,
};
use privatelink_userspace::datapath::{
    Attachment, Datapath, FlowEvents, FlowTable, Links, Pins, Ring, Sizes, Verdict, View,
    jiffies_per_second,
};
use privatelink_userspace::model::{AttachMode, Model};
use privatelink_userspace::numbers::Numbering;
use privatelink_userspace::reconcile::{Change, Maps as _, Reconciler};

use crate::frame::{Mac, Segment};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 20);
pub(crate) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
pub(crate) const TARGET_MACS: [Mac; 2] = [[2, 0, 0, 0, 0, 0x71], [2, 0, 0, 0, 0, 0x72]];
const MTU: u32 = 1500;
/// A table that is quickly made, and no limits below it.
const LIMITS: &str = "
[flow_table]
capacity = 8192
[endpoint_limits]
flows = 8192
half_open_flows = 8192
";
/// The same with room for all leases of two addresses towards one target.
pub(crate) const ROOMY: &str = "
[flow_table]
capacity = 131072
[endpoint_limits]
flows = 131072
half_open_flows = 131072
";

/// An interface of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    Provider,
    A,
    B,
}

impl Port {
    pub(crate) const ALL: [Self; 3] = [Self::Provider, Self::A, Self::B];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Provider => "pl-provider",
            Self::A => "pl-consumer-a",
            Self::B => "pl-consumer-b",
        }
    }

    /// The gateway's own MAC address on it.
    pub(crate) const fn mac(self) -> Mac {
        [2, 0, 0, 0, 1, self as u8]
    }

    /// The MAC address of the client behind it.
    pub(crate) const fn client(self) -> Mac {
        [2, 0, 0, 0, 2, self as u8]
    }
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

/// One of the two engines.
pub(crate) trait Engine {
    fn model(&self) -> &Model;
    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome;
    /// The narrow flow table's memory.
    fn table(&self) -> &dyn FlowMemory;
    /// Works on the wide flow table's memory.
    fn in_wide_table(&self, work: &mut dyn FnMut(&dyn FlowMemory));
    /// All drop counters of an interface that are not zero.
    fn drops(&self, port: Port) -> HashMap<DropReason, u64>;
    fn set_next_hop(&mut self, target: u32, next_hop: NextHop);
    /// Which targets of the first group have new flows.
    fn set_usable(&mut self, usable: &dyn Fn(u32) -> bool);
    /// Changes an endpoint's record; endpoints are numbered as in the configuration.
    fn edit_endpoint(&mut self, index: u32, edit: &dyn Fn(&mut Endpoint));
    /// Lets time pass.
    fn wait(&mut self, time: Duration);
    fn set_mtu(&mut self, port: Port, mtu: u32);
    fn detach(&mut self, port: Port);
    /// Puts another port's interface into the slot of a port.
    fn hand_over(&mut self, slot_of: Port, to: Port);
    /// The moment by the engine's clock.
    fn now(&mut self) -> Tick;
    /// Tells which ports no lease may have: words of bits with their places.
    fn reserve(&mut self, words: &[(u32, u64)]);
    /// The slot of a port's interface.
    fn slot(&self, port: Port) -> u32;
    /// What was told since the last time.
    fn events(&mut self) -> Vec<FlowEvent>;
    /// What is counted by the addresses of endpoints.
    fn address_counts(&self) -> HashMap<CountedAddress, AddressCounts>;
    /// Has the engine itself end a live flow, as the daemon asks it to.
    fn cut(&mut self, flow: &Flow);
}

/// What tests ask of a flow.
pub(crate) trait FlowExt {
    fn nat(&self) -> (Ipv4Addr, u16);
    fn target(&self) -> (Ipv4Addr, u16);
    fn target_mac(&self) -> Mac;
    /// The keys of both directions.
    fn keys(&self) -> [FlowKey; 2];
}

impl FlowExt for Flow {
    fn nat(&self) -> (Ipv4Addr, u16) {
        let [_, key] = self.keys();
        (ipv4_address(key.destination), u16::from_be(key.destination_port))
    }

    fn target(&self) -> (Ipv4Addr, u16) {
        let [_, key] = self.keys();
        (ipv4_address(key.source), u16::from_be(key.source_port))
    }

    fn target_mac(&self) -> Mac {
        TARGET_MACS[self.target as usize % 2]
    }

    fn keys(&self) -> [FlowKey; 2] {
        [&self.forward, &self.reverse].map(|half| half.key.ipv4().expect("IPv4 on both sides"))
    }
}

/// All halves of a table, whoever has them.
fn halves(table: &dyn FlowMemory) -> impl Iterator<Item = &FlowHalf> {
    let halves = table.settings().expect("settings").halves;
    (0..halves).map(|number| table.half(number).expect("a half"))
}

/// The flows there are in a table, live or held.
pub(crate) fn records_of(table: &dyn FlowMemory) -> impl Iterator<Item = Record<'_>> {
    let halves = table.settings().expect("settings").halves;
    let records = (0..halves).filter_map(|number| table.record(number));
    records.filter(|record| record.place().phase().holds_lease())
}

/// The flows there are in the narrow table, live or held.
pub(crate) fn records(engine: &dyn Engine) -> impl Iterator<Item = Record<'_>> {
    records_of(engine.table())
}

/// Works on both tables.
pub(crate) fn in_tables(engine: &dyn Engine, work: &mut dyn FnMut(&dyn FlowMemory)) {
    work(engine.table());
    engine.in_wide_table(work);
}

/// The live flows, by the vpc number and source port of their clients, and their protocol.
pub(crate) fn flows(engine: &dyn Engine) -> Vec<Flow> {
    let live = records(engine).filter(|record| record.place().phase().is_live());
    let mut flows: Vec<Flow> =
        live.filter_map(|record| Flow::of(engine.table(), &record)).collect();
    flows.sort_by_key(|Flow { forward: Half { key, .. }, .. }| {
        (key.vpc, key.source_port, key.protocol)
    });
    flows
}

/// The only flow there is.
pub(crate) fn flow(engine: &dyn Engine) -> Flow {
    let mut flows = flows(engine);
    assert_eq!(flows.len(), 1, "one flow");
    flows.remove(0)
}

/// The flow that has this key in either direction, as the index of the narrow table knows it.
pub(crate) fn find(engine: &dyn Engine, key: &FlowKey) -> Option<Flow> {
    let table = engine.table();
    let found = table.find(key.words())?;
    Flow::of(table, &table.record(table.owner(found.number()))?)
}

/// The flow whose packets look so in either direction, in either table.
pub(crate) fn find_either(engine: &dyn Engine, key: &PacketKey) -> Option<Flow> {
    let mut flow = key.ipv4().and_then(|key| find(engine, &key));
    engine.in_wide_table(&mut |table| {
        let seed = table.settings().expect("settings").hash_seed;
        let [source, destination] =
            [key.source, key.destination].map(|address| WideAddress::from(address).name(seed));
        let (source_port, destination_port) =
            (key.source_port.to_be(), key.destination_port.to_be());
        let PacketKey { vpc, protocol, .. } = *key;
        let named = FlowKey { source, destination, source_port, destination_port, vpc, protocol };
        let record =
            table.find(named.words()).and_then(|found| table.record(table.owner(found.number())));
        let wide = record.and_then(|record| Flow::of(table, &record));
        let is_it = |flow: &Flow| [flow.forward.key, flow.reverse.key].contains(key);
        flow = flow.take().or(wide.filter(is_it));
    });
    flow
}

/// Puts a flow in that no packet has opened; false where the table is full.
pub(crate) fn occupy(engine: &mut dyn Engine, flow: &NewFlow) -> bool {
    let now = engine.now();
    host::occupy(engine.table(), flow, rand::random(), now)
}

/// Ends a flow at once, its halves and lease free for others.
pub(crate) fn end(engine: &mut dyn Engine, flow: &Flow) {
    let now = engine.now();
    let work = &mut |table: &dyn FlowMemory| {
        let record = table.record(flow.number & !WIDE).expect("a record");
        let timeouts = table.timeouts(flow.endpoint).expect("an endpoint");
        while life::end(table, &record, record.place(), timeouts, now) {}
        for half in [record.forward, record.reverse] {
            rest(half, now);
        }
    };
    if flow.number & WIDE == 0 { work(engine.table()) } else { engine.in_wide_table(work) }
}

/// Lets all halves that nobody uses be used anew.
pub(crate) fn rest_all(engine: &mut dyn Engine) {
    let now = engine.now();
    in_tables(engine, &mut |table| {
        assert_eq!(records_of(table).count(), 0, "all flows have ended");
        halves(table).for_each(|half| rest(half, now));
    });
}

fn rest(half: &FlowHalf, now: Tick) {
    half.set_stamp(Tick(now.0.wrapping_sub(1 << 20)).stamp());
}

/// Lets milliseconds pass for all flows: what was seen, was seen so much earlier.
pub(crate) fn pass(engine: &mut dyn Engine, ms: u64) {
    let ticks = privatelink_common::ticks::from_ms(ms, jiffies_per_second());
    in_tables(engine, &mut |table| {
        for half in halves(table) {
            half.set_stamp(Tick(half.stamp().wrapping_sub(ticks)).stamp());
        }
    });
}

/// Drops of an interface as names with counts, sorted: easy to compare and to read.
pub(crate) fn drops(engine: &dyn Engine, port: Port) -> Vec<(&'static str, u64)> {
    let mut drops: Vec<_> =
        engine.drops(port).into_iter().map(|(reason, count)| (reason.name(), count)).collect();
    drops.sort_unstable();
    drops
}

/// Sends a frame that is the host's business.
#[track_caller]
pub(crate) fn passes_untouched(engine: &mut dyn Engine, port: Port, frame: &[u8]) {
    let outcome = engine.receive(port, frame);
    assert_eq!(outcome.verdict, Verdict::Pass);
    assert_eq!(outcome.frame, frame);
    assert_eq!(drops(engine, port), []);
}

/// A segment from a consumer's client to its endpoint.
pub(crate) fn from_client(port: Port, source_port: u16, flags: u8) -> Segment {
    Segment {
        to: port.mac(),
        from: port.client(),
        tags: Vec::new(),
        source: (CLIENT, source_port),
        destination: (ENDPOINT, 80),
        ttl: 64,
        flags,
        sequence: 0x1234_5678,
        acknowledgement: 0x1234_5679,
        window: 0xfaf0,
        identification: 0xbeef,
        dscp_ecn: 0xb9,
        options: vec![2, 4, 5, 0xb4, 1, 3, 3, 7],
        payload: Vec::new(),
    }
}

/// What a client's segment must look like at the target.
pub(crate) fn at_target(segment: &Segment, flow: &Flow) -> Segment {
    Segment {
        to: flow.target_mac(),
        from: Port::Provider.mac(),
        tags: Vec::new(),
        source: flow.nat(),
        destination: flow.target(),
        ttl: segment.ttl - 1,
        ..segment.clone()
    }
}

/// A target's answer on a flow.
pub(crate) fn from_target(flow: &Flow, flags: u8, payload: &[u8]) -> Segment {
    Segment {
        to: Port::Provider.mac(),
        from: flow.target_mac(),
        source: flow.target(),
        destination: flow.nat(),
        ttl: 63,
        payload: payload.to_vec(),
        ..from_client(Port::A, 1, flags)
    }
}

/// Sends what must be forwarded on the flow there is, whose client is A's, from port 40 000.
#[track_caller]
pub(crate) fn carried(engine: &mut dyn Engine, port: Port, segment: &Segment) {
    let flow = flow(engine);
    let outcome = engine.receive(port, &segment.bytes());
    let leaves = match port {
        Port::Provider => at_client(segment, Port::A, 40_000),
        _ => at_target(segment, &flow),
    };
    assert_eq!((outcome.verdict, outcome.frame), (Verdict::Redirect, leaves.bytes()));
}

/// What a target's segment must look like at the client.
pub(crate) fn at_client(segment: &Segment, port: Port, source_port: u16) -> Segment {
    Segment {
        to: port.client(),
        from: port.mac(),
        source: (ENDPOINT, 80),
        destination: (CLIENT, source_port),
        ttl: segment.ttl - 1,
        ..segment.clone()
    }
}

/// The world of examples/overlap.toml, after `edit` of its text.
fn model(edit: &dyn Fn(String) -> String) -> Model {
    let text = edit(include_str!("../../../examples/overlap.toml").to_owned());
    let limits = if text.contains("[flow_table]") { "" } else { LIMITS };
    config::parse("overlap.toml", &(text + limits)).expect("the configuration is valid")
}

fn contents(model: &Model, ifindexes: [u32; 3]) -> Contents {
    let facts = |(port, ifindex): (Port, u32)| {
        (port.name().to_owned(), LinkFacts { ifindex, mac: port.mac(), mtu: MTU })
    };
    let links = Port::ALL.into_iter().zip(ifindexes).map(facts).collect();
    let numbering = Numbering::in_order(model).expect("there are numbers");
    let interfaces = interfaces(model, &numbering, &links).expect("slots are free");
    let provider = interfaces.iter().find(|(_, interface)| interface.ifindex == ifindexes[0]);
    let slot = *provider.expect("it has a slot").0;
    let host = HostFacts {
        interfaces,
        next_hop: &|number| target_hop(number, slot),
        fitness: &|_| Fitness::Healthy,
        share: &|_| WHOLE_SHARE,
        marked: &|_| false,
        hash_seed: 7,
        generation: 0,
        jiffies_per_second: jiffies_per_second(),
    };
    let mut contents = Contents::new(model, &numbering, &host);
    contents.settings.events = ENDED | REFUSED;
    contents
}

/// The next hop of a target behind the interface in a slot.
pub(crate) fn target_hop(number: u32, slot: u32) -> NextHop {
    NextHop::new(records::Mac::from_bytes(TARGET_MACS[number as usize % 2]), slot as u16)
}

/// The addresses of endpoints that are counted by.
fn counted(model: &Model) -> impl Iterator<Item = CountedAddress> {
    let numbering = Numbering::in_order(model).expect("there are numbers");
    let keys: Vec<_> = counted_addresses(model, &numbering).map(|(key, ..)| key).collect();
    keys.into_iter()
}

/// The interfaces of the ports with their slots.
fn by_port(contents: &Contents, ifindexes: [u32; 3]) -> Vec<(u32, records::Interface)> {
    let slot = |ifindex| {
        let mut found = contents.interfaces.iter();
        found.find(|(_, interface)| interface.ifindex == ifindex).map(|(&at, &of)| (at, of))
    };
    ifindexes.into_iter().map(|ifindex| slot(ifindex).expect("it has a slot")).collect()
}

/// The targets of the first group that are usable.
fn usable_of(contents: &Contents, usable: &dyn Fn(u32) -> bool) -> Vec<Candidate> {
    let all = contents.pools[&0].iter().copied();
    let chosen: Vec<_> = all.clone().filter(|target| usable(u32::from(target.target))).collect();
    if chosen.iter().any(|target| target.weight > 0) { chosen } else { all.collect() }
}

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

    fn set_mtu(&mut self, port: Port, mtu: u32) {
        let slot = self.slot(port);
        let interface = *self.tables.interface(slot).expect("it is attached");
        self.tables.interfaces.insert(slot, records::Interface { mtu, ..interface });
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
        let place = self.tables.record(flow.number).expect("a record").place();
        assert!(self.tables.cut(flow.number, place, self.tables.now.get()));
    }
}

/// The program in the kernel. Lives in a network namespace of its own, on the thread that entered it.
pub(crate) struct Kernel {
    model: Model,
    // Dropped first: detaching needs the interfaces.
    _links: Links,
    datapath: Datapath,
    events: FlowEvents,
    /// The narrow flow table and the wide one.
    tables: [View; 2],
    flows: FlowTable,
    contents: Contents,
    interfaces: Vec<(u32, records::Interface)>,
    /// Where the watched program tells of packets, if that is what runs.
    ring: Option<Ring>,
}

/// Set, the scenarios run on the watched program, and each packet must be told as it was and as it became.
const WATCHED: &str = "PRIVATELINK_TEST_WATCHED";

impl Kernel {
    /// Runs `test` on a fresh program in a fresh namespace.
    pub(crate) fn run(
        edit: &(dyn Fn(String) -> String + Sync),
        test: impl FnOnce(&mut Self) + Send,
    ) {
        let gateway = Namespace::new("fix").expect("a namespace");
        let far = Namespace::new("far").expect("a namespace");
        for port in Port::ALL {
            veth(&gateway, port.name(), &far, port.name()).expect("a veth pair");
        }
        gateway.enter(|| test(&mut Self::new(edit))).expect("the namespace can be entered");
    }

    fn new(edit: &dyn Fn(String) -> String) -> Self {
        let model = model(edit);
        let ifindexes =
            Port::ALL.map(|port| nix::net::if_::if_nametoindex(port.name()).expect("it exists"));
        let contents = contents(&model, ifindexes);
        let (mut datapath, flows) = Datapath::load(Sizes::of(&model), None).expect("it loads");
        if contents.is_wide() {
            datapath.load_wide().expect("it loads");
        }
        let (_, failed) = Reconciler::default().apply(&contents, &mut datapath);
        assert!(failed.is_empty(), "the maps take it: {failed:?}");
        flows.set_rules(&contents);
        flows.count_addresses(counted(&model)).expect("the map takes it");
        let pins = PathBuf::from(format!("/sys/fs/bpf/privatelink-{:08x}", rand::random::<u32>()));
        let mut links = Links::new(Pins::open(&pins, false).expect("there is a bpffs"));
        for (port, ifindex) in Port::ALL.into_iter().zip(ifindexes) {
            let interface = port.name().to_owned();
            let to = Attachment { interface, ifindex, mode: AttachMode::Native, present: None };
            links.attach(&mut datapath, &to).expect("it attaches");
        }
        let interfaces = by_port(&contents, ifindexes);
        let events = datapath.events().expect("there is a ring");
        let tables = flows.views();
        let ring = std::env::var_os(WATCHED).is_some().then(|| {
            datapath.set_watched(true).expect("it loads");
            datapath.ring().expect("there is a ring")
        });
        Self { model, _links: links, datapath, events, tables, flows, contents, interfaces, ring }
    }

    /// Has every packet told, whole. The ring is read after each.
    fn watch(&mut self) {
        let now = self.datapath.clock().expect("the clock runs").tick();
        let order = Order {
            until: now.0.wrapping_add(1000),
            flags: Order::PASSED,
            snaplen: MAX_SNAPLEN,
            sample: 1,
            rate: u32::MAX,
            ..Order::NONE
        };
        self.datapath.set_capture(&order).expect("the map takes it");
    }

    /// Expects one packet to have been told, as it arrived and as it left, with the reason that it is counted by.
    fn expect_told(&mut self, port: Port, frame: &[u8], outcome: &Outcome, dropped: &[DropReason]) {
        let head = |bytes: &[u8]| bytes[..bytes.len().min(MAX_SNAPLEN as usize)].to_vec();
        let mut told = Vec::new();
        let ring = self.ring.as_mut().expect("the watched program runs");
        while ring.next(|captured, before, after| {
            told.push((*captured, before.to_vec(), after.to_vec()));
        }) {}
        let [(captured, before, after)] = &told[..] else { panic!("told {}", told.len()) };
        assert_eq!((captured.length_before as usize, before), (frame.len(), &head(frame)));
        let left = outcome.verdict == Verdict::Redirect;
        assert_eq!(after, &if left { head(&outcome.frame) } else { Vec::new() });
        assert_eq!(captured.length_after as usize, outcome.frame.len());
        assert_eq!(
            (captured.ingress, captured.egress != 0),
            (self.interfaces[port as usize].1.ifindex, left)
        );
        assert_eq!(DropReason::from_number(captured.reason).as_slice(), dropped);
    }

    fn write(&mut self, change: &Change) {
        self.datapath.write(change).expect("the map takes it");
    }

    /// Deletes a port's device; the maps are not told.
    pub(crate) fn delete_device(&self, port: Port) {
        // A command inherits the namespace of the thread that starts it.
        let status = Command::new("ip").args(["link", "delete", port.name()]).status();
        assert!(status.expect("ip runs").success());
    }
}

impl Engine for Kernel {
    fn model(&self) -> &Model {
        &self.model
    }

    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome {
        let ifindex = self.interfaces[port as usize].1.ifindex;
        let before = self.ring.is_some().then(|| self.watch()).map(|()| self.drops(port));
        let run = self.datapath.test_run(frame, ifindex, 1).expect("it runs");
        assert!(run.nanoseconds < Duration::from_secs(1).as_nanos() as u64);
        let outcome = Outcome { verdict: run.verdict, frame: run.frame };
        if let Some(before) = before {
            let counted = |(reason, count): (DropReason, u64)| {
                (count > before.get(&reason).copied().unwrap_or(0)).then_some(reason)
            };
            let dropped: Vec<_> = self.drops(port).into_iter().filter_map(counted).collect();
            self.expect_told(port, frame, &outcome, &dropped);
        }
        outcome
    }

    fn table(&self) -> &dyn FlowMemory {
        let [narrow, _] = &self.tables;
        narrow
    }

    fn in_wide_table(&self, work: &mut dyn FnMut(&dyn FlowMemory)) {
        let [_, wide] = &self.tables;
        work(wide);
    }

    fn drops(&self, port: Port) -> HashMap<DropReason, u64> {
        let counts =
            self.datapath.drops(self.interfaces[port as usize].0).expect("counters are there");
        let count = |&reason: &DropReason| (reason, counts[reason as usize]);
        DropReason::ALL.iter().map(count).filter(|&(_, count)| count != 0).collect()
    }

    fn set_next_hop(&mut self, target: u32, next_hop: NextHop) {
        let key = self.contents.targets[&target].key;
        self.write(&Change::Target(target, Some(TargetWay { key, next_hop })));
    }

    fn set_usable(&mut self, usable: &dyn Fn(u32) -> bool) {
        let pool = usable_of(&self.contents, usable);
        self.write(&Change::Pool(0, Some(pool)));
    }

    fn edit_endpoint(&mut self, index: u32, edit: &dyn Fn(&mut Endpoint)) {
        let endpoint = self.contents.endpoints.get_mut(&index).expect("it is there");
        edit(endpoint);
        let record = Box::new(*endpoint);
        self.write(&Change::Endpoint(index, Some(record)));
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn set_mtu(&mut self, port: Port, mtu: u32) {
        let (slot, interface) = self.interfaces[port as usize];
        self.write(&Change::Interface(slot, Some(records::Interface { mtu, ..interface })));
    }

    fn detach(&mut self, port: Port) {
        // Of an interface that is none of the gateway's nothing is told.
        self.ring = None;
        self.write(&Change::Interface(self.slot(port), None));
    }

    fn hand_over(&mut self, slot_of: Port, to: Port) {
        let (_, interface) = self.interfaces[to as usize];
        self.write(&Change::Interface(self.slot(slot_of), Some(interface)));
    }

    fn now(&mut self) -> Tick {
        self.datapath.clock().expect("the clock runs").tick()
    }

    fn reserve(&mut self, words: &[(u32, u64)]) {
        self.datapath.set_reserved_ports(words).expect("the map takes it");
    }

    fn slot(&self, port: Port) -> u32 {
        self.interfaces[port as usize].0
    }

    fn events(&mut self) -> Vec<FlowEvent> {
        self.events.by_ref().collect()
    }

    fn address_counts(&self) -> HashMap<CountedAddress, AddressCounts> {
        self.flows.address_counts().expect("the map can be read")
    }

    fn cut(&mut self, flow: &Flow) {
        let (place, now) =
            (self.table().record(flow.number).expect("a record").place(), self.now());
        let ended = self.datapath.end(&[Ending::cut(flow.number, place)], now);
        assert_eq!(ended.expect("it runs"), 1);
    }
}
