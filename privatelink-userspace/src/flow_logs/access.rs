//! A line for each connection, or flow of UDP, that has ended, in the form of a network load balancer's access log.
//!
//! AWS writes these for TLS listeners only. A flow of UDP has a line if it was answered. The fields are AWS's, those of TLS
//! `-`, and behind them some of our own: readers of AWS's must pass over what they do not know.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use humantime_serde::re::humantime::format_rfc3339_millis;
use privatelink_common::flow_table::Flow;
use serde::Serialize;

use super::names::{Interface, Names, ends};
use crate::model::{LogForm, Protocol};

/// A connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection<'n> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'static str,
    time: String,
    elb: &'n str,
    listener: String,
    client: SocketAddr,
    destination: SocketAddr,
    connection_time_ms: u64,
    received_bytes: u64,
    sent_bytes: u64,
    opened: String,
    endpoint_id: &'n str,
    service_id: &'n str,
    nat: SocketAddr,
    target: SocketAddr,
    state: &'static str,
    consumer_rtt_us: Option<u32>,
    provider_rtt_us: Option<u32>,
}

impl<'n> Connection<'n> {
    /// That of a flow from its opening to its last packet, milliseconds since 1970.
    pub fn of(
        flow: &Flow,
        interface: Option<&'n Interface>,
        names: &'n Names,
        [opened, ended]: [u64; 2],
    ) -> Self {
        let [client, destination] = ends(&flow.forward.key);
        let [target, nat] = ends(&flow.reverse.key);
        let protocol = Protocol::of_flow(&flow.forward.key).name();
        let name = |name: Option<&'n str>| name.unwrap_or("-");
        Self {
            kind: protocol,
            version: "2.0",
            time: moment(ended),
            elb: name(names.load_balancer(&flow.reverse.key)),
            listener: format!("{protocol}:{}", destination.port()),
            client,
            destination,
            connection_time_ms: ended.saturating_sub(opened),
            received_bytes: flow.forward.bytes,
            sent_bytes: flow.reverse.bytes,
            opened: moment(opened),
            endpoint_id: name(interface.and_then(|of| of.endpoint.as_deref())),
            service_id: name(interface.and_then(|of| of.service.as_deref())),
            nat,
            target,
            state: flow.state.name(),
            consumer_rtt_us: flow.forward.note.time(),
            provider_rtt_us: flow.reverse.note.time(),
        }
    }

    /// Writes the line, with its end.
    pub fn write(&self, to: &mut String, form: LogForm) {
        match form {
            LogForm::Text => self.write_text(to),
            // Cannot fail: it has strings and numbers only.
            LogForm::Json => to.push_str(&serde_json::to_string(self).unwrap_or_default()),
        }
        to.push('\n');
    }

    fn write_text(&self, to: &mut String) {
        let Self { kind, version, time, elb, listener, client, destination, .. } = self;
        let Self { connection_time_ms, received_bytes, sent_bytes, opened, .. } = self;
        let Self { endpoint_id, service_id, nat, target, state, .. } = self;
        // Writing to a string cannot fail. Between: the time of the TLS handshake, and ten fields about TLS.
        let _ = write!(
            to,
            "{kind} {version} {time} {elb} {listener} {client} {destination} {connection_time_ms} - \
             {received_bytes} {sent_bytes} - - - - - - - - - - {opened} \
             {endpoint_id} {service_id} {nat} {target} {state}"
        );
        for time in [self.consumer_rtt_us, self.provider_rtt_us] {
            let _ = match time {
                Some(time) => write!(to, " {time}"),
                None => write!(to, " -"),
            };
        }
    }
}

/// A moment as AWS writes it, UTC without a zone.
fn moment(ms: u64) -> String {
    let moment = format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string();
    moment.trim_end_matches('Z').to_owned()
}
