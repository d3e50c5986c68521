//! Frames as they come on the wire: sent at the far end of a link, and heard on the gateway as they leave it or go on to its host. All
//! that becomes of one has been heard when a mark comes back that the same CPU has received after it.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::cmsg_space;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _,
    bind, recvmsg, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;
use privatelink_tests::Namespace;
use privatelink_userspace::datapath::Verdict;

use super::engine::Outcome;
use super::network::Port;

/// Of the mark: for local experiments (IEEE 802).
const MARK: u16 = 0x88b5;
/// Bytes of a frame's addresses, and of a tag, which stands behind them.
const ADDRESSES: usize = 12;
const TAG: usize = 4;
/// Longer than any frame.
const LONGEST: usize = 1 << 17;
/// Seconds until a mark is missed.
const PATIENCE: i64 = 10;
/// The index of the loopback device, in every namespace.
const LOOPBACK: i32 = 1;

/// The sockets of a gateway's links.
pub(super) struct Wire {
    /// Sends at the far ends of the ports, which have these indices.
    far: OwnedFd,
    ends: [i32; 3],
    /// Hears what arrives and what leaves, and sends marks.
    tap: OwnedFd,
    /// Hear what goes on to the host, each of an EtherType.
    witnesses: HashMap<u16, OwnedFd>,
}

impl Wire {
    /// Has both ends of a port's veth take frames of any length: what is too long is the data path's business.
    pub(super) fn lengthen(ends: &[&Namespace], port: Port) {
        for end in ends {
            let long = ["ip", "link", "set", port.name(), "mtu", "65535"];
            end.run(&long).expect("veths take that");
        }
    }

    /// The wires between the gateway, whose namespace the thread is in, and the far ends of its ports.
    pub(super) fn new(far: &Namespace) -> Self {
        let index = |port: Port| nix::net::if_::if_nametoindex(port.name()).expect("it exists");
        let open = || (packet_socket(0), Port::ALL.map(|port| index(port) as i32));
        let (far, ends) = far.enter(open).expect("the namespace can be entered");
        let tap = packet_socket(libc::ETH_P_ALL as u16);
        let patience = TimeVal::new(PATIENCE, 0);
        setsockopt(&tap, sockopt::ReceiveTimeout, &patience).expect("it takes a time");
        tell_tags(&tap);
        Self { far, ends, tap, witnesses: HashMap::new() }
    }

    /// Whether the kernel gives a frame to classifiers: it drops one that ends before the four bytes behind its outer
    /// tag, which it reads to take that out (`skb_vlan_untag`).
    pub(super) fn takes(frame: &[u8]) -> bool {
        let tags = forgotten(frame);
        tags == 0 || frame.len() >= ADDRESSES + tags + TAG
    }

    /// Sends a frame to a port of the gateway, and waits for what becomes of it.
    pub(super) fn receive(&mut self, port: Port, frame: &[u8]) -> Outcome {
        let witness =
            self.witnesses.entry(host_type(frame)).or_insert_with_key(|&it| packet_socket(it));
        on_one_cpu(|| {
            send(&self.far, self.ends[port as usize], frame);
            let mark = [&[0; ADDRESSES], &MARK.to_be_bytes()[..]].concat();
            send(&self.tap, LOOPBACK, &mark);
        });
        let mut left = Vec::new();
        loop {
            let heard = hear(&self.tap, MsgFlags::empty()).expect("the mark comes back");
            match (heard.ifindex == LOOPBACK, heard.leaves) {
                (true, false) => break,
                (false, true) => left.push(heard.frame),
                _ => (),
            }
        }
        let passed = hear(witness, MsgFlags::MSG_DONTWAIT);
        match (&mut left[..], passed) {
            ([], Ok(passed)) => {
                Outcome { verdict: Verdict::Pass, frame: with_tags_of(frame, passed.frame) }
            }
            ([], Err(_)) => Outcome { verdict: Verdict::Drop, frame: frame.to_vec() },
            ([left], Err(_)) => Outcome { verdict: Verdict::Redirect, frame: std::mem::take(left) },
            (left, passed) => {
                let passed = passed.map(|heard| heard.frame);
                panic!("{frame:02x?} left as {left:02x?}, and passed as {passed:02x?}")
            }
        }
    }
}

/// What was heard of a frame.
struct Heard {
    ifindex: i32,
    leaves: bool,
    /// The frame, with the tag that the kernel has taken out.
    frame: Vec<u8>,
}

/// What a frame carries behind the tags that the host forgets, as the kernel sorts it (`eth_type_trans`): a number that is no
/// EtherType is a length.
fn host_type(frame: &[u8]) -> u16 {
    let number = word(frame, ADDRESSES + forgotten(frame));
    if number < 0x600 { libc::ETH_P_802_2 as u16 } else { number }
}

/// Bytes of the tags that the host forgets: the outer one, and behind one of id 0, which means none, the next.
fn forgotten(frame: &[u8]) -> usize {
    let mut at = ADDRESSES;
    while [libc::ETH_P_8021Q, libc::ETH_P_8021AD].contains(&word(frame, at).into()) {
        at += TAG;
        if word(frame, at - 2) & 0xfff != 0 {
            break;
        }
    }
    at - ADDRESSES
}

/// The two bytes at an offset; 0 where the frame ends before.
fn word(frame: &[u8], at: usize) -> u16 {
    frame.get(at..at + 2).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]))
}

/// A frame that has gone on to the host, with the tags that a witness does not see.
fn with_tags_of(sent: &[u8], mut passed: Vec<u8>) -> Vec<u8> {
    let tags = &sent[ADDRESSES..ADDRESSES + forgotten(sent)];
    passed.splice(ADDRESSES..ADDRESSES, tags.iter().copied());
    passed
}

/// Does some work on the CPU that the thread is on: what is received there keeps its order.
fn on_one_cpu(work: impl FnOnce()) {
    let thread = Pid::from_raw(0);
    let before = sched_getaffinity(thread).expect("it can be asked");
    let mut one = CpuSet::new();
    one.set(sched_getcpu().expect("it can be asked")).expect("it is one");
    sched_setaffinity(thread, &one).expect("it is the thread's already");
    work();
    sched_setaffinity(thread, &before).expect("it was so before");
}

/// A socket for whole frames of an EtherType, on all interfaces of the namespace; for none it only sends.
fn packet_socket(protocol: u16) -> OwnedFd {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.expect("frames can be heard");
    bind(socket.as_raw_fd(), &address(0, protocol)).expect("it can be bound");
    socket
}

/// Has the socket tell of tags that the kernel has taken out.
fn tell_tags(socket: &OwnedFd) {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, and the kernel keeps no pointer to it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_AUXDATA,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

fn address(ifindex: i32, protocol: u16) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: it is an address of that family and length.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.expect("an address")
}

fn send(socket: &OwnedFd, ifindex: i32, frame: &[u8]) {
    let sent = sendto(socket.as_raw_fd(), frame, &address(ifindex, 0), MsgFlags::empty());
    assert_eq!(sent, Ok(frame.len()));
}

/// The next frame that a socket hears.
fn hear(socket: &OwnedFd, flags: MsgFlags) -> nix::Result<Heard> {
    let mut bytes = vec![0; LONGEST];
    let mut told = cmsg_space!(libc::tpacket_auxdata);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut told), flags)?;
    let tag = message.cmsgs()?.find_map(|told| match told {
        ControlMessageOwned::Unknown(told) => taken_tag(&told.data_bytes),
        _ => None,
    });
    let from = message.address.expect("it has one");
    let length = message.bytes;
    bytes.truncate(length);
    if let Some(tag) = tag {
        bytes.splice(ADDRESSES..ADDRESSES, tag);
    }
    Ok(Heard {
        ifindex: from.ifindex() as i32,
        leaves: from.pkttype() == libc::PACKET_OUTGOING,
        frame: bytes,
    })
}

/// The tag in a `struct tpacket_auxdata`, as it stands in a frame.
fn taken_tag(told: &[u8]) -> Option<[u8; TAG]> {
    let half = |at: usize| u16::from_ne_bytes([told[at], told[at + 1]]);
    let status = u32::from_ne_bytes(told[..4].try_into().expect("four bytes"));
    let [tci, tpid] = [half(16).to_be_bytes(), half(18).to_be_bytes()];
    (status & libc::TP_STATUS_VLAN_VALID != 0).then(|| [tpid[0], tpid[1], tci[0], tci[1]])
}
