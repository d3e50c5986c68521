//! ARP: our addresses are answered for, everything else is the host's.

use std::net::Ipv4Addr;

use privatelink_userspace::datapath::Verdict;

use crate::frame::{Mac, TAGS, arp, ethernet};
use crate::scenarios;
use crate::world::{BALANCER, CLIENT, ENDPOINT, Port, drops, passes_untouched};

const BROADCAST: Mac = [0xff; 6];
const NOBODY: Mac = [0; 6];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

fn question(port: Port, sender: Ipv4Addr, wanted: Ipv4Addr, tags: &[(u16, u16)]) -> Vec<u8> {
    let message = arp(REQUEST, (port.client(), sender), (NOBODY, wanted));
    [ethernet(BROADCAST, port.client(), tags, 0x0806), message].concat()
}

fn answer(port: Port, sender: Ipv4Addr, wanted: Ipv4Addr, tags: &[(u16, u16)]) -> Vec<u8> {
    let message = arp(REPLY, (port.mac(), wanted), (port.client(), sender));
    [ethernet(port.client(), port.mac(), tags, 0x0806), message].concat()
}

scenarios! {
    fn our_addresses_are_answered_for(engine) {
        let unset = Ipv4Addr::UNSPECIFIED;
        let rows = [
            (Port::A, CLIENT, ENDPOINT, &[][..]),
            (Port::B, CLIENT, ENDPOINT, &[]),
            (Port::Provider, CLIENT, BALANCER, &[]),
            // A probe for a conflict (RFC 5227) has no sender address.
            (Port::A, unset, ENDPOINT, &[]),
            (Port::A, CLIENT, ENDPOINT, &[(0x8100, 100)]),
            (Port::A, CLIENT, ENDPOINT, &TAGS),
        ];
        for (port, sender, wanted, tags) in rows {
            let outcome = engine.receive(port, &question(port, sender, wanted, tags));
            assert_eq!(outcome.verdict, Verdict::Redirect);
            assert_eq!(outcome.frame, answer(port, sender, wanted, tags));
        }
    }

    fn padding_stays(engine) {
        let padded = [question(Port::A, CLIENT, ENDPOINT, &[]), vec![0; 18]].concat();
        let outcome = engine.receive(Port::A, &padded);
        assert_eq!(outcome.frame, [answer(Port::A, CLIENT, ENDPOINT, &[]), vec![0; 18]].concat());
    }

    fn everything_else_is_the_hosts(engine) {
        let foreign = Ipv4Addr::new(10, 0, 9, 9);
        // 10.0.1.10 is a target's address in the provider's vpc, and an endpoint's in the others.
        passes_untouched(engine, Port::Provider, &question(Port::Provider, CLIENT, ENDPOINT, &[]));
        passes_untouched(engine, Port::A, &question(Port::A, CLIENT, BALANCER, &[]));
        passes_untouched(engine, Port::A, &question(Port::A, CLIENT, foreign, &[]));
        // An announcement asks for nothing.
        passes_untouched(engine, Port::A, &question(Port::A, ENDPOINT, ENDPOINT, &[]));
        let header = ethernet(Port::A.mac(), Port::A.client(), &[], 0x0806);
        let reply = arp(REPLY, (Port::A.client(), CLIENT), (Port::A.mac(), ENDPOINT));
        passes_untouched(engine, Port::A, &[header.clone(), reply].concat());
        let mut other_hardware = arp(REQUEST, (Port::A.client(), CLIENT), (NOBODY, ENDPOINT));
        other_hardware[1] = 6;
        passes_untouched(engine, Port::A, &[header, other_hardware].concat());
    }

    fn cut_short_anywhere(engine) {
        let whole = question(Port::A, CLIENT, ENDPOINT, &TAGS);
        // BPF_PROG_TEST_RUN takes no frame shorter than an Ethernet header.
        let lengths = (14..whole.len()).filter(|&length| engine.takes(&whole[..length]));
        let lengths: Vec<usize> = lengths.collect();
        for &length in &lengths {
            let outcome = engine.receive(Port::A, &whole[..length]);
            assert_eq!(outcome.verdict, Verdict::Drop, "{length} bytes");
        }
        assert_eq!(drops(engine, Port::A), [("Truncated", lengths.len() as u64)]);
    }
}
