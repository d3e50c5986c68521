//! A client begins anew from a port that it has used before: by the lease of its last connection where the target's TIME_WAIT lets
//! the SYN in (RFC 9293, section 3.6.1), or else by another.

use privatelink_common::flow_table::record::Phase;
use privatelink_common::flow_table::{Flow, PacketKey};
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, FIN, PSH, SYN};
use privatelink_common::wide::WIDE;
use privatelink_tests::Family;

use crate::frame::TCP;
use crate::mixes;
use crate::packet::{Packet, segment};
use crate::wide::{Ends, from_client, to_client, to_target};
use crate::world::{Engine, Port, find_either, in_tables, pass, sweep};

const SECOND: u64 = 1000;
/// Where the first connection's numbers begin: they come round within it.
const FIRST: u32 = u32::MAX - 3;
const QUESTION: &[u8] = b"question";
/// The number of the last thing that the client has sent, its FIN, by how much it lies behind its SYN.
const LAST: u32 = 1 + QUESTION.len() as u32;

/// A client by its port, and its target's family.
struct Client {
    family: Family,
    port: u16,
    target: Family,
}

impl Client {
    fn packet(&self, flags: u8, sequence: u32, acknowledgement: u32, payload: &[u8]) -> Packet {
        let carried = segment(flags, sequence, acknowledgement);
        let mut packet = from_client(self.family, carried, payload);
        packet.source.set_port(self.port);
        packet
    }

    /// Opens a connection with this number; its ends on the provider's side.
    #[track_caller]
    fn open(&self, engine: &mut dyn Engine, sequence: u32) -> Ends {
        let ends = to_target(engine, &self.packet(SYN, sequence, 0, &[]), self.target);
        let opened = self.flow(engine);
        let counted =
            [&opened.forward, &opened.reverse].map(|half| (half.packets, half.note.again()));
        assert_eq!((opened.state, counted), (State::SynSent, [(1, 0), (0, 0)]));
        ends
    }

    /// Opens one and has both sides talk, and close.
    #[track_caller]
    fn open_and_close(&self, engine: &mut dyn Engine, sequence: u32) -> Ends {
        let ends = self.open(engine, sequence);
        let sent = |bytes| sequence.wrapping_add(bytes);
        let question = self.packet(ACK | PSH, sent(1), 101, QUESTION);
        to_client(engine, &question, ends, segment(SYN | ACK, 100, sent(1)), &[]);
        assert_eq!(to_target(engine, &question, self.target), ends);
        to_client(engine, &question, ends, segment(FIN | ACK, 101, sent(LAST)), b"answer");
        let last = self.packet(FIN | ACK, sent(LAST), 108, &[]);
        assert_eq!(to_target(engine, &last, self.target), ends);
        let closed = self.flow(engine);
        let counted = [&closed.forward, &closed.reverse].map(|half| half.packets);
        assert_eq!(
            (closed.state, closed.phase, counted),
            (State::TimeWait, Phase::Established, [3, 2])
        );
        ends
    }

    fn flow(&self, engine: &dyn Engine) -> Flow {
        let Packet { source, destination, .. } = self.packet(SYN, 0, 0, &[]);
        let key = PacketKey {
            source: source.ip(),
            destination: destination.ip(),
            source_port: source.port(),
            destination_port: destination.port(),
            vpc: Port::A.vpc(),
            protocol: TCP,
        };
        find_either(engine, &key).expect("its flow")
    }

    /// Whether its flow's half lies where its key says: as the last connection's it is not found elsewhere.
    fn is_at_home(&self, engine: &dyn Engine) -> bool {
        let (number, mut is_stray) = (self.flow(engine).number, true);
        in_tables(engine, &mut |table| {
            if table.ends(0).is_some() == (number & WIDE != 0) {
                is_stray = table.half(number & !WIDE).expect("a half").is_stray();
            }
        });
        !is_stray
    }
}

/// A connection from a port that has not been used before, opened and closed, whose half lies where its key says.
#[track_caller]
fn used(
    engine: &mut dyn Engine,
    ports: &mut dyn Iterator<Item = u16>,
    mix: [Family; 2],
) -> (Client, Ends) {
    let [family, target] = mix;
    loop {
        let client = Client { family, port: ports.next().expect("there are enough"), target };
        let ends = client.open_and_close(engine, FIRST);
        pass(engine, SECOND);
        if client.is_at_home(engine) {
            return (client, ends);
        }
    }
}

fn whose_number_is_beyond(engine: &mut dyn Engine, client: Family, target: Family) {
    let ports = &mut (40_000..50_000);
    // While the flow still closes, and while its lease is held.
    for waits in [&[0][..], &[8], &[11], &[11, 58]] {
        for (beyond, keeps) in
            [(1, true), (1 << 30, true), (0, false), (u32::MAX, false), (1 << 31, false)]
        {
            let (client, before) = used(engine, ports, [client, target]);
            for seconds in waits {
                pass(engine, seconds * SECOND);
                sweep(engine);
            }
            let sequence = FIRST.wrapping_add(LAST + 1).wrapping_add(beyond);
            let after = client.open_and_close(engine, sequence);
            assert_eq!(after == before, keeps, "{beyond} after {waits:?} s");
            assert_eq!(after.target, before.target);
        }
    }
}

/// A connection that is cut may still be one at the target; and segments of one that was over only just now may be on their way.
fn whose_last_connection_is_still_there(engine: &mut dyn Engine, client: Family, target: Family) {
    let ports = &mut (50_000..60_000);
    let beyond = FIRST.wrapping_add(LAST + 2);
    let (client, _) = used(engine, ports, [client, target]);
    let before = client.open_and_close(engine, beyond);
    let after = client.open(engine, beyond.wrapping_add(LAST + 2));
    assert_ne!(after.lease, before.lease);

    let client = Client { port: ports.next().expect("there are enough"), ..client };
    let before = client.open(engine, FIRST);
    let question = client.packet(ACK | PSH, FIRST + 1, 101, QUESTION);
    to_client(engine, &question, before, segment(SYN | ACK, 100, FIRST + 1), &[]);
    assert_eq!(to_target(engine, &question, target), before);
    pass(engine, SECOND);
    engine.cut(&client.flow(engine));
    assert_ne!(client.open(engine, beyond).lease, before.lease);
}

/// A lease is of a target and of an address of the load balancer, and no port of the host's own.
fn whose_lease_may_be_had_no_more(engine: &mut dyn Engine, client: Family, target: Family) {
    let ports = &mut (40_000..50_000);
    let beyond = FIRST.wrapping_add(LAST + 2);
    let (client, before) = used(engine, ports, [client, target]);
    let its = client.flow(engine).target;
    engine.set_usable(&|target| target != its);
    assert_ne!(client.open(engine, beyond).target, before.target);
    engine.set_usable(&|_| true);

    let (client, before) = used(engine, ports, [client.family, target]);
    let (word, bit) = (u32::from(before.lease.port() / 64), before.lease.port() % 64);
    engine.reserve(&[(word, 1 << bit)]);
    assert_ne!(client.open(engine, beyond).lease, before.lease);
}

fn by_its_lease_or_another(engine: &mut dyn Engine, client: Family, target: Family) {
    whose_number_is_beyond(engine, client, target);
    whose_last_connection_is_still_there(engine, client, target);
    whose_lease_may_be_had_no_more(engine, client, target);
}

mixes!(by_its_lease_or_another);
