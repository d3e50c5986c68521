//! ICMP errors about what flows have sent, as routers and hosts on either side would send them, and as nobody should.

use std::net::IpAddr;

use privatelink_common::tcp::ACK;

use super::build::{self, Around};
use super::flow::Flow;
use super::frames::{CLIENTS, CLIENTS_6, numbers};
use super::mix::{ENDPOINT_6, six};
use super::steps::{Complaint, Wrong};
use super::wire::{TCP, UDP, header_of};
use crate::world::{ENDPOINT, Port};

/// Types to draw from, of IPv4 and of IPv6: unreachable, too big, time exceeded, parameter problem, and three that are none.
const KINDS_4: [u8; KINDS] = [3, 3, 11, 12, 5, 4, 13];
const KINDS_6: [u8; KINDS] = [1, 2, 3, 4, 0, 5, 127];
pub(super) const KINDS: usize = 7;
const TOO_BIG: usize = 1;

/// What the packet was like that an error quotes.
const LOST: Around =
    Around { class: 0xb9, ttl: 17, identification: 7, dont_fragment: true, label: 0x54321 };

/// The port by which an error arrives about what the one side of a flow or the other has sent, and the packet.
pub(super) fn error(flow: &Flow, to_client: bool, complaint: &Complaint) -> (Port, Vec<u8>) {
    let &Complaint { kind, code, word, sequence, quoted, wrong, ttl, dont_fragment, .. } =
        complaint;
    let (mut port, ends, side) = if to_client {
        (flow.port, (flow.endpoint, flow.client), 1)
    } else {
        (Port::Provider, (flow.lease, flow.to), 0)
    };
    let us = ends.0.0;
    let (next, acknowledgement) = numbers(Some(flow), side);
    let data = [0xa5; 1430];
    let protocol = match wrong {
        Wrong::Other if flow.protocol == UDP => TCP,
        Wrong::Other => UDP,
        _ => flow.protocol,
    };
    let carried = match protocol {
        UDP => build::udp(ends, &data),
        _ => build::tcp(ends, (sequence.beside(next), acknowledgement), ACK, 1000, &[], &data),
    };
    let mut body = build::packet(LOST, (us, ends.1.0), protocol, &carried, true);
    let header = header_of(us);
    body.truncate(header + quoted);
    let is_six = us.is_ipv6();
    let mut receiver = us;
    match wrong {
        Wrong::Nothing | Wrong::Other => {}
        // The last byte of the destination port, which a short quote may lack.
        Wrong::Port => body.iter_mut().skip(header + 3).take(1).for_each(|byte| *byte ^= 1),
        Wrong::Protocol => body[if is_six { 6 } else { 9 }] = 47,
        Wrong::Fragment if is_six => body[6] = 44,
        Wrong::Fragment => body[7] = 1,
        Wrong::Version => body[0] ^= 0x20,
        Wrong::Length(length) => {
            let at = if is_six { 4 } else { 2 };
            body[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        Wrong::Receiver => {
            receiver = match (is_six, to_client) {
                (false, true) => ENDPOINT.into(),
                (false, false) => CLIENTS[0].into(),
                (true, true) => ENDPOINT_6.into(),
                (true, false) => CLIENTS_6[0].into(),
            }
        }
        Wrong::Elsewhere => port = if port == Port::B { Port::A } else { Port::B },
    }
    let router: IpAddr = if is_six { six(3, 1).into() } else { [10, 0, 3, 1].into() };
    let around =
        Around { class: 0xc0, ttl, identification: 0x1234, dont_fragment, label: 0x6_7890 };
    let said = match (is_six, kind) {
        (true, _) => (KINDS_6[kind], code, word),
        (false, TOO_BIG) => (3, 4, word),
        // A pointer is the first byte.
        (false, _) => (KINDS_4[kind], code, word.rotate_left(24)),
    };
    (port, build::icmp(around, (router, receiver), said, &body))
}
