//! The control API: HTTP/JSON over a Unix socket.
//!
//! The daemon implements [`Gateway`] and serves it with [`Server`]; the command line asks with
//! [`Client`]. `curl --unix-socket /run/privatelink/control.sock http://localhost/v1/status` works
//! as well. Every route is under `/v1` and answers a type of [`crate::api`], or an [`ErrorBody`] with a
//! status of 4xx or 5xx. A listing is one array with one row per line; it is sent while it is read, and breaks off if
//! reading fails half-way. `/v1/events` is a stream that goes on until the daemon stops, `/v1/capture` and `/v1/trace` until
//! they are ended. A POST changes something: it has done so in the data path when it is answered, and is put on
//! record.

use std::sync::Arc;

use crate::api::{
    CaptureQuery, ConnectionQuery, ConnectionRow, DeleteQuery, Deleted, DeregisterOrder, DropRow,
    EndpointRow, ErrorBody, ErrorCode, FlowQuery, FlowRow, History, Order, Ordered, PlanRow,
    RegisterOrder, Registered, Reloaded, ResourceBody, ServiceQuery, ServiceRow, Status, TargetRow,
    Totals, UsageQuery, UsageRow,
};
use crate::audit::Entry;
use crate::capture::{Capture, Form};
use crate::events::Events;
use crate::flows::Readings;
use crate::metrics::Format;
use crate::resources::{ResourceId, ResourceKind};

mod body;
mod capture;
mod change;
mod client;
mod events;
mod peer;
mod question;
mod resources;
mod routes;
mod server;
mod stream;

pub use client::{Answer, Client, ClientError};
pub use peer::Peer;
pub use question::Question;
pub use routes::{metrics_router, page_router, routes};
pub use server::{Server, ServerError};
pub use stream::EventStream;

/// Where the daemon serves the control API unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/privatelink/control.sock";

/// Keys and values of a resource's table in the configuration.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// What the control API asks of the daemon.
///
/// The functions may block: the server calls them on threads set aside for that, several at a time.
pub trait Gateway: Send + Sync + 'static {
    /// State of the daemon and its interfaces.
    fn status(&self) -> Result<Status, GatewayError>;

    /// The endpoint services that the query asks for.
    fn services(&self, query: &ServiceQuery) -> Result<Vec<ServiceRow>, GatewayError>;

    /// Every endpoint.
    fn endpoints(&self) -> Result<Vec<EndpointRow>, GatewayError>;

    /// The endpoints that the query asks for, as the owners of their services see them.
    fn connections(&self, query: &ConnectionQuery) -> Result<Vec<ConnectionRow>, GatewayError>;

    /// Every target of every target group.
    fn targets(&self) -> Result<Vec<TargetRow>, GatewayError>;

    /// The counters, as they are now, of the flows that the query may ask for a moment later.
    fn readings(&self, query: &FlowQuery) -> Result<Readings, GatewayError>;

    /// Calls `take` with the flows the query asks for, in its order; see [`FlowQuery::select`]. They are read while
    /// they are taken, by the thread that asked. They have rates if there are readings of before.
    fn flows(
        &self,
        query: &FlowQuery,
        before: Option<&Readings>,
        take: &mut dyn FnMut(Flows<'_>),
    ) -> Result<(), GatewayError>;

    /// Drops by interface and reason, without zero counts.
    fn drops(&self) -> Result<Vec<DropRow>, GatewayError>;

    /// The metrics as text.
    fn metrics(&self, format: Format) -> Result<String, GatewayError>;

    /// The metrics as one object.
    fn totals(&self) -> Result<Totals, GatewayError>;

    /// What was carried in the last hour.
    fn history(&self) -> Result<History, GatewayError>;

    /// What endpoints have used, as the query asks for it, up to now.
    fn usage(&self, query: &UsageQuery) -> Result<Usage, GatewayError>;

    /// Carries out an order about a service.
    fn order(&self, service: &str, order: &Order) -> Result<Ordered, GatewayError>;

    /// Every resource of a kind, as it is declared.
    fn described(&self, kind: ResourceKind) -> Result<Vec<ResourceBody>, GatewayError>;

    /// One resource, as it is declared.
    fn describe(&self, id: &ResourceId) -> Result<ResourceBody, GatewayError>;

    /// Makes a resource.
    fn make(&self, kind: ResourceKind, request: Settings) -> Result<ResourceBody, GatewayError>;

    /// Changes keys of a resource.
    fn modify(&self, id: &ResourceId, changes: Settings) -> Result<ResourceBody, GatewayError>;

    /// Deletes a resource.
    fn delete(&self, id: &ResourceId, query: DeleteQuery) -> Result<Deleted, GatewayError>;

    /// Registers targets with a target group.
    fn register(&self, group: &str, order: RegisterOrder) -> Result<Registered, GatewayError>;

    /// Deregisters targets from a target group.
    fn deregister(&self, group: &str, order: &DeregisterOrder) -> Result<Registered, GatewayError>;

    /// What [`Gateway::reload`] would change.
    fn plan(&self) -> Result<Vec<PlanRow>, GatewayError>;

    /// Puts the configuration file in force anew.
    fn reload(&self) -> Result<Reloaded, GatewayError>;

    /// What happens.
    fn events(&self) -> &Events;

    /// Begins to capture packets, within a tokio runtime.
    fn capture(self: Arc<Self>, query: &CaptureQuery, form: Form) -> Result<Capture, GatewayError>;

    /// Ends the capture that runs; false where none does.
    fn end_capture(&self) -> bool;

    /// Puts a change, or a refused one, on record.
    fn audit(&self, entry: &Entry);
}

/// Flows, one after the other.
pub type Flows<'a> = Box<dyn Iterator<Item = FlowRow<'a>> + 'a>;

/// Rows of usage, one after the other; none after one that cannot be read.
pub type Usage = Box<dyn Iterator<Item = Result<UsageRow, GatewayError>>>;

/// Why the daemon could not answer; each text is one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Not now, but later: the daemon starts or stops. HTTP status 503.
    #[error("{0}")]
    Unavailable(String),
    /// The daemon failed. HTTP status 500.
    #[error("{0}")]
    Failed(String),
    /// What was asked for is refused; nothing has changed. HTTP status 4xx.
    #[error(transparent)]
    Refused(#[from] ErrorBody),
}

impl From<GatewayError> for ErrorBody {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Unavailable(text) => Self::new(ErrorCode::Unavailable, text),
            GatewayError::Failed(text) => Self::new(ErrorCode::InternalFailure, text),
            GatewayError::Refused(body) => body,
        }
    }
}
