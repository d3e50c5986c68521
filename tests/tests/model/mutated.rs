//! Millions of damaged frames of either family, and what may never happen to any of them.

use privatelink_common::flow_table::{Flow, PacketKey};
use privatelink_common::tcp::{ACK, FIN, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use super::extensions::bare;
use super::icmp::Quoted;
use super::mix::{Mix, TARGETS};
use super::pieces::read;
use super::promises;
use super::rows::{between, key};
use super::seeds::{Frame, seeds};
use super::wire::{self, Parcel, Socket, addresses, header_of};
use crate::damage::{Random, damage};
use crate::world::{Engine, Outcome, Port, TARGET_MACS, end, find_either, in_tables, records_of};

/// What has become of the frames.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) dropped: u64,
    pub(crate) forwarded: u64,
    pub(crate) answered: u64,
    pub(crate) opened: u64,
    /// Of those forwarded: errors, first fragments and later ones.
    pub(crate) errors: u64,
    pub(crate) firsts: u64,
    pub(crate) laters: u64,
}

/// Who gets the frames: an engine, or two as one.
pub(crate) trait Subject {
    /// Opens a flow.
    fn open(&mut self, first: &Frame) -> Flow;
    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome;
    /// Ends the flow whose packets look so.
    fn end(&mut self, key: &PacketKey);
    /// Whether it cannot be told what a frame comes to that opens the flow `known` anew.
    fn cannot_reopen(&self, known: &Flow) -> bool;
    /// An engine whose flows are those of the subject.
    fn engine(&self) -> &dyn Engine;
    fn allow_echo(&mut self);
}

/// One engine.
pub(crate) struct One<'e>(pub(crate) &'e mut dyn Engine);

impl Subject for One<'_> {
    fn open(&mut self, (port, frame): &Frame) -> Flow {
        assert_eq!(self.0.receive(*port, frame).verdict, Verdict::Redirect);
        flow_of(self.0, *port, frame).expect("its flow")
    }

    fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome {
        self.0.receive(port, frame)
    }

    fn end(&mut self, key: &PacketKey) {
        let flow = find_either(self.0, key).expect("it is there");
        end(self.0, &flow);
    }

    fn cannot_reopen(&self, _: &Flow) -> bool {
        false
    }

    fn engine(&self) -> &dyn Engine {
        self.0
    }

    fn allow_echo(&mut self) {
        allow_echo(self.0);
    }
}

/// Has A's endpoint answer echo requests.
pub(super) fn allow_echo(engine: &mut dyn Engine) {
    engine.edit_endpoint(0, &|endpoint| endpoint.icmp_echo = 1);
}

/// The flow that a frame is of.
pub(super) fn flow_of(engine: &dyn Engine, port: Port, frame: &[u8]) -> Option<Flow> {
    find_either(engine, &key(port, &read(frame)?))
}

/// Whether segment or datagram is what opens a flow.
fn asks(parcel: &Parcel) -> bool {
    !parcel.is_tcp() || parcel.flags & (SYN | ACK | RST | FIN) == SYN
}

/// Sends this many damaged frames through an engine that has no flows yet. Damaged segments reset flows and open them again
/// elsewhere, and then the frames from their targets meet nothing: not too many, therefore.
pub(crate) fn run(
    subject: &mut impl Subject,
    mix: Mix,
    frames: u64,
    random: &mut Random,
    counts: &mut Counts,
) {
    subject.allow_echo();
    let seeds = seeds(subject, mix);
    for (port, frame) in &seeds {
        receive(subject, mix, *port, frame, counts);
    }
    for _ in 0..frames {
        let (port, frame) = &seeds[random.below(seeds.len())];
        let mut frame = frame.clone();
        damage(&mut frame, random);
        receive(subject, mix, *port, &frame, counts);
    }
}

fn live(engine: &dyn Engine) -> u64 {
    (0..3).map(|endpoint| engine.table().usage(endpoint).expect("one").flows.get()).sum()
}

fn receive(subject: &mut impl Subject, mix: Mix, port: Port, frame: &[u8], counts: &mut Counts) {
    let parcel = read(frame);
    let key = parcel.as_ref().map(|parcel| key(port, parcel));
    let flow = |engine: &dyn Engine| key.as_ref().and_then(|key| find_either(engine, key));
    let (before, flows) = (flow(subject.engine()), live(subject.engine()));
    let reopens = |known: &Flow| parcel.as_ref().is_some_and(asks) && subject.cannot_reopen(known);
    if before.as_ref().is_some_and(reopens) {
        return;
    }
    let outcome = subject.receive(port, frame);
    let after = flow(subject.engine());
    let number = |flow: &Option<Flow>| flow.as_ref().map(|flow| flow.number);
    let opened =
        live(subject.engine()) > flows || after.is_some() && number(&before) != number(&after);
    if opened {
        counts.opened += 1;
        let parcel = parcel.as_ref().expect("only segment or datagram opens a flow");
        assert!(asks(parcel), "only a SYN: {frame:02x?}");
        let packet = bare(frame).expect("a packet");
        assert!(parcel.header == 40 || wire::ipv4_is_right(&packet), "{frame:02x?}");
        assert!(parcel.piece.is_some() || parcel.is_right(&packet), "{frame:02x?}");
        assert_ne!(port, Port::Provider, "only a consumer: {frame:02x?}");
    }
    match outcome.verdict {
        Verdict::Pass => {
            counts.passed += 1;
            let is_bare = bare(frame).is_some_and(|packet| outcome.frame.ends_with(&packet));
            assert!(outcome.frame == frame || is_bare, "what passes is untouched: {frame:02x?}");
        }
        Verdict::Drop => counts.dropped += 1,
        Verdict::Redirect => {
            let from = outcome.frame[6..12].to_vec();
            let egress = Port::ALL.into_iter().find(|port| port.mac()[..] == from[..]);
            let egress = egress.expect("an interface's own MAC address");
            if egress == port {
                counts.answered += 1;
                promises::of_an_answer(frame, &outcome.frame);
            } else {
                counts.forwarded += 1;
                let way = Way { port, egress, sent: frame, out: &outcome.frame };
                way.is_a_flows(subject.engine(), mix, counts);
                promises::of_what_is_sent_on(frame, &outcome.frame);
            }
        }
        Verdict::Tx | Verdict::Aborted => panic!("{:?}", outcome.verdict),
    }
    if opened && before.is_none() {
        // The next frames meet the flows of the start only.
        subject.end(&key.expect("it has one"));
    }
}

/// A frame that has come by one port and left by another.
struct Way<'f> {
    port: Port,
    egress: Port,
    sent: &'f [u8],
    out: &'f [u8],
}

impl Way<'_> {
    /// That it is the way of a flow: what a client sends leaves from the lease to the target, and what the target answers from
    /// the endpoint's address to the client.
    fn is_a_flows(&self, engine: &dyn Engine, mix: Mix, counts: &mut Counts) {
        let &Way { port, egress, sent, out } = self;
        let vpc = |port: Port| port as u16 + 1;
        let [came, left] = [sent, out].map(|frame| addresses(&bare(frame).expect("a packet")));
        if egress == Port::Provider {
            let is_target = (0..TARGETS).any(|target| mix.target(target).0.0 == left.1);
            assert!(is_target && TARGET_MACS.iter().any(|mac| *mac == out[..6]), "{sent:02x?}");
        }
        if let Some(parcel) = read(sent) {
            counts.firsts += u64::from(parcel.piece.is_some());
            let flow = find_either(engine, &key(port, &parcel)).expect("its flow");
            let (here, there) = directions(&flow, port);
            assert_eq!(here, key(port, &parcel), "{sent:02x?}");
            let ports = ports(out);
            let leaves = ((left.0, ports.0), (left.1, ports.1));
            assert_eq!((vpc(egress), leaves), (there.vpc, ends_back(&there)), "{sent:02x?}");
            return;
        }
        let packet = bare(sent).expect("a packet");
        if Parcel::read_any(&packet).is_err() {
            counts.errors += 1;
            let quoted = Quoted::read(&packet[header_of(came.0) + 8..]);
            let answers = between(port, quoted.protocol, quoted.receiver, quoted.sender);
            let flow = find_either(engine, &answers).expect("a flow had sent what it quotes");
            let (here, there) = directions(&flow, port);
            assert_eq!((here, came.1), (answers, answers.destination), "{sent:02x?}");
            let leaves = (vpc(egress), left);
            assert_eq!(leaves, (there.vpc, (there.destination, there.source)), "{sent:02x?}");
            return;
        }
        counts.laters += 1;
        let mut found = false;
        in_tables(engine, &mut |table| {
            found |= records_of(table).filter_map(|record| Flow::of(table, &record)).any(|flow| {
                let (here, there) = directions(&flow, port);
                (here.vpc, there.vpc) == (vpc(port), vpc(egress))
                    && (here.source, here.destination) == came
                    && (there.destination, there.source) == left
            });
        });
        assert!(found, "from {came:?} to {left:?} by {egress:?}: {sent:02x?}");
    }
}

/// The keys of what comes by a port of a flow, and of the other direction.
fn directions(flow: &Flow, port: Port) -> (PacketKey, PacketKey) {
    match port {
        Port::Provider => (flow.reverse.key, flow.forward.key),
        _ => (flow.forward.key, flow.reverse.key),
    }
}

/// The ends of what goes where packets of a direction come from.
fn ends_back(key: &PacketKey) -> (Socket, Socket) {
    ((key.destination, key.destination_port), (key.source, key.source_port))
}

/// The ports of a segment or datagram, or of a first fragment, that has left.
fn ports(out: &[u8]) -> (u16, u16) {
    let packet = bare(out).expect("a packet");
    let start = match packet[0] >> 4 {
        6 if packet[6] == 44 => 48,
        6 => 40,
        _ => 20,
    };
    (wire::u16_at(&packet, start), wire::u16_at(&packet, start + 2))
}
