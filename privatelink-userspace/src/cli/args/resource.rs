//! Resources: to make, describe, change and delete them.

use std::io::{Read as _, stdin};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::QueryArgs;
use crate::api::DeleteQuery;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ResourceCommand {
    /// Make one, from the keys and values that its table in the configuration file would have
    Create(CreateArgs),
    /// Show one, also of the configuration file
    Describe(DescribeArgs),
    /// Change keys of one that was made here; null takes a key out
    Modify(ModifyArgs),
    /// Delete one that was made here
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    #[command(flatten)]
    body: BodyArgs,
    /// Make it once, however often this command is repeated with this token
    #[arg(long, value_name = "TOKEN")]
    client_token: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl CreateArgs {
    /// What to ask for.
    pub(in crate::cli) fn request(&self) -> anyhow::Result<Map<String, Value>> {
        let mut request = self.body.read()?;
        if let Some(token) = &self.client_token {
            request.insert("client_token".into(), Value::String(token.clone()));
        }
        Ok(request)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DescribeArgs {
    /// Its id or name
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ModifyArgs {
    /// Its id or name
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) body: BodyArgs,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteArgs {
    /// Its id or name
    #[arg(value_name = "ID")]
    pub(in crate::cli) id: String,
    /// Delete also what refers to it, e.g. the endpoints of a service
    #[arg(long)]
    cascade: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl DeleteArgs {
    /// How to ask for it.
    pub(in crate::cli) const fn delete_query(&self) -> DeleteQuery {
        DeleteQuery { cascade: self.cascade, dry_run: self.dry_run }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BodyArgs {
    /// A JSON object in the words of the configuration file; @FILE reads it from a file, - from standard input
    #[arg(value_name = "JSON")]
    body: String,
}

impl BodyArgs {
    /// The object.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none.
    pub(in crate::cli) fn read(&self) -> anyhow::Result<Map<String, Value>> {
        let text = match self.body.strip_prefix('@') {
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                anyhow::anyhow!("{path} cannot be read ({error}): name another file")
            })?,
            None if self.body == "-" => {
                let mut text = String::new();
                stdin().read_to_string(&mut text)?;
                text
            }
            None => self.body.clone(),
        };
        serde_json::from_str(&text).map_err(|error| {
            anyhow::anyhow!("not a JSON object ({error}): write one, e.g. '{{\"name\": \"web\"}}'")
        })
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ListedCommand {
    /// List all of them
    List(QueryArgs),
    #[command(flatten)]
    Resource(ResourceCommand),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TargetCommand {
    /// Register a target with a target group, also of the configuration file
    ///
    /// One that is there gets what is new of it.
    Register(RegisterArgs),
    /// Deregister a target from a target group, also of the configuration file; it drains
    Deregister(DeregisterArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RegisterArgs {
    /// Target group
    #[arg(value_name = "GROUP")]
    pub(in crate::cli) group: String,
    /// Address, and port if it is not the group's
    #[arg(value_name = "ADDRESS[:PORT]")]
    target: String,
    /// Share of new flows, 0 to 999 [default: 1]
    #[arg(long)]
    weight: Option<u16>,
    /// Availability zone it stands in [default: any]
    #[arg(long)]
    zone: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl RegisterArgs {
    /// The target in the configuration's words.
    pub(in crate::cli) fn target(&self) -> Map<String, Value> {
        let mut target = Map::new();
        let (address, port) = address_and_port(&self.target);
        target.insert("address".into(), address.into());
        target.extend(port.map(|port| ("port".to_owned(), port)));
        target.extend(self.weight.map(|weight| ("weight".to_owned(), weight.into())));
        target.extend(self.zone.as_deref().map(|zone| ("zone".to_owned(), zone.into())));
        target
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeregisterArgs {
    /// Target group
    #[arg(value_name = "GROUP")]
    pub(in crate::cli) group: String,
    /// Address, and port if it is not the group's
    #[arg(value_name = "ADDRESS[:PORT]")]
    target: String,
    #[command(flatten)]
    pub(in crate::cli) query: QueryArgs,
}

impl DeregisterArgs {
    /// Which target, as the control API takes it.
    pub(in crate::cli) fn target(&self) -> Map<String, Value> {
        let (address, port) = address_and_port(&self.target);
        let address = ("address".to_owned(), address.into());
        std::iter::once(address).chain(port.map(|port| ("port".to_owned(), port))).collect()
    }
}

/// Parts `10.0.1.10:8080` or `[fd00::1:10]:8080`; what is wrong with them is for the daemon to say.
fn address_and_port(target: &str) -> (&str, Option<Value>) {
    let number = |port: &str| port.parse::<u64>().map_or_else(|_| port.into(), Value::from);
    let bracketed = target.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (bracketed, target.split_once(':')) {
        (Some((address, rest)), _) => (address, rest.strip_prefix(':').map(number)),
        (None, Some((address, port))) if !port.contains(':') => (address, Some(number(port))),
        (None, _) => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_and_without_a_port() {
        for (text, address, port) in [
            ("10.0.1.10", "10.0.1.10", None),
            ("10.0.1.10:80", "10.0.1.10", Some(80.into())),
            ("10.0.1.10:http", "10.0.1.10", Some("http".into())),
            ("fd00::1:10", "fd00::1:10", None),
            ("[fd00::1:10]", "fd00::1:10", None),
            ("[fd00::1:10]:80", "fd00::1:10", Some(80.into())),
        ] {
            assert_eq!(address_and_port(text), (address, port), "{text}");
        }
    }
}
