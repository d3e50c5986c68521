//! The lab: network namespaces, links, HTTP targets and the daemon, for the end-to-end tests and for `cargo xtask run`.
//!
//! Everything here removes what it made when it is dropped, also when a test panics. It needs root, `ip`, `ethtool`,
//! `curl` and `nginx` (`cargo xtask setup` installs them), and it touches only namespaces and processes of its own.

mod chromium;
mod counters;
mod daemon;
mod families;
mod flood;
mod http;
mod identity;
mod kept;
mod lab;
mod link;
mod listing;
mod namespace;
mod process;
mod router;
mod segment;
mod tcp;
mod tmux;
mod topology;
mod udp;
mod wait;

pub use chromium::Chromium;
pub use counters::kernel_counters;
pub use daemon::{Daemon, Home, Starting, binary, binary_with};
pub use families::{
    BY_GENERIC_XDP, BY_TCX, BY_XDP, DualStack, FOUR_ONLY, Family, LONG_CLIENT, LONG_ENDPOINT,
    LONG_NETWORK, MIXES, WITHOUT_SIX,
};
pub use flood::Flood;
pub use http::{HttpTarget, http_get, http_target};
pub use kept::{Status, down, leftovers, status};
pub use lab::{Lab, Links};
pub use link::{add_address, mac, prepare_for_xdp, veth};
pub use listing::Flow;
pub use namespace::{Namespace, require_root};
pub use process::Process;
pub use router::move_behind_router;
pub use segment::{ACK, PSH, RST, SYN, send_segment};
pub use tcp::{
    Answer, ENDPOINT, Greeting, LOAD_BALANCER, Server, connect, echo_targets, exchange, greeting,
    is_leased, probe, round_trip,
};
pub use tmux::Tmux;
pub use topology::{Network, TargetHost, Topology, attached, example};
pub use udp::{UdpServer, udp_socket, udp_socket_of};
pub use wait::wait_until;
