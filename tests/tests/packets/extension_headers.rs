//! Extension headers of IPv6: an endpoint is where they end.

use privatelink_common::tcp::SYN;
use privatelink_tests::Family;
use privatelink_userspace::datapath::Verdict;

use crate::frame::TAGS;
use crate::ipv6::solicitation;
use crate::packet::{Carried, FRAGMENT, segment};
use crate::scenarios;
use crate::tags::tagged;
use crate::wide::{CLIENT_6, ENDPOINT_6, from_client, octets, six};
use crate::world::{Port, dropped, drops};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Puts headers between a frame's IPv6 header and what follows; each is told by its number and by its bytes behind "next
/// header".
fn with(frame: &[u8], headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut between = Vec::new();
    for (at, (_, bytes)) in headers.iter().enumerate() {
        between.push(headers.get(at + 1).map_or(frame[20], |(next, _)| *next));
        between.extend(*bytes);
    }
    let mut bytes = [&frame[..54], &between, &frame[54..]].concat();
    let length = (bytes.len() - 54) as u16;
    bytes[18..20].copy_from_slice(&length.to_be_bytes());
    bytes[20] = headers.first().map_or(frame[20], |(number, _)| *number);
    bytes
}

/// Options that are padding.
const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
/// Twenty-four bytes of them.
const LONG: &[u8] = &[2, 1, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A routing header whose way is over.
const ARRIVED: &[u8] = &[0, 4, 0, 0, 0, 0, 0];
/// A fragment that is all of its packet.
const WHOLE: &[u8] = &[0, 0, 0, 1, 2, 3, 4];

fn carried() -> Vec<Vec<(u8, &'static [u8])>> {
    vec![
        vec![(HOP_BY_HOP, PADDING)],
        vec![(DESTINATION, PADDING)],
        vec![(DESTINATION, LONG)],
        vec![(ROUTING, ARRIVED)],
        vec![(FRAGMENT, WHOLE)],
        vec![
            (HOP_BY_HOP, LONG),
            (DESTINATION, PADDING),
            (ROUTING, ARRIVED),
            (FRAGMENT, WHOLE),
            (DESTINATION, LONG),
        ],
    ]
}

scenarios! {
    /// As a packet without them would have come.
    fn those_that_say_nothing_are_cut_off(engine) with(six) {
        for kind in [segment(SYN, 100, 0), Carried::Datagram] {
            let plain = from_client(Family::Six, kind, b"of an odd length.").bytes();
            let expected = engine.receive(Port::A, &plain);
            assert_eq!(expected.verdict, Verdict::Redirect);
            for headers in carried() {
                let outcome = engine.receive(Port::A, &with(&plain, &headers));
                assert_eq!(outcome.verdict, Verdict::Redirect, "{headers:?}: {:?}", drops(engine, Port::A));
                assert_eq!(outcome.frame, expected.frame, "{headers:?}");
            }
        }
        assert_eq!(drops(engine, Port::A), []);
    }

    fn behind_vlan_tags_too(engine) with(six) {
        let plain = from_client(Family::Six, segment(SYN, 100, 0), b"of an odd length.").bytes();
        let expected = engine.receive(Port::A, &plain);
        for headers in carried() {
            let outcome = engine.receive(Port::A, &tagged(with(&plain, &headers), &TAGS));
            assert_eq!((outcome.verdict, &outcome.frame), (Verdict::Redirect, &expected.frame), "{headers:?}");
        }
        assert_eq!(drops(engine, Port::A), []);
    }

    fn those_that_say_something_are_not_carried(engine) with(six) {
        let plain = from_client(Family::Six, segment(SYN, 100, 0), &[]).bytes();
        let six_of_them = [(DESTINATION, PADDING); 6];
        let six_fragments = [(FRAGMENT, WHOLE); 6];
        let refused: [&[(u8, &[u8])]; 9] = [
            // A way yet to go.
            &[(ROUTING, &[0, 4, 1, 0, 0, 0, 0])],
            // Not the first.
            &[(DESTINATION, PADDING), (HOP_BY_HOP, PADDING)],
            &[(AUTHENTICATION, &[0; 7])],
            &[(50, &[0; 7])],
            &[(135, &[0; 7])],
            &[(253, &[0; 7])],
            &[(HOP_BY_HOP, PADDING), (AUTHENTICATION, &[0; 7])],
            &six_of_them,
            &six_fragments,
        ];
        for (dropped, headers) in (1..).zip(refused) {
            assert_eq!(engine.receive(Port::A, &with(&plain, headers)).verdict, Verdict::Drop, "{headers:?}");
            assert_eq!(drops(engine, Port::A), [("Ipv6Extension", dropped)]);
        }
    }

    /// RFC 6980, section 5.
    fn no_neighbour_is_heard_behind_one(engine) with(six) {
        let mut question = solicitation(CLIENT_6, ENDPOINT_6, &[]);
        question[..6].copy_from_slice(&Port::A.mac());
        question[38..54].copy_from_slice(&octets(ENDPOINT_6));
        dropped(engine, Port::A, "Ipv6Extension", &with(&question, &[(FRAGMENT, WHOLE)]));
    }

    /// Whatever they say of their lengths.
    fn none_leads_out_of_the_packet(engine) with(six) {
        let plain = from_client(Family::Six, segment(SYN, 100, 0), &[]).bytes();
        for units in 0..=u8::MAX {
            let frame = with(&plain, &[(DESTINATION, &[units, 1, 4, 0, 0, 0, 0])]);
            let verdict = engine.receive(Port::A, &frame).verdict;
            let expected = if units == 0 { Verdict::Redirect } else { Verdict::Drop };
            assert_eq!(verdict, expected, "{units}");
        }
        // Nothing follows, not even a header whole.
        for cut in 54..62 {
            let mut frame = with(&plain, &[(DESTINATION, PADDING)]);
            frame.truncate(cut);
            frame[18..20].copy_from_slice(&(cut as u16 - 54).to_be_bytes());
            assert_eq!(engine.receive(Port::A, &frame).verdict, Verdict::Drop, "{cut}");
        }
    }

    fn elsewhere_they_are_the_hosts(engine) with(six) {
        let mut packet = from_client(Family::Six, segment(SYN, 100, 0), &[]);
        packet.destination.set_ip("fd00:b::99".parse().expect("an address"));
        let frame = with(&packet.bytes(), &[(AUTHENTICATION, &[0; 7])]);
        let outcome = engine.receive(Port::A, &frame);
        assert_eq!((outcome.verdict, outcome.frame), (Verdict::Pass, frame));
    }
}
