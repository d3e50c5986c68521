//! Well-formed packets that are not let through: dropped by reason, answered with a RST, or passed on.

use std::net::Ipv4Addr;

use privatelink_common::tcp::{ACK, FIN, PSH, RST, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Segment, TAGS};
use crate::scenarios;
use crate::world::{
    BALANCER, CLIENT, ENDPOINT, Engine, NOBODIES, Port, TARGET_MACS, all_dropped, drops, expect,
    flow, flows, from_client, from_target, passes_untouched, replaced,
};

/// Sends frames that must all be dropped for this reason, and leave no flow.
#[track_caller]
fn refused(engine: &mut dyn Engine, port: Port, reason: &'static str, frames: &[Segment]) {
    all_dropped(engine, port, reason, frames);
    assert_eq!(flows(engine).len(), 0);
}

/// The RST that answers a segment (RFC 9293, section 3.5.2).
pub(crate) fn reset(to: &Segment) -> Segment {
    Segment {
        to: to.from,
        from: to.to,
        source: to.destination,
        destination: to.source,
        ttl: 64,
        flags: RST,
        sequence: to.acknowledgement,
        acknowledgement: 0,
        window: 0,
        identification: 0,
        dscp_ecn: 0,
        options: vec![],
        payload: vec![],
        tags: to.tags.clone(),
    }
}

#[track_caller]
fn answered(engine: &mut dyn Engine, port: Port, frame: &Segment) {
    expect(engine, port, frame, &reset(frame));
}

fn from(source: Ipv4Addr) -> Segment {
    Segment { source: (source, 40_000), ..from_client(Port::B, 40_000, SYN) }
}

fn to_port(port: Port, destination: u16) -> Segment {
    Segment { destination: (ENDPOINT, destination), ..from_client(port, 40_000, SYN) }
}

fn from_provider(source: (Ipv4Addr, u16), destination_port: u16, flags: u8) -> Segment {
    Segment {
        to: Port::Provider.mac(),
        from: TARGET_MACS[0],
        source,
        destination: (BALANCER, destination_port),
        ..from_client(Port::A, 1, flags)
    }
}

fn not_accepted(text: String) -> String {
    replaced(text, &[("acceptance_required = false", "acceptance_required = true")])
}

/// Of the vpc B are also addresses that no host has.
fn anybody(text: String) -> String {
    let vpc = "vpc-consumer-b\"\naccount = \"333333333333\"\ncidrs = [\"10.0.0.0/16\"";
    let more = "\"0.0.0.0/5\", \"127.0.0.0/8\", \"224.0.0.0/3\"";
    replaced(text, &[(vpc, &format!("{vpc}, {more}"))])
}

scenarios! {
    fn security_group(engine) {
        let outsider = Segment {
            source: (Ipv4Addr::new(10, 1, 0, 1), 40_000),
            ..from_client(Port::A, 40_000, SYN)
        };
        // Also in mid-stream: an outsider gets no RST that would tell him something is there.
        let frames = [outsider.clone(), outsider.with_flags(ACK)];
        refused(engine, Port::A, "SecurityGroup", &frames);
    }

    fn without_security_groups_the_vpcs_own_addresses_may(engine) {
        refused(engine, Port::B, "SecurityGroup", &[from(Ipv4Addr::new(10, 1, 0, 1))]);
    }

    fn unpublished_port(engine) {
        let frames = [81, 8080, 8081, 22, 0, 65_535].map(|port| to_port(Port::B, port));
        refused(engine, Port::B, "NoListener", &frames);
    }

    fn endpoint_not_accepted(engine) with(not_accepted) {
        refused(engine, Port::A, "EndpointNotAvailable", &[from_client(Port::A, 40_000, SYN)]);
    }

    fn an_endpoint_that_is_rejected_resets_the_flows_it_had(engine) with(not_accepted) {
        refused(engine, Port::A, "EndpointNotAvailable", &[from_client(Port::A, 40_000, SYN)]);
        let late = Segment { acknowledgement: 0xcafe_f00d, ..from_client(Port::A, 40_000, ACK) };
        answered(engine, Port::A, &late);
        let outsider = Segment { source: (Ipv4Addr::new(10, 1, 0, 1), 40_000), ..late };
        assert_eq!(engine.receive(Port::A, &outsider.bytes()).verdict, Verdict::Drop);
    }

    fn addresses_no_client_has(engine) with(anybody) {
        let frames: Vec<_> = NOBODIES.into_iter().chain([ENDPOINT]).map(from).collect();
        refused(engine, Port::B, "SourceAddress", &frames);
    }

    fn no_endpoint_at_the_address(engine) {
        for address in [[10, 0, 9, 9], [10, 0, 0, 10], [192, 168, 0, 1]] {
            let frame = Segment {
                destination: (Ipv4Addr::from(address), 80),
                ..from_client(Port::A, 40_000, SYN)
            };
            passes_untouched(engine, Port::A, &frame.bytes());
        }
    }

    fn another_hosts_frame(engine) {
        let frame = Segment { to: [2, 0, 0, 0, 0, 0x99], ..from_client(Port::A, 40_000, SYN) };
        passes_untouched(engine, Port::A, &frame.bytes());
    }

    fn ipv6_and_other_ether_types(engine) {
        let mut frame = from_client(Port::A, 40_000, SYN).bytes();
        for ether_type in [[0x86, 0xdd], [0x88, 0xcc], [0x00, 0x2e]] {
            frame[12..14].copy_from_slice(&ether_type);
            passes_untouched(engine, Port::A, &frame);
        }
    }

    fn three_vlan_tags(engine) {
        let mut frame = from_client(Port::A, 40_000, SYN);
        frame.tags = vec![(0x8100, 1), (0x8100, 2), (0x8100, 3)];
        passes_untouched(engine, Port::A, &frame.bytes());
    }

    fn an_interface_of_no_vpc(engine) {
        engine.detach(Port::A);
        let frame = from_client(Port::A, 40_000, SYN).bytes();
        let outcome = engine.receive(Port::A, &frame);
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Pass, frame));
    }

    fn contradicting_flags(engine) {
        let flags = [0, FIN, PSH, FIN | PSH | 0x20, SYN | FIN, SYN | RST, SYN | FIN | ACK, FIN | RST, 0xff];
        refused(engine, Port::A, "TcpFlags", &flags.map(|flags| from_client(Port::A, 40_000, flags)));
    }

    fn contradicting_flags_on_a_flow(engine) {
        engine.receive(Port::A, &from_client(Port::A, 40_000, SYN).bytes());
        let before = flow(engine);
        for flags in [0, SYN | FIN, FIN | RST] {
            let outcome = engine.receive(Port::A, &from_client(Port::A, 40_000, flags).bytes());
            assert_eq!(outcome.verdict, Verdict::Drop);
        }
        assert_eq!(drops(engine, Port::A), [("TcpFlags", 3)]);
        let after = flow(engine);
        assert_eq!(after.forward.flags, before.forward.flags);
        assert_eq!(after.forward.packets, 1);
    }

    fn mid_stream_without_a_flow_is_reset(engine) {
        let base = Segment { acknowledgement: 0xcafe_f00d, ..from_client(Port::A, 40_000, ACK) };
        let rows = [
            base.clone(),
            base.with_payload(&[7; 333]),
            base.with_flags(SYN | ACK),
            base.with_flags(FIN | ACK),
        ];
        for frame in &rows {
            answered(engine, Port::A, frame);
        }
        assert_eq!(drops(engine, Port::A), [("NoFlow", rows.len() as u64)]);
        assert_eq!(flows(engine).len(), 0);
    }

    /// What each of the 256 flag bytes comes to without a flow. So no answer ever needs RFC 9293's other form of
    /// RST, for segments without an acknowledgement.
    fn every_flag_byte(engine) {
        let (mut opened, mut answered_with_reset) = (0, 0);
        for flags in 0..=u8::MAX {
            let port = 20_000 + u16::from(flags);
            let frame = Segment { acknowledgement: 0xcafe_f00d, ..from_client(Port::A, port, flags) };
            let has = |bits| flags & bits != 0;
            let contradiction = [SYN, FIN, RST].into_iter().filter(|&bit| has(bit)).count() > 1
                || !has(SYN | RST | ACK);
            if contradiction || has(RST) {
                assert_eq!(engine.receive(Port::A, &frame.bytes()).verdict, Verdict::Drop, "{flags:#04x}");
            } else if has(ACK) {
                answered(engine, Port::A, &frame);
                answered_with_reset += 1;
            } else {
                assert_eq!(engine.receive(Port::A, &frame.bytes()).verdict, Verdict::Redirect, "{flags:#04x}");
                opened += 1;
            }
        }
        // PSH, URG, ECE and CWR are free: 16 flag bytes for each choice of the others.
        assert_eq!((opened, answered_with_reset), (16, 3 * 16), "SYN; ACK, SYN+ACK, FIN+ACK");
        assert_eq!(flows(engine).len(), 16);
        assert_eq!(drops(engine, Port::A), [("NoFlow", 5 * 16), ("TcpFlags", 256 - 6 * 16)]);
    }

    fn a_reset_keeps_the_askers_tags(engine) {
        let mut frame = from_client(Port::A, 40_000, ACK).with_payload(b"hello");
        frame.tags = TAGS.to_vec();
        answered(engine, Port::A, &frame);
    }

    fn a_reset_is_never_answered(engine) {
        let frames = [RST, RST | ACK].map(|flags| from_client(Port::A, 40_000, flags));
        refused(engine, Port::A, "NoFlow", &frames);
    }

    /// Who holds no flow learns nothing from a load balancer address.
    fn the_provider_cannot_open(engine) {
        let stranger = (Ipv4Addr::new(10, 0, 3, 3), 8080);
        let target = (ENDPOINT, 8080);
        let frames = [
            from_provider(stranger, 80, SYN),
            from_provider(stranger, 20_000, SYN),
            from_provider(stranger, 20_000, ACK),
            from_provider(stranger, 20_000, SYN | ACK),
            from_provider(target, 20_000, SYN),
            from_provider((ENDPOINT, 9999), 20_000, ACK),
            from_provider((CLIENT, 40_000), 20_000, RST),
        ];
        refused(engine, Port::Provider, "Unsolicited", &frames);
    }

    /// Whoever answers a health check, the daemon hears it: its port may be another than the target's.
    fn what_answers_a_health_check_is_the_hosts(engine) {
        for source in [(ENDPOINT, 8080), (ENDPOINT, 9999), (Ipv4Addr::new(10, 0, 3, 3), 8080)] {
            for port in [1024, 5000, 10_239] {
                for flags in [SYN | ACK, ACK, ACK | PSH, ACK | FIN, RST, RST | ACK] {
                    let frame = from_provider(source, port, flags).with_payload(b"HTTP/1.1 200 OK");
                    passes_untouched(engine, Port::Provider, &frame.bytes());
                }
            }
        }
    }

    fn nobody_opens_to_a_port_of_health_checks(engine) {
        let target = (ENDPOINT, 8080);
        let frames = [1024, 5000, 10_239].map(|port| from_provider(target, port, SYN));
        refused(engine, Port::Provider, "Unsolicited", &frames);
    }

    fn ports_beside_those_of_health_checks(engine) {
        let target = (ENDPOINT, 8080);
        for port in [1023, 10_240] {
            let frame = from_provider(target, port, ACK);
            answered(engine, Port::Provider, &frame);
        }
        assert_eq!(drops(engine, Port::Provider), [("NoFlow", 2)]);
    }

    fn only_the_leased_target_may_answer(engine) {
        engine.receive(Port::A, &from_client(Port::A, 40_000, SYN).bytes());
        let opened = flow(engine);
        let right = from_target(&opened, SYN | ACK, &[]);
        let wrong_host = Segment { source: (Ipv4Addr::new(10, 0, 3, 3), right.source.1), ..right.clone() };
        let wrong_port = Segment { source: (right.source.0, right.source.1 + 5), ..right.clone() };
        for frame in [wrong_host, wrong_port] {
            assert_eq!(engine.receive(Port::Provider, &frame.bytes()).verdict, Verdict::Drop);
        }
        assert_eq!(drops(engine, Port::Provider), [("Unsolicited", 2)]);
        // The right answer, but in a consumer's vpc, where the address is nobody's: the host's.
        let elsewhere = Segment { to: Port::B.mac(), ..right.clone() };
        passes_untouched(engine, Port::B, &elsewhere.bytes());
        assert_eq!(flow(engine).reverse.packets, 0);
        assert_eq!(engine.receive(Port::Provider, &right.bytes()).verdict, Verdict::Redirect);
    }

    fn a_targets_segment_of_a_forgotten_flow_is_reset(engine) {
        let frame = Segment {
            acknowledgement: 0x0102_0304,
            ..from_provider((ENDPOINT, 8080), 20_000, ACK).with_payload(b"late")
        };
        answered(engine, Port::Provider, &frame);
        assert_eq!(drops(engine, Port::Provider), [("NoFlow", 1)]);
    }
}
