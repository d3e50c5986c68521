//! The world the packets live in, twice: as the engine's model of the maps, and in the kernel.

#[path = "world/configuration.rs"]
mod configuration;
#[path = "world/engine.rs"]
mod engine;
#[path = "world/flows.rs"]
mod flows;
#[path = "world/host.rs"]
mod host;
#[path = "world/kernel.rs"]
mod kernel;
#[path = "world/network.rs"]
mod network;
#[path = "world/wire.rs"]
mod wire;

pub(crate) use configuration::*;
pub(crate) use engine::*;
pub(crate) use flows::*;
pub(crate) use host::Host;
pub(crate) use kernel::{Kernel, ProgramKind};
pub(crate) use network::*;
