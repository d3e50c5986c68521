//! What each command does.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::args::{CheckArgs, Command, DetachArgs, Format, QueryArgs, RunArgs};
use super::failure::Failure;
use super::output::{Row, write_csv, write_table};
use super::rows::write_status;
use crate::config::{interface_exists, load_on_host};
use crate::control::{Client, Question};
use crate::daemon::{self, RunOptions};
use crate::datapath;
use crate::model::Model;
use crate::netlink::Netlink;

pub(super) fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(run) => {
            let RunArgs { config, socket, state_dir, pin_dir, replace, detach_on_stop } = run;
            let model = load_on_host(&config, interface_exists).map_err(Failure::mistake)?;
            let options =
                RunOptions { config, socket, state_dir, pin_dir, replace, detach_on_stop };
            Ok(runtime()?.block_on(daemon::run(&options, model))?)
        }
        Command::Check(CheckArgs { config }) => {
            check(&config, |path| load_on_host(path, interface_exists))
        }
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
        Command::Services(query) => list(&query, &Question::services()),
        Command::Endpoints(query) => list(&query, &Question::endpoints()),
        Command::Targets(query) => list(&query, &Question::targets()),
        Command::Flows(flows) => list(&flows.query, &Question::flows(&flows.flow_query())),
        Command::Drops(query) => list(&query, &Question::drops()),
    }
}

/// Loads a configuration and says in one line what it declares.
fn check<E: Into<anyhow::Error>>(
    path: &Path,
    load: impl FnOnce(&Path) -> Result<Model, E>,
) -> Result<(), Failure> {
    let model = load(path).map_err(Failure::mistake)?;
    print(|out| writeln!(out, "{}: valid: {}", path.display(), summary(&model)))
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
        Format::Json => copy(query, question),
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

fn ask<T: DeserializeOwned>(query: &QueryArgs, question: &Question<T>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(Client::new(&query.socket).ask(question))?)
}

/// Prints the daemon's answer as it arrives.
fn copy<T>(query: &QueryArgs, question: &Question<T>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut answer = runtime.block_on(Client::new(&query.socket).open(question))?;
    let mut out = io::stdout().lock();
    while let Some(piece) = runtime.block_on(answer.next())? {
        if written(out.write_all(&piece))?.is_break() {
            return Ok(());
        }
    }
    written(out.flush()).map(drop)
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop: raise the limit on open files")
}

/// Writes to standard output.
fn print(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'_>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write(&mut out).and_then(|()| out.flush());
    if written(result)?.is_break() {
        // Dropped, the buffer would try the pipe once more.
        let _ = out.into_parts();
    }
    Ok(())
}

/// What the end of writing to standard output means: a reader that has closed it has read enough.
fn written(result: io::Result<()>) -> Result<ControlFlow<()>, Failure> {
    match result {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => {
            let text = format!("cannot write to standard output ({error}): redirect it elsewhere");
            Err(anyhow::Error::new(error).context(text).into())
        }
    }
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
