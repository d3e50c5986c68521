//! Addresses with their ports in JSON and CSV: `ip:port`, or `[ip]:port` of IPv6.

use std::net::{SocketAddr, SocketAddrV4};

use serde::Serializer;
use serde::ser::Error;

/// Longest text of an IPv4 address, `255.255.255.255:65535`.
const LONGEST: usize = 21;

/// Serialises the text that the address displays as.
pub(super) fn serialize<S: Serializer>(
    address: &SocketAddr,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match address {
        SocketAddr::V4(address) => ipv4(*address, serializer),
        SocketAddr::V6(address) => serializer.collect_str(address),
    }
}

/// By hand: going through `fmt`, four addresses take longer than all the rest of a flow's row.
fn ipv4<S: Serializer>(address: SocketAddrV4, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Text { bytes: [0; LONGEST], len: 0 };
    for (octet, before) in address.ip().octets().into_iter().zip([None, DOT, DOT, DOT]) {
        before.into_iter().for_each(|byte| text.push(byte));
        text.number(octet.into());
    }
    text.push(b':');
    text.number(address.port());
    let text = str::from_utf8(&text.bytes[..text.len]).map_err(S::Error::custom)?;
    serializer.serialize_str(text)
}

const DOT: Option<u8> = Some(b'.');

struct Text {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn number(&mut self, number: u16) {
        for power in [10_000, 1000, 100, 10] {
            if number >= power {
                self.push(b'0' + (number / power % 10) as u8);
            }
        }
        self.push(b'0' + (number % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[track_caller]
    fn is_as_displayed(address: SocketAddr) {
        let mut json = Vec::new();
        serialize(&address, &mut serde_json::Serializer::new(&mut json)).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), format!("\"{address}\""));
    }

    #[test]
    fn the_text_is_what_the_address_displays_as() {
        for port in 0..=u16::MAX {
            let octet = |shift: u32| (port >> shift) as u8;
            let ip = Ipv4Addr::new(octet(0), octet(8), octet(4), octet(2));
            is_as_displayed(SocketAddr::new(ip.into(), port));
        }
        is_as_displayed(SocketAddr::new(Ipv4Addr::BROADCAST.into(), u16::MAX));
        for ip in ["::", "fd00::a", "2001:db8:0:1:1:1:1:1"] {
            is_as_displayed(SocketAddr::new(ip.parse().unwrap(), 443));
        }
    }
}
