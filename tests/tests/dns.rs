//! Answers of DNS that are larger than a frame, as `dig` takes them by UDP. Needs root.

use std::net::SocketAddr;

use privatelink_tests::{DualStack, FOUR_ONLY, Family, Flow, UdpServer};

/// Bytes of a message, which are as many as a resolver may ask for by EDNS (RFC 6891, section 6.2.5).
const LENGTH: usize = 4096;
/// Bytes of a header, of a TXT record without its text, and of the EDNS record (RFC 1035, section 4.1; RFC 6891, section 6.1.2).
const HEADER: usize = 12;
const RECORD: usize = 12;
const EDNS: [u8; 11] = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
/// The longest string of a text.
const STRING: usize = 255;

/// Answers a question for TXT records with as many as the message has room for.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..HEADER + name + 4)?;
    let mut message = query[..2].to_vec();
    // An authoritative answer without error; one question, the records counted below, one record of EDNS.
    message.extend([0x84, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    message.extend(question);
    let mut records = 0_u16;
    while message.len() + EDNS.len() < LENGTH {
        let room = LENGTH - EDNS.len() - message.len() - RECORD - 1;
        // What is left after a record must be room for another one, or nothing.
        let text = if room <= STRING { room } else { STRING.min(room - RECORD - 1) };
        records += 1;
        // The question's name, TXT, IN, 300 seconds.
        message.extend([0xc0, HEADER as u8, 0, 16, 0, 1, 0, 0, 1, 44]);
        message.extend((text as u16 + 1).to_be_bytes());
        message.push(text as u8);
        message.extend((0..text).map(|at| letter(usize::from(records) + at)));
    }
    message[6..8].copy_from_slice(&records.to_be_bytes());
    message.extend(EDNS);
    Some(message)
}

const fn letter(at: usize) -> u8 {
    b'a' + (at % 26) as u8
}

/// Has `dig` ask for it, by UDP only, and looks at what it prints. It may have to ask again: what an IPv4 target has cut to fit
/// an Ethernet frame does not fit as IPv6, and the target is told.
fn asked(client: Family, target: Family, changes: &[(&str, &str)]) {
    let site = DualStack::new(changes).unwrap();
    let server = UdpServer::start(site.provider(), target.target(), answer).unwrap();
    let endpoint = client.endpoint(target);
    let is_told = (client, target) == (Family::Six, Family::Four);
    let (at, port) = (format!("@{}", endpoint.ip()), endpoint.port().to_string());
    let tries = if is_told { "+tries=2" } else { "+tries=1" };
    let options = ["-p", &port, "+notcp", "+ignore", tries, "+timeout=5", "+bufsize=4096"];
    let words = [&["dig", &at], &options[..], &["TXT", "large.example"]].concat();
    let printed = site.consumer().run(&words).unwrap();
    assert!(printed.contains("status: NOERROR"), "{printed}");
    assert!(printed.contains(&format!("MSG SIZE  rcvd: {LENGTH}")), "{printed}");
    assert!(!printed.contains("WARNING"), "{printed}");
    let texts: Vec<&str> = printed.lines().filter_map(|line| line.split('"').nth(1)).collect();
    for (index, text) in texts.iter().enumerate() {
        let whole = text.bytes().enumerate().all(|(at, byte)| byte == letter(index + 1 + at));
        assert!(whole, "record {index}: {text}");
    }
    assert_eq!(texts.len(), printed.matches("IN\tTXT\t\"").count());

    let flows: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&["--protocol", "udp"]).unwrap();
    // dig asks again from another port.
    assert_eq!(flows.len(), if is_told { 2 } else { 1 }, "{flows:?}");
    assert_eq!(server.peers().len(), flows.len());
    for flow in &flows {
        assert_eq!((flow.endpoint_address, flow.target), (endpoint, target.target()));
        assert!(server.peers().contains(&flow.nat), "{flow:?}");
    }
    assert!(flows.iter().any(|flow| flow.packets_to_client >= 3), "{flows:?}");
    let dropped = site.dropped().unwrap();
    if is_told {
        assert!(site.daemon.drops("pl-provider", "TooBig").unwrap() > 0, "{dropped:?}");
    } else {
        assert_eq!(dropped, Vec::<String>::new());
    }
}

#[test]
fn a_large_answer_from_four_to_four() {
    asked(Family::Four, Family::Four, &[]);
}

#[test]
fn a_large_answer_from_four_to_four_of_the_narrow_table() {
    asked(Family::Four, Family::Four, &[FOUR_ONLY]);
}

#[test]
fn a_large_answer_from_six_to_six() {
    asked(Family::Six, Family::Six, &[]);
}

#[test]
fn a_large_answer_from_four_to_six() {
    asked(Family::Four, Family::Six, &[]);
}

#[test]
fn a_large_answer_from_six_to_four() {
    asked(Family::Six, Family::Four, &[]);
}
