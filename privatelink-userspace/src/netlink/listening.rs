//! The TCP sockets that listen in this network namespace, by sock_diag: the kernel looks at those alone. For /proc/net/tcp it walks its
//! table of connections too, which has a quarter of a million buckets or more and is that of all namespaces.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use rtnetlink::sys::protocols::NETLINK_SOCK_DIAG;
use rtnetlink::sys::{Socket, SocketAddr};

/// The ports that TCP sockets of either family listen on, one for each socket.
///
/// # Errors
/// When the kernel refuses: `ENOENT` where it is built without `CONFIG_INET_DIAG`, or cannot load that module.
pub fn listening_ports() -> io::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump(family, IPPROTO_TCP, &mut ports)?;
    }
    Ok(ports)
}

fn dump(family: u8, protocol: u8, ports: &mut Vec<u16>) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut question = NetlinkMessage::from(SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        // Unspecified: of any address and port.
        socket_id: SocketId::new_v4(),
    }));
    question.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (answers, _) = socket.recv_from_full()?;
        let mut rest = &answers[..];
        while !rest.is_empty() {
            let answer = NetlinkMessage::deserialize(rest).map_err(io::Error::other)?;
            // Netlink aligns messages to four bytes.
            let length = (answer.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            match answer.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
                    ports.push(found.header.socket_id.source_port);
                }
                // What goes wrong while the kernel looks is told at the end.
                NetlinkPayload::Done(done) => return outcome(done.code),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => return Err(io::Error::other("the answer is none")),
            }
        }
    }
}

/// What the code of a last message says: 0, or an errno below it.
fn outcome(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_that_listen_are_found_and_no_others() {
        let hosts = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = hosts.map(|host| SocketAddr::new(host, 0));
        // More than one datagram of the kernel's answers has room for.
        let listeners: Vec<_> = addresses
            .iter()
            .cycle()
            .take(400)
            .map(|address| TcpListener::bind(address).unwrap())
            .collect();
        let client = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let found = listening_ports().unwrap();
        for listener in &listeners {
            assert!(found.contains(&listener.local_addr().unwrap().port()), "{listener:?}");
        }
        assert!(!found.contains(&client.local_addr().unwrap().port()));
    }

    #[test]
    fn a_protocol_that_nobody_knows_is_refused() {
        let refused = dump(AF_INET, 250, &mut Vec::new()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound, "{refused}");
        assert!(outcome(0).is_ok());
    }
}
