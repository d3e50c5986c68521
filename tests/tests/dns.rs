//! Answers of DNS that are larger than a frame, as `dig` takes them by UDP. Needs root.

use std::net::SocketAddr;

use privatelink_tests::{DualStack, FOUR_ONLY, Family, Flow, UdpServer};

/// What a resolver asks by EDNS to be sent at once (RFC 6891, section 6.2.5), and what is safe without fragments everywhere (RFC 9715).
const LARGE: usize = 4096;
const WHOLE: usize = 1232;
/// Bytes of a header, of a TXT record without its text, and of the EDNS record (RFC 1035, section 4.1; RFC 6891, section 6.1.2).
const HEADER: usize = 12;
const RECORD: usize = 12;
const EDNS: [u8; 11] = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
/// The longest string of a text.
const STRING: usize = 255;

/// Answers a question for TXT records with as many that the message has this length.
fn answer(query: &[u8], length: usize) -> Option<Vec<u8>> {
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..HEADER + name + 4)?;
    let mut message = query[..2].to_vec();
    // An authoritative answer without error; one question, the records counted below, one record of EDNS.
    message.extend([0x84, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    message.extend(question);
    let mut records = 0_u16;
    while message.len() + EDNS.len() < length {
        let room = length - EDNS.len() - message.len() - RECORD - 1;
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

/// Has `dig` ask for it, by UDP only, and looks at what it prints.
fn asked(client: Family, target: Family, length: usize, changes: &[(&str, &str)]) {
    let site = DualStack::new(changes).unwrap();
    let serve = move |query: &[u8]| answer(query, length);
    let server = UdpServer::start(site.provider(), target.target(), serve).unwrap();
    let endpoint = client.endpoint(target);
    let (server_argument, port) = (format!("@{}", endpoint.ip()), endpoint.port().to_string());
    let printed = site
        .consumer()
        .run(&[
            "dig",
            &server_argument,
            "-p",
            &port,
            "+notcp",
            "+ignore",
            "+tries=1",
            "+timeout=10",
            "+bufsize=4096",
            "TXT",
            "large.example",
        ])
        .unwrap();
    assert!(printed.contains("status: NOERROR"), "{printed}");
    assert!(printed.contains(&format!("MSG SIZE  rcvd: {length}")), "{printed}");
    assert!(!printed.contains("WARNING"), "{printed}");
    let texts: Vec<&str> = printed.lines().filter_map(|line| line.split('"').nth(1)).collect();
    for (index, text) in texts.iter().enumerate() {
        let whole = text.bytes().enumerate().all(|(at, byte)| byte == letter(index + 1 + at));
        assert!(whole, "record {index}: {text}");
    }
    let flows: Vec<Flow<SocketAddr>> = site.daemon.flows_of(&["--protocol", "udp"]).unwrap();
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    assert_eq!((flow.endpoint_address, flow.target), (endpoint, target.target()));
    assert_eq!(server.peers(), [flow.nat]);
    let header = if client == Family::Four { 20 } else { 40 };
    // IPv4 has 1480 bytes of a datagram in a fragment, IPv6 1448.
    let fragments = match (length + 8 + header > 1500, client) {
        (false, _) => 1,
        (true, Family::Four) => (length + 8).div_ceil(1480),
        (true, Family::Six) => (length + 8).div_ceil(1448),
    };
    assert_eq!(flow.packets_to_client, fragments as u64, "{flow:?}");
    assert_eq!(site.dropped().unwrap(), Vec::<String>::new());
}

#[test]
fn a_large_answer_from_four_to_four() {
    asked(Family::Four, Family::Four, LARGE, &[FOUR_ONLY]);
}

#[test]
fn a_whole_answer_from_six_to_six() {
    asked(Family::Six, Family::Six, WHOLE, &[]);
}

#[test]
fn a_whole_answer_from_four_to_six() {
    asked(Family::Four, Family::Six, WHOLE, &[]);
}

#[test]
fn a_whole_answer_from_six_to_four() {
    asked(Family::Six, Family::Four, WHOLE, &[]);
}
