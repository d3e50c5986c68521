//! What is checked, and one check of it.

use std::net::{IpAddr, SocketAddr};

use super::connection::Connection;
use super::failure::Failure;
use super::probe::{Deadline, probe};
use super::tls::Tls;
use super::wire::{Place, Wires};
use crate::model::HealthCheck;
use crate::packet_address::ether_type;

/// A target and how to check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked, how often and on which port.
    pub settings: HealthCheck,
    /// The target. Another target under the same key begins as a new one.
    pub target: SocketAddr,
    /// The load balancer's address that the check leaves from, of the target's family.
    pub source: IpAddr,
    /// The way there; `None` while it is not known, and then every check fails.
    pub via: Option<Via>,
}

/// The way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// Interface to send from.
    pub ifindex: u32,
    /// Ethernet destination: the target's MAC address, or a router's.
    pub next_hop: [u8; 6],
    /// Largest IP packet that the way carries, in bytes.
    pub mtu: u32,
}

/// What all checks share.
#[derive(Debug, Default)]
pub(super) struct Means {
    pub(super) wires: Wires,
    pub(super) tls: Tls,
}

impl Check {
    /// Address and port that are checked.
    fn checked(&self) -> SocketAddr {
        SocketAddr::new(self.target.ip(), self.settings.port.unwrap_or(self.target.port()))
    }

    /// Where it is checked; `None` while the way there is not known.
    pub(super) fn place(&self) -> Option<Place> {
        Some((self.via?.ifindex, ether_type(self.source)))
    }

    /// Opens a connection from the load balancer's address.
    fn open(&self, means: &Means) -> Result<Connection, Failure> {
        let target = self.checked();
        let (Some(via), Some(place)) = (self.via, self.place()) else {
            return Err(Failure::of_target(format!("no next hop is known for {}", target.ip())));
        };
        let wire = means.wires.get(place).map_err(|error| Failure::internal(error.to_string()))?;
        Connection::open(wire.listen(self.source)?, target, via)
    }

    /// Checks once. Where a connection was opened, it is left to the caller to close.
    pub(super) async fn run(&self, means: &Means) -> (Result<(), Failure>, Option<Connection>) {
        let mut connection = match self.open(means) {
            Ok(connection) => connection,
            Err(failure) => return (Err(failure), None),
        };
        let deadline = Deadline::of(&self.settings);
        let result = async {
            deadline.wait("no answer to the SYN", connection.established()).await?;
            probe(&mut connection, self.checked(), deadline, &means.tls).await
        }
        .await;
        (result, Some(connection))
    }
}
