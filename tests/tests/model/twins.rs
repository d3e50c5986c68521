//! Both engines as one, with the same flows: they must agree on every frame, byte for byte.

use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::record::NewFlow;
use privatelink_common::flow_table::{Flow, FlowMemory, PacketKey};
use privatelink_common::host;
use privatelink_common::records::NextHop;
use privatelink_common::wide::WIDE;
use privatelink_userspace::datapath::Verdict;

use super::extensions::bare;
use super::mutated::{Subject, allow_echo, flow_of};
use super::pieces::read;
use super::rewrite::put;
use super::rows::{entries, key};
use super::seeds::Frame;
use super::wire::{Parcel, ipv4_is_right};
use crate::world::{Engine, Host, Kernel, Outcome, Port, drops, end, find_either};

/// Both engines.
pub(crate) struct Twins<'k> {
    pub(crate) host: Host,
    pub(crate) kernel: &'k mut Kernel,
}

/// Puts a flow of one engine into another, as if no packet had come yet.
fn copy(from: &dyn Engine, flow: &Flow, to: &mut dyn Engine) {
    let (wide, number) = (flow.number & WIDE != 0, flow.number & !WIDE);
    let mut taken = None;
    in_table(from, wide, &mut |table| {
        let record = table.record(number).expect("a record");
        let [forward, reverse] = [record.forward, record.reverse].map(FlowHalf::key_words);
        let Flow { endpoint, target, .. } = *flow;
        let ends = table.ends(number).map(|ends| (ends.arriving(), ends.leaving()));
        taken = Some((NewFlow { forward, reverse, endpoint, target }, ends));
    });
    let (new, ends) = taken.expect("it was there");
    let now = to.now();
    in_table(to, wide, &mut |table| {
        assert!(host::occupy(table, &new, 0, now));
        let found = table.find(new.forward).expect("it is there now");
        let other = table.find(new.reverse).expect("both of it");
        let (Some((arriving, leaving)), Some(forward), Some(reverse)) =
            (ends, table.ends(found.number()), table.ends(other.number()))
        else {
            return;
        };
        forward.set_arriving(arriving);
        forward.set_leaving(leaving);
        let [[client, endpoint], [lease, target]] = [arriving, leaving];
        reverse.set_arriving([target, lease]);
        reverse.set_leaving([endpoint, client]);
    });
}

fn in_table(engine: &dyn Engine, wide: bool, work: &mut dyn FnMut(&dyn FlowMemory)) {
    if wide { engine.in_wide_table(work) } else { work(engine.table()) }
}

/// A frame without what depends on the lease that the flow has which it has opened.
fn without_lease(outcome: &Outcome) -> (Verdict, Vec<u8>) {
    let mut frame = outcome.frame.clone();
    if outcome.verdict == Verdict::Redirect {
        let packet = bare(&frame).expect("a packet");
        let at = frame.len() - packet.len();
        let mut earlier = packet.clone();
        // The last hop is none to read.
        let parcel = hopped(&mut earlier);
        assert!(parcel.piece.is_some() || parcel.is_right(&packet), "{frame:02x?}");
        let packet = &mut frame[at..];
        if parcel.header == 20 {
            assert!(ipv4_is_right(packet));
            put(packet, 4, 0);
            put(packet, 10, 0);
        }
        put(packet, parcel.start(), 0);
        put(packet, parcel.checksum(), 0);
    }
    (outcome.verdict, frame)
}

/// What a packet carries as it was a hop ago.
fn hopped(packet: &mut [u8]) -> Parcel {
    packet[if packet[0] >> 4 == 6 { 7 } else { 8 }] += 1;
    Parcel::read_any(packet).expect("segment or datagram")
}

impl Subject for Twins<'_> {
    /// Leases are random: the kernel gets the host's.
    fn open(&mut self, (port, frame): &Frame) -> Flow {
        self.tick();
        let ours = self.host.receive(*port, frame);
        assert_eq!(ours.verdict, Verdict::Redirect);
        let flow = flow_of(&self.host, *port, frame).expect("its flow");
        copy(&self.host, &flow, self.kernel);
        assert_eq!(self.kernel.receive(*port, frame), ours);
        flow
    }

    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome {
        self.tick();
        let key = read(frame).map(|parcel| key(port, &parcel));
        let known = |engine: &dyn Engine| key.as_ref().and_then(|key| find_either(engine, key));
        let before = known(&self.host).is_some();
        let ours = self.host.receive(port, frame);
        let kernels = self.kernel.receive(port, frame);
        let [opened, kernel_opened] = [&self.host as &dyn Engine, self.kernel]
            .map(|engine| !before && known(engine).is_some());
        assert_eq!(kernel_opened, opened, "{port:?} {frame:02x?}");
        if opened {
            let both = [&kernels, &ours].map(without_lease);
            assert_eq!(both[0], both[1], "{port:?} {frame:02x?}");
        } else {
            assert_eq!(kernels, ours, "{port:?} {frame:02x?}");
        }
        ours
    }

    fn end(&mut self, key: &PacketKey) {
        for engine in [&mut self.host as &mut dyn Engine, self.kernel] {
            let flow = find_either(engine, key).expect("the new flow");
            end(engine, &flow);
        }
    }

    /// It would get another lease, and its twin another one.
    fn cannot_reopen(&self, known: &Flow) -> bool {
        known.state.is_over()
    }

    fn engine(&self) -> &dyn Engine {
        &self.host
    }

    fn allow_echo(&mut self) {
        allow_echo(&mut self.host);
        allow_echo(self.kernel);
    }
}

impl Twins<'_> {
    /// Fragments have two seconds, by the one clock or the other.
    fn tick(&mut self) {
        let now = self.kernel.now();
        self.host.set_now(now);
    }

    /// All flows but what clocks, chance and interface indexes decide.
    fn flows(engine: &dyn Engine) -> Vec<Flow> {
        let mut flows = entries(engine);
        for flow in &mut flows {
            (flow.number, flow.opened, flow.forward.stamp, flow.reverse.stamp) = (0, 0, 0, 0);
            flow.client = NextHop::new(flow.client.mac(), 0);
            for half in [&mut flow.forward, &mut flow.reverse] {
                half.note = half.note.untimed();
            }
        }
        let ends = |flow: &Flow| flow.forward.key;
        flows.sort_by_key(|flow| (ends(flow).vpc, ends(flow).source, ends(flow).protocol));
        flows
    }

    /// That both have the same flows, and have dropped the same.
    pub(crate) fn are_alike(&self) {
        for port in Port::ALL {
            assert_eq!(drops(self.kernel, port), drops(&self.host, port), "{port:?}");
        }
        assert_eq!(Self::flows(self.kernel), Self::flows(&self.host));
    }
}
