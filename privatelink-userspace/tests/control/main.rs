//! The control API, against a gateway that answers from fixed rows.

mod fake;
mod server;
