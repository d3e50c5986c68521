//! The privatelink daemon and command line, as a library so that tests drive the same code.
//!
//! Data flows one way: [`config`] → [`model`] → [`contents`] → [`reconcile`] → [`datapath`] (the only place that knows
//! aya) → packets → [`flows`] → [`api`] → [`control`] → [`cli`].

pub mod api;
pub mod attach_choice;
pub mod audit;
pub mod capture;
pub mod checking;
pub mod cli;
pub mod config;
pub mod contents;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod decisions;
pub mod diagnostics;
pub mod draining;
pub mod events;
pub mod flow_logs;
pub mod flows;
pub mod former_slots;
pub mod gateway;
pub mod health;
pub mod history;
pub mod host_ports;
pub mod log_writer;
pub mod metrics;
pub mod model;
pub mod netlink;
pub mod numbers;
pub mod packet_address;
pub mod plan;
pub mod principal;
pub mod reconcile;
pub mod resets;
pub mod resolving;
pub mod resources;
pub mod running;
pub mod seldom;
pub mod service_manager;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod tally;
pub mod usage;
pub mod web;
pub mod webhook;
pub mod words;
