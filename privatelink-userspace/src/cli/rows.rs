//! What each listing shows: its CSV header, and its table's columns and cells.

use std::io::{self, Write};

use serde::Serialize;

use super::args::Format;
use super::output::{Column, Row, duration, number, text, write_csv, write_table};
use crate::api::{
    ConnectionRow, DropRow, EndpointRow, InterfaceRow, ServiceRow, Status, TargetRow, write_listing,
};

impl Row for ServiceRow {
    const FIELDS: &'static [&'static str] = &[
        "service",
        "name",
        "state",
        "load_balancers",
        "listeners",
        "acceptance_required",
        "endpoints",
        "flows",
    ];
    const COLUMNS: &'static [Column] = &[
        text("service"),
        text("name"),
        text("state"),
        text("load_balancers"),
        text("listeners"),
        text("acceptance_required"),
        number("endpoints"),
        number("flows"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            self.name.clone(),
            self.state.clone(),
            self.load_balancers.clone(),
            self.listeners.clone(),
            if self.acceptance_required { "yes" } else { "no" }.into(),
            self.endpoints.to_string(),
            self.flows.to_string(),
        ]
    }
}

impl Row for EndpointRow {
    const FIELDS: &'static [&'static str] =
        &["endpoint", "vpc", "service", "addresses", "state", "flows"];
    const COLUMNS: &'static [Column] = &[
        text("endpoint"),
        text("vpc"),
        text("service"),
        text("addresses"),
        text("state"),
        number("flows"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.endpoint.clone(),
            self.vpc.clone(),
            self.service.clone(),
            self.addresses.clone(),
            self.state.clone(),
            self.flows.to_string(),
        ]
    }
}

impl Row for ConnectionRow {
    const FIELDS: &'static [&'static str] = &[
        "service",
        "endpoint",
        "principal",
        "state",
        "since",
        "reason",
        "request_message",
        "flows",
    ];
    const COLUMNS: &'static [Column] = &[
        text("service"),
        text("endpoint"),
        text("principal"),
        text("state"),
        text("since"),
        text("reason"),
        text("request_message"),
        number("flows"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            self.endpoint.clone(),
            self.principal.clone(),
            self.state.clone(),
            self.since.clone(),
            self.reason.clone(),
            self.request_message.clone(),
            self.flows.to_string(),
        ]
    }
}

impl Row for TargetRow {
    const FIELDS: &'static [&'static str] = &[
        "target_group",
        "vpc",
        "target",
        "weight",
        "health",
        "reason",
        "description",
        "next_hop",
        "interface",
        "flows",
    ];
    const COLUMNS: &'static [Column] = &[
        text("target_group"),
        text("vpc"),
        text("target"),
        number("weight"),
        text("health"),
        text("reason"),
        text("description"),
        text("next_hop"),
        text("interface"),
        number("flows"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.target_group.clone(),
            self.vpc.clone(),
            self.target.clone(),
            self.weight.to_string(),
            self.health.clone(),
            self.reason.clone(),
            self.description.clone(),
            self.next_hop.clone(),
            self.interface.clone(),
            self.flows.to_string(),
        ]
    }
}

impl Row for DropRow {
    const FIELDS: &'static [&'static str] =
        &["interface", "vpc", "code", "reason", "packets", "meaning"];
    const COLUMNS: &'static [Column] = &[
        text("interface"),
        text("vpc"),
        number("code"),
        text("reason"),
        number("packets"),
        text("meaning"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.interface.clone(),
            self.vpc.clone(),
            self.code.to_string(),
            self.reason.clone(),
            self.packets.to_string(),
            self.meaning.clone(),
        ]
    }
}

impl Row for InterfaceRow {
    const FIELDS: &'static [&'static str] =
        &["interface", "ifindex", "vpc", "zone", "mode", "link", "drops", "reason"];
    const COLUMNS: &'static [Column] = &[
        text("interface"),
        number("ifindex"),
        text("vpc"),
        text("zone"),
        text("mode"),
        text("link"),
        number("drops"),
        text("reason"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.interface.clone(),
            self.ifindex.to_string(),
            self.vpc.clone(),
            self.zone.clone(),
            self.mode.clone(),
            self.link.clone(),
            self.drops.to_string(),
            self.reason.clone(),
        ]
    }
}

/// Header of [`StatusRecord`].
const STATUS_FIELDS: &[&str] = &[
    "version",
    "pid",
    "uptime_ms",
    "config",
    "flows",
    "flows_max",
    "interface",
    "ifindex",
    "vpc",
    "zone",
    "mode",
    "link",
    "drops",
    "reason",
];

/// A status in CSV: an interface and, beside it, the daemon.
#[derive(Serialize)]
struct StatusRecord<'a> {
    version: &'a str,
    pid: u32,
    uptime_ms: u64,
    config: &'a str,
    flows: u64,
    flows_max: u64,
    interface: &'a str,
    ifindex: u32,
    vpc: &'a str,
    zone: &'a str,
    mode: &'a str,
    link: &'a str,
    drops: u64,
    reason: &'a str,
}

/// Writes the status, which is not a listing: its table stands below a few lines on the daemon.
pub(super) fn write_status(
    out: &mut impl Write,
    format: Format,
    status: &Status,
) -> io::Result<()> {
    match format {
        Format::Table => {
            writeln!(out, "version  {}", status.version)?;
            writeln!(out, "pid      {}", status.pid)?;
            writeln!(out, "uptime   {}", duration(status.uptime_ms))?;
            writeln!(out, "config   {}", status.config)?;
            writeln!(out, "flows    {} of {}", status.flows, status.flows_max)?;
            writeln!(out)?;
            write_table(out, &status.interfaces)
        }
        Format::Json => write_listing(out, [status]),
        Format::Csv => write_csv(out, STATUS_FIELDS, status_records(status)),
    }
}

fn status_records(status: &Status) -> Vec<StatusRecord<'_>> {
    let records = status.interfaces.iter().map(|row| StatusRecord {
        version: &status.version,
        pid: status.pid,
        uptime_ms: status.uptime_ms,
        config: &status.config,
        flows: status.flows,
        flows_max: status.flows_max,
        interface: &row.interface,
        ifindex: row.ifindex,
        vpc: &row.vpc,
        zone: &row.zone,
        mode: &row.mode,
        link: &row.link,
        drops: row.drops,
        reason: &row.reason,
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header the csv crate derives from the fields, which it cannot do without a row.
    fn derived_header(row: &impl Serialize) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(row).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        text.lines().next().unwrap().to_owned()
    }

    fn consistent<R: Row>(row: &R) {
        assert_eq!(derived_header(row), R::FIELDS.join(","));
        assert_eq!(row.cells().len(), R::COLUMNS.len());
    }

    #[test]
    fn headers_name_the_fields_in_their_order() {
        consistent(&ServiceRow::default());
        consistent(&EndpointRow {
            endpoint: String::new(),
            vpc: String::new(),
            service: String::new(),
            addresses: String::new(),
            state: String::new(),
            flows: 0,
        });
        consistent(&TargetRow {
            target_group: String::new(),
            vpc: String::new(),
            target: String::new(),
            weight: 0,
            health: String::new(),
            reason: String::new(),
            description: String::new(),
            next_hop: String::new(),
            interface: String::new(),
            flows: 0,
        });
        consistent(&ConnectionRow {
            service: String::new(),
            endpoint: String::new(),
            principal: String::new(),
            state: String::new(),
            since: String::new(),
            reason: String::new(),
            request_message: String::new(),
            flows: 0,
        });
        consistent(&DropRow {
            interface: String::new(),
            vpc: String::new(),
            code: 0,
            reason: String::new(),
            packets: 0,
            meaning: String::new(),
        });
        let interface = InterfaceRow {
            interface: String::new(),
            ifindex: 0,
            vpc: String::new(),
            zone: String::new(),
            mode: String::new(),
            link: String::new(),
            drops: 0,
            reason: String::new(),
        };
        consistent(&interface);
        let status = Status {
            version: String::new(),
            pid: 0,
            uptime_ms: 0,
            config: String::new(),
            flows: 0,
            flows_max: 0,
            interfaces: vec![interface],
        };
        assert_eq!(derived_header(&status_records(&status)[0]), STATUS_FIELDS.join(","));
    }
}
