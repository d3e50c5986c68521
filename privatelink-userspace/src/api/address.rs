//! Addresses with their ports in JSON and CSV: `ip:port`.

use std::net::SocketAddrV4;

use serde::Serializer;
use serde::ser::Error;

/// Longest text, `255.255.255.255:65535`.
const LONGEST: usize = 21;

/// Serialises the text that the address displays as.
///
/// By hand: going through `fmt`, four addresses take longer than all the rest of a flow's row.
pub(super) fn serialize<S: Serializer>(
    address: &SocketAddrV4,
    serializer: S,
) -> Result<S::Ok, S::Error> {
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

    #[test]
    fn the_text_is_what_the_address_displays_as() {
        let texts = |address: SocketAddrV4| {
            let mut json = Vec::new();
            serialize(&address, &mut serde_json::Serializer::new(&mut json)).unwrap();
            (String::from_utf8(json).unwrap(), format!("\"{address}\""))
        };
        for port in 0..=u16::MAX {
            let octet = |shift: u32| (port >> shift) as u8;
            let ip = Ipv4Addr::new(octet(0), octet(8), octet(4), octet(2));
            let (found, expected) = texts(SocketAddrV4::new(ip, port));
            assert_eq!(found, expected);
        }
        let (found, expected) = texts(SocketAddrV4::new(Ipv4Addr::BROADCAST, u16::MAX));
        assert_eq!(found, expected);
    }
}
