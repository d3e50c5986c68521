//! What the kernel knows about interfaces, routes and neighbours, and the next hop of every target.
//!
//! [`Netlink`] asks, [`Resolver`] keeps asking: it turns [`Hop`]s (a target and the interfaces it
//! may stand behind) into [`NextHop`]s (interface, MAC, MTU) and reports every change as an
//! [`Event`]. Nothing here forwards a packet or changes an address or a route; the only thing
//! written to the kernel is *managed* neighbour entries, marked as ours.

mod address;
mod choice;
mod events;
mod hop;
mod link;
mod listening;
mod neighbour;
mod request;
mod resolver;
mod route;
mod state;
mod xdp_features;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use events::Events;
use request::Requests;

pub use address::Address;
pub use hop::{Hop, NextHop};
pub use link::{AttachedXdp, Link, LinkKind, Peer, XdpMode, napi_advice, tx_off_advice};
pub use listening::listening_ports;
pub use neighbour::OWNER_PROTOCOL;
pub use resolver::{Event, Resolver};
pub use xdp_features::{Sends, sends};

/// Why the kernel could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket: usually the process's limit of open files.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel answered with an error.
    #[error("the kernel refused to {request}")]
    Refused {
        /// What was asked, as a verb phrase.
        request: &'static str,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The connection ended before the answer was complete.
    #[error("the netlink connection ended while asking the kernel to {request}")]
    Closed {
        /// What was asked, as a verb phrase.
        request: &'static str,
    },
    /// The kernel did not complete its answer.
    #[error("the kernel did not answer within {waited:?} when asked to {request}")]
    Timeout {
        /// What was asked, as a verb phrase.
        request: &'static str,
        /// How long we waited.
        waited: Duration,
    },
}

impl Error {
    /// Whether the kernel answered with this `errno`.
    fn is(&self, errno: i32) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(errno))
    }
}

/// Result of asking the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A connection for requests and one subscribed to changes, in the calling thread's network
/// namespace.
#[derive(Debug)]
pub struct Netlink {
    requests: Requests,
    events: Events,
}

impl Netlink {
    /// Opens both connections. Needs a running tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    #[expect(
        clippy::unused_async,
        reason = "a future proves that the caller has a runtime to spawn on"
    )]
    pub async fn open() -> Result<Self> {
        Ok(Self { requests: Requests::open()?, events: Events::open()? })
    }

    /// All interfaces, in the kernel's order.
    ///
    /// # Errors
    ///
    /// Those of [`Error`], except [`Error::Open`].
    pub async fn links(&self) -> Result<Vec<Link>> {
        self.requests.links().await
    }

    /// The interface with this name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`Netlink::links`].
    pub async fn link(&self, name: &str) -> Result<Option<Link>> {
        // A dump even for one interface: the name of a veth's peer needs the others.
        Ok(self.links().await?.into_iter().find(|link| link.name == name))
    }

    /// Removes the neighbour entries behind these interfaces that bear our mark, whoever of us made them.
    ///
    /// # Errors
    ///
    /// The first of those met; the rest was tried nevertheless.
    pub async fn remove_neighbours(self, interfaces: &BTreeSet<u32>) -> Result<()> {
        let table = self.requests.neighbours().await?;
        let mut result = Ok(());
        for neighbour in neighbour::stale(&table, &BTreeSet::new(), interfaces) {
            result = result.and(self.requests.remove(neighbour).await);
        }
        result
    }

    /// All addresses of the host.
    ///
    /// # Errors
    ///
    /// As [`Netlink::links`].
    pub async fn addresses(&self) -> Result<Vec<Address>> {
        self.requests.addresses().await
    }
}
