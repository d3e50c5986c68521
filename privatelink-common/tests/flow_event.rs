//! Events of flows and packets with IPv6 addresses, from their words to what is read of them.

use std::net::{IpAddr, SocketAddr};

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_event::{Ended, FlowEvent, Refused, What};
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::record::{NewFlow, Place, Record};
use privatelink_common::host::MemoryFlowTable;
use privatelink_common::memory::Shared;
use privatelink_common::records::FlowKey;
use privatelink_common::ticks::Tick;
use privatelink_common::wide::{Ends, WIDE, WideAddress};

fn wide(text: &str) -> WideAddress {
    text.parse::<IpAddr>().expect("an address").into()
}

/// A key of the wide table, where addresses have names.
fn key(names: [u32; 2], [source_port, destination_port]: [u16; 2], vpc: u16) -> [u64; 2] {
    let [source, destination] = names;
    let [source_port, destination_port] = [source_port.to_be(), destination_port.to_be()];
    FlowKey { source, destination, source_port, destination_port, vpc, protocol: 6 }.words()
}

fn read(words: &[Shared]) -> FlowEvent {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.get().to_ne_bytes()).collect();
    assert_eq!(FlowEvent::read(&bytes[8..]), None, "an event of fewer words is none");
    FlowEvent::read(&bytes).expect("an event")
}

#[test]
fn a_wide_flow_that_has_ended_has_its_addresses() {
    for (client, endpoint, target, nat) in [
        ("fd00::20", "fd00::a", "fd01::1", "fd01::a"),
        ("10.0.2.20", "10.0.1.10", "fd01::1", "fd01::a"),
        ("fd00::20", "fd00::a", "10.0.1.11", "10.0.0.10"),
    ] {
        let flow = NewFlow {
            forward: key([1, 2], [40_000, 80], 1),
            reverse: key([3, 4], [8080, 20_000], 2),
            endpoint: 5,
            target: 7,
        };
        let (forward, reverse, ends) = (FlowHalf::default(), FlowHalf::default(), Ends::default());
        forward.fill_forward(&flow, 9, Tick(1));
        reverse.fill_reverse(&flow, 8, Tick(1));
        ends.set_arriving([target, nat].map(wide));
        ends.set_leaving([endpoint, client].map(wide));
        let record = Record { number: 8, forward: &forward, reverse: &reverse };
        let place = Place(1 << 32 | 5 << 16 | 7);
        let words = [const { Shared::new(0) }; Ended::WIDE_WORDS];
        let memory = MemoryFlowTable::default();
        Ended::write_wide(&words, &memory, &record, &ends, place, [3, 4]);
        let FlowEvent::Ended(Ended { flow, at }) = read(&words) else { panic!("no flow") };
        assert_eq!((flow.number, flow.endpoint, flow.target, at), (8 | WIDE, 5, 7, Tick(4)));
        let socket =
            |address: &str, port| SocketAddr::new(address.parse().expect("an address"), port);
        let (there, back) = (flow.forward.key, flow.reverse.key);
        assert_eq!(there.sender(), socket(client, 40_000));
        assert_eq!(there.receiver(), socket(endpoint, 80));
        assert_eq!((there.vpc, there.protocol), (1, 6));
        assert_eq!(back.sender(), socket(target, 8080));
        assert_eq!(back.receiver(), socket(nat, 20_000));
        assert_eq!((back.vpc, back.protocol), (2, 6));
    }
}

#[test]
fn a_refused_packet_has_its_addresses() {
    let [_, ports] = key([0; 2], [40_000, 81], 1);
    let what = What::new(3, DropReason::NoListener, 80, 2);
    let refused = Refused { at: Tick(7), key: (["fd00::20", "fd00::a"].map(wide), ports), what };
    let words = [const { Shared::new(0) }; Refused::WIDE_WORDS];
    refused.write_wide(&words);
    let FlowEvent::Refused(Refused { at, key, what: read }) = read(&words) else {
        panic!("no packet")
    };
    assert_eq!((at, read, key.vpc), (Tick(7), what, 1));
    let ends = [key.sender(), key.receiver()];
    assert_eq!(ends.map(|end| end.to_string()), ["[fd00::20]:40000", "[fd00::a]:81"]);
}
