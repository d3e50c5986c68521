//! Addresses of packet sockets.
#![expect(unsafe_code, reason = "a packet socket's address is made by hand")]

use std::net::IpAddr;

use nix::libc::{self, sockaddr_ll};
use socket2::SockAddr;

/// EtherType (host order) of IP packets between addresses of this one's family.
pub const fn ether_type(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => libc::ETH_P_IP as u16,
        IpAddr::V6(_) => libc::ETH_P_IPV6 as u16,
    }
}

/// The address of an interface for an EtherType (host order), and of a host behind it.
pub fn packet_address(ifindex: i32, ether_type: u16, mac: Option<[u8; 6]>) -> SockAddr {
    let mut sll_addr = [0; 8];
    if let Some(mac) = mac {
        sll_addr[..6].copy_from_slice(&mac);
    }
    let address = sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ether_type.to_be(),
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    };
    // SAFETY: the storage is large and aligned enough for every address of a socket, so for this one, and
    // its length is set with it.
    let built = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<sockaddr_ll>().write(address);
            *length = size_of::<sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    };
    let ((), address) = built.expect("it never fails");
    address
}
