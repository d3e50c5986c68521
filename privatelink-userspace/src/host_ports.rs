//! The ports that the host's own sockets listen on: no NAT lease may have one.
//!
//! Otherwise a consumer could be given the port of a service of the gateway, and answers meant for one would reach the
//! other ("port shadow", CVE-2021-3773). Which address a socket listens on does not matter: a few ports of
//! 55 296 are no loss.

use std::fs;
use std::io;

use privatelink_common::lease::FIRST_PORT;

use crate::netlink;

// Tables of /proc/net and the states that count there, include/net/tcp_states.h: TCP_LISTEN, and TCP_CLOSE for a UDP socket that is
// bound.
const TCP: [(&str, &str); 2] = [("tcp", "0A"), ("tcp6", "0A")];
const UDP: [(&str, &str); 2] = [("udp", "07"), ("udp6", "07")];

/// Words of a set of ports, one bit each, the lowest port in the lowest bit.
const WORDS: usize = 65_536 / u64::BITS as usize;

/// A set of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<u64>);

impl Default for Ports {
    fn default() -> Self {
        Self(vec![0; WORDS])
    }
}

impl Ports {
    /// The ports in the range of leases that sockets of this network namespace listen on now, TCP and UDP.
    pub fn listening() -> io::Result<Self> {
        let mut ports = Self::default();
        match netlink::listening_ports() {
            Ok(found) => found.into_iter().for_each(|port| ports.insert(port)),
            Err(error) => {
                log::debug!("the kernel does not tell which sockets listen: {error}");
                ports.insert_listed(TCP)?;
            }
        }
        ports.insert_listed(UDP)?;
        Ok(ports)
    }

    /// Takes in the ports of the sockets in a state that are in a table of /proc/net.
    fn insert_listed(&mut self, tables: [(&str, &str); 2]) -> io::Result<()> {
        for (table, state) in tables {
            match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
                Ok(text) => local_ports(&text, state).for_each(|port| self.insert(port)),
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn insert(&mut self, port: u16) {
        if port >= FIRST_PORT {
            self.0[usize::from(port) / u64::BITS as usize] |= 1 << (u32::from(port) % u64::BITS);
        }
    }

    /// The words in which this set differs from another, with their places; all of them where there is no other.
    pub fn changes_from(&self, other: Option<&Self>) -> Vec<(u32, u64)> {
        let old = |at: usize| other.map(|other| other.0[at]);
        let words = self.0.iter().enumerate();
        words
            .filter(|&(at, &new)| old(at) != Some(new))
            .map(|(at, &new)| (at as u32, new))
            .collect()
    }
}

/// Local ports of the sockets in a state, from the text of a table in /proc/net.
fn local_ports<'t>(text: &'t str, state: &'t str) -> impl Iterator<Item = u16> + 't {
    text.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, _, found) = (columns.next()?, columns.next()?, columns.next()?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (found == state).then_some(port)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn tables_of_proc_net() {
        let text =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:A455 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:A456 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0
   2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0
   3: broken";
        assert_eq!(local_ports(text, "0A").collect::<Vec<_>>(), [0xa455, 80]);
    }

    #[test]
    fn our_own_sockets_are_found() {
        let bits = |ports: &Ports| ports.0.iter().map(|word| word.count_ones()).sum::<u32>();
        let (tcp, udp) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let ports = Ports::listening().unwrap();
        let mut listed = Ports::default();
        listed.insert_listed(TCP).unwrap();
        listed.insert_listed(UDP).unwrap();
        for port in [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()] {
            for ports in [&ports, &listed] {
                let word = ports.0[usize::from(port) / 64];
                assert_eq!(word >> (port % 64) & 1 != 0, port >= FIRST_PORT, "{port}");
            }
        }
        let none = Ports::default();
        assert_eq!(ports.changes_from(Some(&ports)), []);
        let changed: u32 =
            ports.changes_from(Some(&none)).iter().map(|(_, word)| word.count_ones()).sum();
        assert_eq!(changed, bits(&ports));
        assert!(none.changes_from(Some(&ports)).iter().all(|&(_, word)| word == 0));
    }
}
