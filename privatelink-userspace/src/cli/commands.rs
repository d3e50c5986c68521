//! What each command does.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{Gid, Group};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::args::{
    CheckArgs, Command, ConnectionCommand, DetachArgs, Format, ListedCommand, QueryArgs,
    ResourceCommand, RunArgs, ServiceCommand, TargetCommand,
};
use super::capture::{capture, trace};
use super::events::events;
use super::failure::Failure;
use super::flows::flows;
use super::outcome::{write_ordered, write_reloaded};
use super::output::{Row, write_csv, write_table};
use super::resource::{write_deleted, write_registered, write_resource, write_resources};
use super::rows::write_status;
use super::stdout::{copy, print};
use super::top::top;
use super::usage::usage;
use crate::api::{ErrorCode, Order};
use crate::config::{Source, host_has, load_on_host};
use crate::control::{Client, ClientError, Question};
use crate::daemon::{self, RunOptions};
use crate::datapath;
use crate::decisions::{Decisions, now};
use crate::model::{EndpointState, Model};
use crate::netlink::Netlink;
use crate::resources::ResourceKind;
use crate::state::State;

/// How long what runs beside the daemon may take once it has ended.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run(args),
        Command::Check(CheckArgs { config }) => check(&config, |path| load_on_host(path, host_has)),
        Command::Detach(DetachArgs { pin_dir }) => {
            let interfaces = datapath::detach(&pin_dir)?;
            runtime()?
                .block_on(async { Netlink::open().await?.remove_neighbours(&interfaces).await })?;
            print(|out| writeln!(out, "detached from {}", count(interfaces.len(), "interface")))
        }
        Command::Status(query) => {
            let status = ask(&query, &Question::status())?;
            print(|out| write_status(out, query.output, &status))
        }
        Command::Services(args) => list(&args.query, &Question::services(&args.service_query())),
        Command::Endpoints(query) => list(&query, &Question::endpoints()),
        Command::Targets(query) => list(&query, &Question::targets()),
        Command::Flows(args) => runtime()?.block_on(flows(&args)),
        Command::Drops(query) => list(&query, &Question::drops()),
        Command::Usage(args) => usage(&args),
        Command::Events(args) => events(&args),
        Command::Capture(args) => capture(&args),
        Command::Trace(args) => trace(&args),
        Command::Top(args) => top(&args),
        Command::Service(ServiceCommand::Principals(command)) => {
            order(command.service(), &command.order(), command.query())
        }
        Command::Service(ServiceCommand::Resource(command)) => {
            resource(ResourceKind::Service, &command)
        }
        Command::Endpoint(command) => resource(ResourceKind::Endpoint, &command),
        Command::LoadBalancer(command) => listed(ResourceKind::LoadBalancer, &command),
        Command::TargetGroup(command) => listed(ResourceKind::TargetGroup, &command),
        Command::SecurityGroup(command) => listed(ResourceKind::SecurityGroup, &command),
        Command::Target(TargetCommand::Register(args)) => {
            let registered = ask(&args.query, &Question::register(&args.group, args.target()))?;
            print(|out| write_registered(out, args.query.output, &registered))
        }
        Command::Target(TargetCommand::Deregister(args)) => {
            let registered = ask(&args.query, &Question::deregister(&args.group, args.target()))?;
            print(|out| write_registered(out, args.query.output, &registered))
        }
        Command::Connection(ConnectionCommand::List(args)) => {
            list(&args.query, &Question::connections(&args.connection_query()))
        }
        Command::Connection(ConnectionCommand::Accept(args)) => {
            order(&args.endpoints.service, &args.order(), &args.query)
        }
        Command::Connection(ConnectionCommand::Reject(args)) => {
            order(&args.endpoints.service, &args.order(), &args.query)
        }
        Command::Plan(query) => list(&query, &Question::plan()),
        Command::Reload(query) => {
            let reloaded = ask(&query, &Question::reload())?;
            print(|out| write_reloaded(out, query.output, &reloaded))
        }
    }
}

fn run(args: RunArgs) -> Result<(), Failure> {
    let RunArgs {
        config,
        attach,
        socket,
        socket_group,
        state_dir,
        audit_log,
        pin_dir,
        replace,
        detach_on_stop,
    } = args;
    let socket_group = socket_group.as_deref().map(group).transpose().map_err(Failure::mistake)?;
    let source = Source::read(&config).map_err(Failure::mistake)?;
    source.check(&[], host_has).map_err(Failure::mistake)?;
    let state = State::open(&state_dir, audit_log.as_deref())?;
    let options =
        RunOptions { config, attach, socket, socket_group, pin_dir, replace, detach_on_stop };
    let runtime = runtime()?;
    let ended = runtime.block_on(daemon::run(&options, source, state));
    // The name of a webhook's server may be looked up for long.
    runtime.shutdown_timeout(STOP_PATIENCE);
    Ok(ended?)
}

fn group(name: &str) -> anyhow::Result<Gid> {
    let found = Group::from_name(name).context("the groups of this host cannot be read")?;
    let group = found.with_context(|| {
        format!("no such group: {name}: create it, or choose another --socket-group")
    })?;
    Ok(group.gid)
}

/// Loads a configuration and says in one line what it declares.
fn check<E: Into<anyhow::Error>>(
    path: &Path,
    load: impl FnOnce(&Path) -> Result<Model, E>,
) -> Result<(), Failure> {
    let mut model = load(path).map_err(Failure::mistake)?;
    let mut decisions = Decisions::default();
    decisions.apply(&mut model, now());
    print(|out| {
        writeln!(out, "{}: valid: {}", path.display(), summary(&model))?;
        let connections = decisions.connections().iter();
        let mut failing = connections.filter(|(_, of)| of.state == EndpointState::Failed);
        failing.try_for_each(|(id, of)| {
            let reason = &of.reason;
            writeln!(out, "endpoint {id} fails unless it was decided otherwise: {reason}")
        })
    })
}

fn summary(model: &Model) -> String {
    let targets = model.target_groups.iter().map(|group| group.targets.len()).sum();
    [
        count(model.vpcs.len(), "vpc"),
        count(model.load_balancers.len(), "load balancer"),
        count(targets, "target"),
        count(model.services.len(), "endpoint service"),
        count(model.endpoints.len(), "endpoint"),
    ]
    .join(", ")
}

fn count(number: usize, noun: impl Display) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Asks for a listing and prints it.
fn list<R: Row + DeserializeOwned>(
    query: &QueryArgs,
    question: &Question<Vec<R>>,
) -> Result<(), Failure> {
    match query.output {
        Format::Json => {
            let client = Client::new(&query.socket);
            let answer = async { client.open(question).await.map_err(unanswered) };
            runtime()?.block_on(async { copy(answer.await?).await }).map(drop)
        }
        Format::Table => {
            let rows = ask(query, question)?;
            print(|out| write_table(out, &rows))
        }
        Format::Csv => {
            let rows = ask(query, question)?;
            print(|out| write_csv(out, R::FIELDS, &rows))
        }
    }
}

fn listed(kind: ResourceKind, command: &ListedCommand) -> Result<(), Failure> {
    match command {
        ListedCommand::List(query) => {
            let all = ask(query, &Question::described(kind))?;
            print(|out| write_resources(out, query.output, &all))
        }
        ListedCommand::Resource(command) => resource(kind, command),
    }
}

/// Makes, describes, changes or deletes a resource.
fn resource(kind: ResourceKind, command: &ResourceCommand) -> Result<(), Failure> {
    let (query, question) = match command {
        ResourceCommand::Create(args) => {
            let request = args.request().map_err(Failure::mistake)?;
            (&args.query, Question::make(kind, &request))
        }
        ResourceCommand::Describe(args) => (&args.query, Question::describe(kind, &args.id)),
        ResourceCommand::Modify(args) => {
            let changes = args.body.read().map_err(Failure::mistake)?;
            (&args.query, Question::modify(kind, &args.id, &changes))
        }
        ResourceCommand::Delete(args) => {
            let question = Question::delete(kind, &args.id, args.delete_query());
            let deleted = ask(&args.query, &question)?;
            return print(|out| write_deleted(out, args.query.output, &deleted));
        }
    };
    let resource = ask(query, &question)?;
    print(|out| write_resource(out, query.output, &resource))
}

/// Has an order carried out, and prints what it came to.
fn order(service: &str, order: &Order, query: &QueryArgs) -> Result<(), Failure> {
    let ordered = ask(query, &Question::order(service, order))?;
    print(|out| write_ordered(out, query.output, &ordered))
}

fn ask<T: DeserializeOwned>(query: &QueryArgs, question: &Question<T>) -> Result<T, Failure> {
    runtime()?.block_on(Client::new(&query.socket).ask(question)).map_err(unanswered)
}

/// A configuration file that is refused is a mistake here as it is for `privatelink check`.
pub(super) fn unanswered(error: ClientError) -> Failure {
    match error {
        ClientError::Refused { code: ErrorCode::InvalidConfiguration, .. } => {
            Failure::mistake(error)
        }
        error => error.into(),
    }
}

/// An event loop for questions.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop: raise the limit on open files")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::model::Vpc;

    #[test]
    fn a_summary_counts_in_words() {
        assert_eq!(
            summary(&Model::default()),
            "0 vpcs, 0 load balancers, 0 targets, 0 endpoint services, 0 endpoints"
        );
        let vpc = Vpc {
            id: "vpc-a".into(),
            account: "111111111111".into(),
            cidrs: Vec::new(),
            interfaces: Vec::new(),
        };
        let model = Model { vpcs: vec![vpc], ..Model::default() };
        assert!(summary(&model).starts_with("1 vpc, "));
    }

    #[test]
    fn a_bad_configuration_is_a_mistake() {
        let failure = check(Path::new("a.toml"), |_| Err(anyhow!("a.toml:1: bad"))).unwrap_err();
        assert_eq!(
            (failure.code(), failure.render(false).as_str()),
            (2, "privatelink: a.toml:1: bad\n")
        );
    }
}
