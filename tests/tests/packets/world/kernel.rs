//! The program in the kernel, run by BPF_PROG_TEST_RUN.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use privatelink_common::capture::{MAX_SNAPLEN, Order};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_event::FlowEvent;
use privatelink_common::flow_table::ending::Ending;
use privatelink_common::flow_table::totals::AddressCounts;
use privatelink_common::flow_table::{Flow, FlowMemory};
use privatelink_common::records::{self, Endpoint, NextHop};
use privatelink_common::ticks::Tick;
use privatelink_tests::{Namespace, veth};
use privatelink_userspace::attach_choice::Mode;
use privatelink_userspace::contents::{Contents, CountedAddress, TargetWay};
pub(crate) use privatelink_userspace::datapath::ProgramKind;
use privatelink_userspace::datapath::{
    Attachment, Datapath, FlowEvents, FlowTable, Links, Pins, Ring, Sizes, TestRun, Verdict, View,
};
use privatelink_userspace::model::Model;
use privatelink_userspace::reconcile::{Change, Maps as _, Reconciler};

use super::configuration::{by_port, contents, counted, model, usable_of};
use super::engine::{Engine, Outcome};
use super::flows;
use super::network::Port;
use super::wire::Wire;

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
    /// By which frames come to classifiers. XDP programs are run on them.
    wire: Option<Wire>,
    /// Where the watched program tells of packets, if that is what runs.
    ring: Option<Ring>,
}

/// Set, the scenarios run on the watched program, and each packet must be told as it was and as it became.
const WATCHED: &str = "PRIVATELINK_TEST_WATCHED";

impl Kernel {
    /// Runs `test` on a fresh program in a fresh namespace.
    pub(crate) fn run(
        kind: ProgramKind,
        edit: &(dyn Fn(String) -> String + Sync),
        test: impl FnOnce(&mut Self) + Send,
    ) {
        let gateway = Namespace::new("fix").expect("a namespace");
        let far = Namespace::new("far").expect("a namespace");
        for namespace in [&gateway, &far] {
            // No host is to say anything by itself.
            namespace.sysctl("ipv6/conf/default/disable_ipv6", "1").expect("there is IPv6");
        }
        for port in Port::ALL {
            veth(&gateway, port.name(), &far, port.name()).expect("a veth pair");
            if kind == ProgramKind::Classifier {
                Wire::lengthen(&[&gateway, &far], port);
            }
        }
        let test = || test(&mut Self::new(kind, &far, edit));
        gateway.enter(test).expect("the namespace can be entered");
    }

    fn new(kind: ProgramKind, far: &Namespace, edit: &dyn Fn(String) -> String) -> Self {
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
            let hooks = match kind {
                ProgramKind::Xdp => Mode::Xdp.hooks(false),
                ProgramKind::Classifier => Mode::Tcx.hooks(true),
            };
            let to = Attachment { interface, ifindex, hooks, present: None };
            links.attach(&mut datapath, &to).expect("it attaches");
        }
        let interfaces = by_port(&contents, ifindexes);
        let events = datapath.events().expect("there is a ring");
        let tables = flows.views();
        let ring = std::env::var_os(WATCHED).is_some().then(|| {
            datapath.set_watched(true).expect("it loads");
            datapath.ring().expect("there is a ring")
        });
        let wire = (kind == ProgramKind::Classifier).then(|| Wire::new(far));
        Self {
            model,
            _links: links,
            datapath,
            events,
            tables,
            flows,
            contents,
            interfaces,
            wire,
            ring,
        }
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
        let outcome = match &mut self.wire {
            Some(wire) => wire.receive(port, frame),
            None => {
                let run = self.datapath.test_run(frame, ifindex, 1);
                let TestRun { verdict, frame, nanoseconds } = run.expect("it runs");
                assert!(nanoseconds < Duration::from_secs(1).as_nanos() as u64);
                Outcome { verdict, frame }
            }
        };
        if let Some(before) = before {
            let counted = |(reason, count): (DropReason, u64)| {
                (count > before.get(&reason).copied().unwrap_or(0)).then_some(reason)
            };
            let dropped: Vec<_> = self.drops(port).into_iter().filter_map(counted).collect();
            self.expect_told(port, frame, &outcome, &dropped);
        }
        outcome
    }

    fn takes(&self, frame: &[u8]) -> bool {
        self.wire.is_none() || Wire::takes(frame)
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

    fn edit_interface(&mut self, port: Port, edit: &dyn Fn(&mut records::Interface)) {
        let (slot, mut interface) = self.interfaces[port as usize];
        edit(&mut interface);
        self.write(&Change::Interface(slot, Some(interface)));
    }

    fn is_classifier(&self) -> bool {
        self.wire.is_some()
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
        let (now, mut endings) = (self.now(), Vec::new());
        flows::in_its_table(self, flow, &mut |_, record| {
            endings.push(Ending::cut(flow.number, record.place()));
        });
        assert_eq!(self.datapath.end(&endings, now).expect("it runs"), 1);
    }
}
