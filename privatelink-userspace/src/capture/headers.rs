//! What a packet's first bytes say, for people.

use std::net::{IpAddr, SocketAddr};

use privatelink_common::ipv4::{TCP, UDP};

use crate::api::Headers;

const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// Hop-by-hop options, routing, destination options: headers that tell their length in the same way (RFC 8200, section 4).
const EXTENSIONS: [u8; 3] = [0, 43, 60];
const IPV6_HEADER: usize = 40;
/// TCP flags from FIN on, by tcpdump's letters.
const FLAGS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];

/// Reads as far as the bytes go; `length` is the whole frame's.
pub(super) fn headers(bytes: &[u8], length: u32) -> Headers {
    let mut headers = Headers { length, ..Headers::default() };
    // What is not there is left out.
    let _ = ethernet(&mut headers, bytes);
    headers
}

fn ethernet(headers: &mut Headers, bytes: &[u8]) -> Option<()> {
    let mut rest = bytes.get(12..)?;
    let mut kind = u16_at(rest, 0)?;
    while [VLAN, SERVICE_VLAN].contains(&kind) && headers.vlans.len() < 2 {
        headers.vlans.push(u16_at(rest, 2)? & 0xfff);
        rest = rest.get(4..)?;
        kind = u16_at(rest, 0)?;
    }
    let body = rest.get(2..)?;
    match kind {
        IPV4 => ipv4(headers, body),
        IPV6 => ipv6(headers, body),
        ARP => arp(headers, body),
        other => {
            headers.protocol = format!("0x{other:04x}");
            Some(())
        }
    }
}

fn arp(headers: &mut Headers, body: &[u8]) -> Option<()> {
    headers.protocol = "arp".into();
    headers.flags = match u16_at(body, 6)? {
        1 => "request".into(),
        2 => "reply".into(),
        other => other.to_string(),
    };
    headers.source = ipv4_at(body, 14)?.to_string();
    headers.destination = ipv4_at(body, 24)?.to_string();
    Some(())
}

fn ipv4(headers: &mut Headers, body: &[u8]) -> Option<()> {
    let protocol = *body.get(9)?;
    let ends = [ipv4_at(body, 12)?, ipv4_at(body, 16)?];
    ip(headers, protocol, ends);
    let is_first = u16_at(body, 6)? & 0x1fff == 0;
    let payload = body.get(usize::from(body[0] & 15) * 4..).filter(|_| is_first)?;
    transport(headers, protocol, ends, payload)
}

fn ipv6(headers: &mut Headers, body: &[u8]) -> Option<()> {
    let mut protocol = *body.get(6)?;
    let ends = [ipv6_at(body, 8)?, ipv6_at(body, 24)?];
    let mut payload = body.get(IPV6_HEADER..)?;
    let mut is_first = true;
    loop {
        ip(headers, protocol, ends);
        if !is_first {
            return Some(());
        }
        let length = match protocol {
            FRAGMENT => {
                is_first = u16_at(payload, 2)? & 0xfff8 == 0;
                8
            }
            // In units of 4 bytes, the first two left out (RFC 4302, section 2.2).
            AUTHENTICATION => usize::from(*payload.get(1)?) * 4 + 8,
            extension if EXTENSIONS.contains(&extension) => usize::from(*payload.get(1)?) * 8 + 8,
            _ => break,
        };
        protocol = *payload.first()?;
        payload = payload.get(length..)?;
    }
    transport(headers, protocol, ends, payload)
}

fn ip(headers: &mut Headers, protocol: u8, [source, destination]: [IpAddr; 2]) {
    headers.protocol = match protocol {
        TCP => "tcp".into(),
        UDP => "udp".into(),
        ICMP => "icmp".into(),
        ICMPV6 => "icmpv6".into(),
        other => format!("ip/{other}"),
    };
    (headers.source, headers.destination) = (source.to_string(), destination.to_string());
}

fn transport(
    headers: &mut Headers,
    protocol: u8,
    [source, destination]: [IpAddr; 2],
    payload: &[u8],
) -> Option<()> {
    if matches!(protocol, TCP | UDP) {
        let ports = [u16_at(payload, 0)?, u16_at(payload, 2)?];
        headers.source = SocketAddr::new(source, ports[0]).to_string();
        headers.destination = SocketAddr::new(destination, ports[1]).to_string();
    }
    match protocol {
        TCP => {
            headers.sequence = Some(u32::from_be_bytes(*payload.get(4..)?.first_chunk()?));
            let flags = *payload.get(13)?;
            let set = FLAGS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
            headers.flags = set.map(|(_, letter)| letter).collect();
        }
        ICMP | ICMPV6 => headers.flags = format!("{}/{}", payload.first()?, payload.get(1)?),
        _ => {}
    }
    Some(())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    bytes.get(at..)?.first_chunk().map(|octets: &[u8; 4]| IpAddr::from(*octets))
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    bytes.get(at..)?.first_chunk().map(|octets: &[u8; 16]| IpAddr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    const MACS: &str = "020000000001 020000000002";
    const SYN: &str = "0800 45000028 00004000 40060000 0a000214 0a00010a 9c400050 00000007 00000000 5002ffff 00000000";

    #[test]
    fn a_segment_is_read_with_and_without_tags() {
        let plain = headers(&bytes(&format!("{MACS}{SYN}")), 60);
        let expected = Headers {
            protocol: "tcp".into(),
            vlans: vec![],
            source: "10.0.2.20:40000".into(),
            destination: "10.0.1.10:80".into(),
            flags: "S".into(),
            sequence: Some(7),
            length: 60,
        };
        assert_eq!(plain, expected);
        let tagged = headers(&bytes(&format!("{MACS} 88a8 0064 8100 20c8 {SYN}")), 60);
        assert_eq!(tagged, Headers { vlans: vec![100, 200], ..expected });
    }

    #[test]
    fn a_datagram_has_ports() {
        let udp = "0800 4500001c 00000000 40110000 0a000214 0a00010a 9c400035 00080000";
        let expected = Headers {
            protocol: "udp".into(),
            source: "10.0.2.20:40000".into(),
            destination: "10.0.1.10:53".into(),
            length: 42,
            ..Headers::default()
        };
        assert_eq!(headers(&bytes(&format!("{MACS}{udp}")), 42), expected);
    }

    #[test]
    fn arp_and_icmp_are_named() {
        let arp = "0806 0001 0800 0604 0001 020000000002 0a000214 000000000000 0a00010a";
        let arp = headers(&bytes(&format!("{MACS}{arp}")), 42);
        assert_eq!((&*arp.protocol, &*arp.flags), ("arp", "request"));
        assert_eq!((&*arp.source, &*arp.destination), ("10.0.2.20", "10.0.1.10"));
        let icmp = "0800 4500001c 00000000 40010000 0a000001 0a00010a 0304 0000 00000000";
        let icmp = headers(&bytes(&format!("{MACS}{icmp}")), 42);
        assert_eq!((&*icmp.protocol, &*icmp.flags), ("icmp", "3/4"));
    }

    /// From fd00::20 to fd00::a, after this header another one.
    fn six(next: &str, rest: &str) -> Vec<u8> {
        let addresses = "fd000000 00000000 00000000 00000020 fd000000 00000000 00000000 0000000a";
        bytes(&format!("{MACS} 86dd 60000000 0014 {next} 40 {addresses} {rest}"))
    }

    const SEGMENT: &str = "9c400050 00000007 00000000 5012ffff 00000000";

    #[test]
    fn ipv6_is_read_as_ipv4_is() {
        let segment = headers(&six("06", SEGMENT), 74);
        let expected = Headers {
            protocol: "tcp".into(),
            vlans: vec![],
            source: "[fd00::20]:40000".into(),
            destination: "[fd00::a]:80".into(),
            flags: "S.".into(),
            sequence: Some(7),
            length: 74,
        };
        assert_eq!(segment, expected);
        let datagram = headers(&six("11", "9c400035 00080000"), 62);
        assert_eq!((&*datagram.protocol, &*datagram.destination), ("udp", "[fd00::a]:53"));
        let too_big = headers(&six("3a", "0200 0000 00000500"), 62);
        assert_eq!((&*too_big.protocol, &*too_big.flags), ("icmpv6", "2/0"));
        assert_eq!((&*too_big.source, &*too_big.destination), ("fd00::20", "fd00::a"));
        assert_eq!(headers(&six("32", ""), 54).protocol, "ip/50");
    }

    #[test]
    fn extension_headers_of_ipv6_are_passed_over() {
        let hop_by_hop = "3c00 0502 0000 0100";
        let options = "2b01 0000 00000000 00000000 00000000";
        let routing = "3300 0000 00000000";
        let authentication = "2c04 0000 00000000 00000000 00000000 00000000 00000000";
        let first = "0600 0001 00000009";
        let all = [hop_by_hop, options, routing, authentication, first, SEGMENT].concat();
        let read = headers(&six("00", &all), 150);
        assert_eq!((&*read.source, &*read.flags), ("[fd00::20]:40000", "S."));
        // A later fragment has no header of what it is a part of.
        let later = headers(&six("2c", &["0600 0008 00000009", SEGMENT].concat()), 82);
        assert_eq!((&*later.protocol, &*later.source, &*later.flags), ("tcp", "fd00::20", ""));
    }

    #[test]
    fn a_frame_cut_anywhere_is_read_as_far_as_it_goes() {
        let ipv4 = bytes(&format!("{MACS} 8100 0064 {SYN}"));
        let ipv6 = six("00", &["2b00 0000 00000000 0600 0000 00000000", SEGMENT].concat());
        for whole in [ipv4, ipv6] {
            for end in 0..whole.len() {
                let cut = headers(&whole[..end], 58);
                assert_eq!(cut.length, 58, "{end}");
            }
        }
    }
}
