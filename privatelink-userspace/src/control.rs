//! The control API: HTTP/JSON over a Unix socket.
//!
//! The daemon implements [`Gateway`] and serves it with [`Server`]; the command line asks with
//! [`Client`]. `curl --unix-socket /run/privatelink/control.sock http://localhost/v1/status` works
//! as well. Every route is a GET under `/v1` and answers a row type of [`crate::api`], or an
//! [`ErrorBody`](crate::api::ErrorBody) with a status of 4xx or 5xx. A listing is one array with one
//! row per line; it is sent while it is read, and breaks off if reading fails half-way.

use crate::api::{DropRow, EndpointRow, FlowQuery, FlowRow, ServiceRow, Status, TargetRow};

mod body;
mod client;
mod question;
mod server;

pub use client::{Answer, Client, ClientError};
pub use question::Question;
pub use server::{Server, ServerError};

/// Where the daemon serves the control API unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/privatelink/control.sock";

/// What the control API asks of the daemon.
///
/// The functions may block: the server calls them on threads set aside for that, several at a time.
pub trait Gateway: Send + Sync + 'static {
    /// State of the daemon and its interfaces.
    fn status(&self) -> Result<Status, GatewayError>;

    /// Every endpoint service.
    fn services(&self) -> Result<Vec<ServiceRow>, GatewayError>;

    /// Every endpoint.
    fn endpoints(&self) -> Result<Vec<EndpointRow>, GatewayError>;

    /// Every target of every target group.
    fn targets(&self) -> Result<Vec<TargetRow>, GatewayError>;

    /// Calls `take` with the flows the query asks for, in its order; see [`FlowQuery::select`]. They are read while
    /// they are taken, by the thread that asked.
    fn flows(&self, query: &FlowQuery, take: &mut dyn FnMut(Flows<'_>))
    -> Result<(), GatewayError>;

    /// Drops by interface and reason, without zero counts.
    fn drops(&self) -> Result<Vec<DropRow>, GatewayError>;
}

/// Flows, one after the other.
pub type Flows<'a> = Box<dyn Iterator<Item = FlowRow<'a>> + 'a>;

/// Why the daemon could not answer; each text is one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Not now, but later: the daemon starts or stops. HTTP status 503.
    #[error("{0}")]
    Unavailable(String),
    /// The daemon failed. HTTP status 500.
    #[error("{0}")]
    Failed(String),
}
