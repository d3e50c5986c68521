//! What can be typed. The doc comments are the text of `--help`.

mod capture;
mod events;
mod flows;
mod provider;
mod resource;
mod top;
mod usage;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use log::LevelFilter;

pub(super) use self::capture::{CaptureArgs, TraceArgs};
pub(super) use self::events::{EventsArgs, EventsFormat};
pub(super) use self::flows::FlowsArgs;
pub(super) use self::provider::{ConnectionCommand, ServiceCommand};
pub(super) use self::resource::{ListedCommand, ResourceCommand, TargetCommand};
pub(super) use self::top::TopArgs;
pub(super) use self::usage::UsageArgs;
use crate::api::ServiceQuery;
use crate::control::DEFAULT_SOCKET;
use crate::model::AttachMode;

/// Where the daemon keeps what must survive a restart.
const DEFAULT_STATE_DIR: &str = "/var/lib/privatelink";

/// Where the daemon pins its maps and links.
const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/privatelink";

const AFTER_HELP: &str = "\
Exit codes:
  0  success
  1  failure, e.g. no daemon answers
  2  usage or configuration error

Environment:
  PRIVATELINK_LOG, RUST_LOG  log level, or a filter such as `warn,privatelink_userspace=debug`, if
                             --log is not given";

/// Self-hosted PrivateLink: publishes services to networks with overlapping addresses.
#[derive(Debug, Parser)]
#[command(name = "privatelink", version, after_help = AFTER_HELP)]
pub(super) struct Cli {
    /// Log this and more severe to standard error [default: info for run, warn otherwise]
    ///
    /// With debug or trace, a failure names its causes too.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        value_parser = PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
            .try_map(|level| level.parse::<LevelFilter>()),
    )]
    pub(super) log: Option<LevelFilter>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    Run(RunArgs),
    /// Check a configuration file against this host, without touching anything
    Check(CheckArgs),
    /// Show the daemon and its interfaces
    ///
    /// JSON is an array of one object, with the interfaces as an array inside it. CSV has one row
    /// per interface, each of which repeats the fields of the daemon.
    Status(QueryArgs),
    /// List the endpoint services
    Services(ServicesArgs),
    /// List the endpoints
    Endpoints(QueryArgs),
    /// List the targets, their health and their next hops
    Targets(QueryArgs),
    /// List the flows
    ///
    /// The table leaves out the service and the vpc unless they are chosen, and shows times as people read
    /// them; JSON and CSV have every field, and milliseconds.
    Flows(FlowsArgs),
    /// List the packets dropped, by interface and reason
    Drops(QueryArgs),
    /// List what endpoints have used, by hour, account, endpoint, service and zone
    ///
    /// An endpoint-hour is an hour in any part of which an endpoint was there, for each of its zones. Costs are listed if
    /// the configuration has prices. Times are UTC.
    Usage(UsageArgs),
    /// List what has happened, and follow what happens
    ///
    /// Of a daemon's events the last 10000 are kept. JSON is an object on each line.
    Events(EventsArgs),
    /// Capture packets as they arrive and as they leave, as a pcapng file
    ///
    /// Each packet that is forwarded or answered stands there twice, on the interface it came in by and on the one it left by,
    /// with what became of it as comments. Ends at a limit, or by SIGINT (Ctrl-C) or SIGTERM. One capture or trace runs at a
    /// time. What is beyond the rate, or not read in time, is counted and left out: packets never wait.
    Capture(CaptureArgs),
    /// Show packets as they arrive and as they leave, a line each
    ///
    /// As capture does, but as text. JSON is an object on each line.
    Trace(TraceArgs),
    /// Show what goes on, live: rates by endpoint, service, target and flow, and drops
    ///
    /// Needs a terminal; ? explains the keys. Without colour if NO_COLOR is set.
    Top(TopArgs),
    /// Make, change and delete endpoint services, and decide who may connect to them
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Make, change and delete endpoints
    #[command(subcommand)]
    Endpoint(ResourceCommand),
    /// Make, change and delete load balancers
    #[command(subcommand)]
    LoadBalancer(ListedCommand),
    /// Make, change and delete target groups
    #[command(subcommand)]
    TargetGroup(ListedCommand),
    /// Register targets and deregister them
    #[command(subcommand)]
    Target(TargetCommand),
    /// Make, change and delete security groups
    #[command(subcommand)]
    SecurityGroup(ListedCommand),
    /// List, accept and reject the connections of endpoints to their services
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// Show what a reload of the configuration file would change
    Plan(QueryArgs),
    /// Put the configuration file in force anew; nothing changes if it is wrong
    Reload(QueryArgs),
    /// Detach the data path from every interface and remove its pinned maps
    ///
    /// For a gateway whose daemon is gone for good: flows end.
    Detach(DetachArgs),
}

fn attach_mode() -> impl TypedValueParser<Value = AttachMode> {
    PossibleValuesParser::new(AttachMode::ALL.map(AttachMode::name))
        .map(|name| AttachMode::named(&name).unwrap_or_default())
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// How to attach to interfaces of which the configuration says nothing, or "auto"
    #[arg(long, value_name = "MODE", default_value = AttachMode::Auto.name(), value_parser = attach_mode())]
    pub(super) attach: AttachMode,
    /// Where to serve the control API
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(super) socket: PathBuf,
    /// Group that may use the control API, besides root [default: the daemon's own]
    #[arg(long, value_name = "GROUP")]
    pub(super) socket_group: Option<String>,
    /// Directory for what must survive a restart
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub(super) state_dir: PathBuf,
    /// Record of who changed what, a line of JSON each [default: audit.log in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(super) audit_log: Option<PathBuf>,
    /// Directory, on a bpf file system, for maps and links
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub(super) pin_dir: PathBuf,
    /// End the flows of what an earlier daemon left attached, and start anew
    #[arg(long)]
    pub(super) replace: bool,
    /// Leave nothing attached when stopped, instead of the data path for the next daemon to adopt
    #[arg(long)]
    pub(super) detach_on_stop: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct DetachArgs {
    /// Directory the daemon pinned its maps and links in
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub(super) pin_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(super) socket: PathBuf,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One array, one object per row
    Json,
    /// With a header, also if there are no rows
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct ServicesArgs {
    /// Only services that let this principal connect
    #[arg(long = "as", value_name = "ARN")]
    principal: Option<String>,
    #[command(flatten)]
    pub(super) query: QueryArgs,
}

impl ServicesArgs {
    /// The part of the arguments the daemon needs.
    pub(super) fn service_query(&self) -> ServiceQuery {
        ServiceQuery { principal: self.principal.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_has_its_defaults() {
        let cli = Cli::parse_from(["privatelink", "run", "--config", "a.toml"]);
        let Command::Run(run) = cli.command else { panic!("{cli:?}") };
        assert_eq!(cli.log, None);
        assert_eq!(run.config, PathBuf::from("a.toml"));
        assert_eq!(run.socket, PathBuf::from("/run/privatelink/control.sock"));
        assert_eq!(run.state_dir, PathBuf::from("/var/lib/privatelink"));
        assert_eq!(run.pin_dir, PathBuf::from("/sys/fs/bpf/privatelink"));
    }

    #[test]
    fn log_stands_before_or_after_the_command() {
        for words in [["--log", "debug", "drops"], ["drops", "--log", "debug"]] {
            let cli = Cli::parse_from(["privatelink"].into_iter().chain(words));
            assert_eq!(cli.log, Some(LevelFilter::Debug));
        }
    }
}
