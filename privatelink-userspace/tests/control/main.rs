//! The control API and the command line, against a gateway that answers from fixed rows.

mod changes;
mod cli;
mod events;
mod fake;
mod openapi;
mod orders;
mod resources;
mod server;
mod watch;
