//! What to capture, and where to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use humantime_serde::re::humantime;

use super::EventsFormat;
use super::flows::bytes;
use crate::api::{CaptureQuery, Clients, Targets};
use crate::control::DEFAULT_SOCKET;

#[derive(Debug, Args)]
pub(in crate::cli) struct CaptureArgs {
    /// File to write, which must not exist yet and only its owner may read; - is standard output, which may not be a
    /// terminal
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(in crate::cli) write: PathBuf,
    /// End before the packets take more bytes, e.g. 5000, 5k, 5M or 5G
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    bytes: Option<u64>,
    /// Most bytes of a packet, 64 to 2048 [default: 128]
    #[arg(long, value_name = "BYTES")]
    snaplen: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) packets: PacketArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TraceArgs {
    #[command(flatten)]
    pub(in crate::cli) packets: PacketArgs,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = EventsFormat::Table)]
    pub(in crate::cli) output: EventsFormat,
}

/// Which packets, and how many.
#[derive(Debug, Args)]
pub(in crate::cli) struct PacketArgs {
    /// Only packets about this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only packets from and to this client, or the clients in this CIDR
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
    client: Option<Clients>,
    /// Only packets from and to the targets at this address, or the one at this address and port
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    target: Option<Targets>,
    /// Only packets about this port of an endpoint
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Only packets that `privatelink drops` counts, those that were answered included
    #[arg(long)]
    dropped: bool,
    /// Also packets that are left to the host
    #[arg(long)]
    all: bool,
    /// End after so many packets
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time, e.g. 30s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Of so many packets take one [default: 1]
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// Take so many packets in a second at most [default: 10000]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(in crate::cli) socket: PathBuf,
}

impl PacketArgs {
    /// The part of the arguments the daemon needs.
    pub(in crate::cli) fn query(&self) -> CaptureQuery {
        CaptureQuery {
            endpoint: self.endpoint.clone(),
            client: self.client,
            target: self.target,
            port: self.port,
            dropped: self.dropped,
            all: self.all,
            snaplen: None,
            count: self.count,
            bytes: None,
            duration_ms: self.duration.map(|time| time.as_millis() as u64),
            sample: self.sample,
            rate: self.rate,
        }
    }
}

impl CaptureArgs {
    /// The part of the arguments the daemon needs.
    pub(in crate::cli) fn query(&self) -> CaptureQuery {
        CaptureQuery { snaplen: self.snaplen, bytes: self.bytes, ..self.packets.query() }
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "not a time: write e.g. 30s or 5m")
}
