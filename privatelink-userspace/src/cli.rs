//! The command line: parses, starts logging, runs one command and turns its end into an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use env_logger::Env;
use log::LevelFilter;

mod args;
mod capture;
mod columns;
mod commands;
mod events;
mod failure;
mod flows;
mod outcome;
mod output;
mod resource;
mod rows;
mod stdout;
mod top;
mod trace;
mod usage;
mod watch;

use args::{Cli, Command};
use failure::{Failure, usage_failure};

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return end_without_command(&error),
    };
    start_logging(&cli);
    match commands::execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Prints what clap has to say: help and version as they are, a mistake as one line.
fn end_without_command(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever reads help through a closed pipe has read enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(failure::MISTAKE)
        }
        _ => report(&usage_failure(&error.render().to_string())),
    }
}

/// `--log` wins over `PRIVATELINK_LOG`, that over `RUST_LOG`, that over the command's default.
fn start_logging(cli: &Cli) {
    let mut builder = env_logger::Builder::new();
    let environment = ["PRIVATELINK_LOG", "RUST_LOG"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    match (cli.log, environment) {
        (Some(level), _) => builder.filter_level(level),
        (None, Some(name)) => builder.parse_env(Env::new().filter(name)),
        (None, None) => builder.filter_level(match cli.command {
            Command::Run(_) => LevelFilter::Info,
            _ => LevelFilter::Warn,
        }),
    };
    builder.init();
}

/// Writes the failure to standard error; its causes only when debugging.
fn report(failure: &Failure) -> ExitCode {
    let causes = log::log_enabled!(log::Level::Debug);
    let text = failure.render(causes);
    // Without a standard error there is nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(failure.code())
}
