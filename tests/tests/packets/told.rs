//! What the data path tells the daemon as it happens: flows that end, packets that are refused.

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_event::{Ended, FlowEvent, Refused};
use privatelink_common::flow_table::record::Phase;
use privatelink_common::records::NextHop;
use privatelink_common::tcp::{ACK, PSH, RST, SYN};
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::connection::{client, established, open};
use crate::frame::Segment;
use crate::packet::{Carried, Packet, segment};
use crate::scenarios;
use crate::wide::{self, CLIENT_6, ENDPOINT_6, dualstack, six};
use crate::world::{BALANCER, CLIENT, ENDPOINT, Engine, Port, carried, flow, from_client, pass};

/// The flows that ended.
fn ended(engine: &mut dyn Engine) -> Vec<Ended> {
    let ended = |event| match event {
        FlowEvent::Ended(ended) => Some(ended),
        FlowEvent::Refused(_) => None,
    };
    engine.events().into_iter().filter_map(ended).collect()
}

/// The packets that were refused: source, destination, protocol, reason, length, flags.
fn refused(engine: &mut dyn Engine) -> Vec<(String, String, u8, DropReason, u16, u8)> {
    let told = |event| {
        let FlowEvent::Refused(Refused { key, what, .. }) = event else { return None };
        let reason = what.reason().expect("a reason");
        let (from, to) = (key.sender().to_string(), key.receiver().to_string());
        Some((from, to, key.protocol, reason, what.length(), what.flags()))
    };
    engine.events().into_iter().filter_map(told).collect()
}

fn sent(engine: &mut dyn Engine, port: Port, segment: &Segment) -> Verdict {
    engine.receive(port, &segment.bytes()).verdict
}

scenarios! {
    fn a_flow_is_told_of_when_it_ends_as_it_was(engine) {
        established(engine);
        carried(engine, Port::A, &client(ACK | PSH).with_payload(b"question"));
        assert_eq!(engine.events(), [], "nothing has ended");
        pass(engine, 351_000);
        let live = flow(engine);
        assert_eq!(sent(engine, Port::A, &client(ACK)), Verdict::Redirect, "a RST");
        let told = ended(engine);
        assert_eq!(told.len(), 1);
        // Where its client is nobody need know any more, but all else is as it was.
        assert_eq!(told[0].flow, live);
        assert_eq!(told[0].flow.phase, Phase::Established);
        assert!(told[0].at.since_stamp(live.forward.stamp) > 0);
    }

    fn a_flow_that_was_never_answered_ends_half_open(engine) {
        let opened = open(engine);
        pass(engine, 31_000);
        // The sender of the next SYN ends it.
        assert_eq!(sent(engine, Port::A, &from_client(Port::A, 40_000, SYN)), Verdict::Redirect);
        let told = ended(engine);
        assert_eq!(told.len(), 1);
        let flow = &told[0].flow;
        assert_eq!((flow.number, flow.phase), (opened.number, Phase::HalfOpen));
        assert_eq!(flow.forward.key, opened.forward.key);
        assert_eq!([flow.forward.packets, flow.reverse.packets], [1, 0]);
    }

    fn what_is_refused_is_told_with_its_reason(engine) {
        let syn = from_client(Port::A, 40_000, SYN);
        let shut_out = Segment { source: ([10, 9, 0, 1].into(), 40_001), ..syn.clone() };
        assert_eq!(sent(engine, Port::A, &shut_out), Verdict::Drop);
        let elsewhere = Segment { destination: (ENDPOINT, 81), ..syn.clone() };
        assert_eq!(sent(engine, Port::A, &elsewhere), Verdict::Drop);
        assert_eq!(sent(engine, Port::A, &client(ACK)), Verdict::Redirect, "a RST");
        assert_eq!(sent(engine, Port::A, &client(RST)), Verdict::Drop);
        let at_balancer = Segment {
            source: (CLIENT, 9),
            destination: (BALANCER, 10_000),
            ..from_client(Port::Provider, 9, SYN)
        };
        assert_eq!(sent(engine, Port::Provider, &at_balancer), Verdict::Drop);
        let (from, to) = (format!("{CLIENT}:40000"), format!("{ENDPOINT}:80"));
        assert_eq!(refused(engine), [
            ("10.9.0.1:40001".into(), to.clone(), 6, DropReason::SecurityGroup, 48, SYN),
            (from.clone(), format!("{ENDPOINT}:81"), 6, DropReason::NoListener, 48, SYN),
            (from.clone(), to.clone(), 6, DropReason::NoFlow, 48, ACK),
            (from, to, 6, DropReason::NoFlow, 48, RST),
            (format!("{CLIENT}:9"), format!("{BALANCER}:10000"), 6, DropReason::Unsolicited, 48, SYN),
        ]);
    }

    fn what_is_refused_of_ipv6_is_told_with_its_reason(engine) with(dualstack) {
        let syn = wide::from_client(Family::Six, segment(SYN, 1, 0), &[]);
        let stray = wide::from_client(Family::Six, segment(ACK, 1, 1), &[7; 5]);
        let at = |port| wide::end(ENDPOINT_6, port);
        let elsewhere = Packet { destination: at(81), ..syn.clone() };
        let datagram = Packet { carried: Carried::Datagram, ..elsewhere.clone() };
        let linked = Packet { source: wide::end("fe80::1", 9), ..syn.clone() };
        let reset = wide::from_client(Family::Six, segment(RST, 1, 0), &[]);
        let sent = [
            (&elsewhere, Verdict::Drop),
            (&datagram, Verdict::Drop),
            (&linked, Verdict::Drop),
            (&stray, Verdict::Redirect),
            (&reset, Verdict::Drop),
        ];
        for (packet, verdict) in sent {
            assert_eq!(engine.receive(Port::A, &packet.bytes()).verdict, verdict, "{packet:?}");
        }
        let (from, to) = (format!("[{CLIENT_6}]:40000"), at(80).to_string());
        assert_eq!(refused(engine), [
            (from.clone(), at(81).to_string(), 6, DropReason::NoListener, 60, SYN),
            (from.clone(), at(81).to_string(), 17, DropReason::NoListener, 48, 0),
            ("[fe80::1]:9".into(), to.clone(), 6, DropReason::SourceAddress, 60, SYN),
            (from.clone(), to.clone(), 6, DropReason::NoFlow, 65, ACK),
            (from, to, 6, DropReason::NoFlow, 60, RST),
        ]);
    }

    fn what_a_translated_flow_is_refused_for_is_told_as_it_came(engine) with(six) {
        let syn = wide::from_client(Family::Four, segment(SYN, 1, 0), &[]);
        wide::to_target(engine, &syn, Family::Six);
        engine.set_mtu(Port::Provider, 1280);
        let long = wide::from_client(Family::Four, segment(ACK, 2, 2), &[7; 1300]);
        assert_eq!(engine.receive(Port::A, &long.bytes()).verdict, Verdict::Redirect, "an error");
        let (from, to) = (format!("{CLIENT}:40000"), format!("{ENDPOINT}:80"));
        assert_eq!(refused(engine), [(from, to, 6, DropReason::TooBig, 1340, ACK)]);
    }

    fn what_is_answered_by_an_icmp_error_is_told_as_it_came(engine) {
        established(engine);
        engine.set_mtu(Port::Provider, 1000);
        let long = client(ACK | PSH).with_payload(&[7; 1000]);
        assert_eq!(sent(engine, Port::A, &long), Verdict::Redirect);
        let (from, to) = (format!("{CLIENT}:40000"), format!("{ENDPOINT}:80"));
        assert_eq!(refused(engine), [(from, to, 6, DropReason::TooBig, 1048, ACK | PSH)]);
    }

    fn what_a_flow_has_no_next_hop_for_is_told(engine) {
        let opened = open(engine);
        engine.set_next_hop(opened.target, NextHop::UNKNOWN);
        assert_eq!(sent(engine, Port::A, &client(ACK)), Verdict::Drop);
        assert_eq!(opened.forward.key.source, CLIENT);
        let told = refused(engine);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].3, DropReason::NextHopUnresolved);
    }

    fn what_is_no_segment_is_told_as_far_as_it_can_be_read(engine) {
        let whole = from_client(Port::A, 40_000, SYN).bytes();
        let with = |changes: &[(usize, u8)]| {
            let mut frame = whole.clone();
            for &(at, byte) in changes {
                frame[at] = byte;
            }
            frame
        };
        // UDP has its ports where TCP has them; other protocols have none, nor have later fragments, nor headers that
        // are longer than ours.
        let frames = [
            with(&[(23, 17)]),
            with(&[(23, 47)]),
            with(&[(20, 0x20)]),
            with(&[(21, 0x10)]),
            with(&[(14, 0x46)]),
            whole[..36].to_vec(),
            whole[..33].to_vec(),
        ];
        for frame in &frames {
            assert_ne!(engine.receive(Port::A, frame).verdict, Verdict::Redirect);
        }
        let (from, to) = (CLIENT.to_string(), ENDPOINT.to_string());
        let of = |port: u16, at: u16, protocol, reason, flags| {
            (format!("{from}:{port}"), format!("{to}:{at}"), protocol, reason, 48, flags)
        };
        assert_eq!(refused(engine), [
            of(40_000, 80, 17, DropReason::UdpLength, 0),
            of(0, 0, 47, DropReason::Protocol, 0),
            of(40_000, 80, 6, DropReason::Fragment, SYN),
            of(0, 0, 6, DropReason::Fragment, 0),
            of(0, 0, 6, DropReason::Ipv4Options, 0),
            of(0, 0, 6, DropReason::Ipv4Header, 0),
        ]);
    }

    fn what_is_the_hosts_is_not_told(engine) {
        let elsewhere = Segment {
            destination: ([10, 0, 1, 99].into(), 80),
            ..from_client(Port::A, 40_000, SYN)
        };
        assert_eq!(sent(engine, Port::A, &elsewhere), Verdict::Pass);
        assert_eq!(engine.events(), []);
    }
}
