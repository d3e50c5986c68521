//! Health checks of targets, from the load balancer's own address.
//!
//! [`Checker`] runs the checks and tells of every change. A check has a TCP of its own (`connection`) over
//! a packet socket on the provider's interface (`wire`): the kernel has no address of the load balancer's
//! and no route to the target, and the same addresses may mean something else to it.

mod certificate;
mod check;
mod checker;
mod connection;
mod failure;
mod http;
mod link;
mod packet_socket;
mod probe;
mod state;
mod tls;
mod wire;

pub use check::{Check, Via};
pub use checker::{Checker, Event, Status};
pub use state::{Health, Reason, State};
pub(crate) use tls::{roots_of_host, trusting};
