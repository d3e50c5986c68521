//! Packets as lines of JSON.

use std::time::{Duration, UNIX_EPOCH};

use humantime_serde::re::humantime::format_rfc3339_nanos;
use serde::Serialize;

use super::headers::headers;
use super::names::{Names, client, reason, target};
use super::{Packet, Writer};
use crate::api::{CaptureSummary, TraceLine, TracedPacket};

/// Writes lines.
#[derive(Debug)]
pub(super) struct Lines;

impl Writer for Lines {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn packet(&mut self, names: &mut Names, packet: &Packet<'_>, out: &mut Vec<u8>) {
        let captured = &packet.captured;
        let subject = &captured.subject;
        let left = captured.egress != 0;
        let traced = TracedPacket {
            time: format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(packet.time)).to_string(),
            interface: names.interface(captured.ingress).0,
            before: headers(packet.before, captured.length_before),
            verdict: verdict(captured.action).into(),
            egress: left.then(|| names.interface(captured.egress).0),
            after: left.then(|| headers(packet.after, captured.length_after)),
            reason: reason(captured).map(|reason| reason.name().into()),
            endpoint: names.endpoint(subject).map(Into::into),
            vpc: names.vpc(subject).map(Into::into),
            client: client(subject),
            target: target(subject),
        };
        line(out, &TraceLine::Packet(Box::new(traced)));
    }

    fn summary(
        &mut self,
        _: &mut Names,
        by_interface: &[(u32, CaptureSummary)],
        _: u64,
        out: &mut Vec<u8>,
    ) {
        let sum = by_interface.iter().map(|(_, summary)| *summary).sum();
        line(out, &TraceLine::Summary(sum));
    }
}

/// The name of what the program returned.
const fn verdict(action: u32) -> &'static str {
    match action {
        1 => "drop",
        2 => "pass",
        _ => "redirect",
    }
}

fn line(out: &mut Vec<u8>, line: &impl Serialize) {
    // Cannot fail: texts and numbers.
    out.extend(serde_json::to_vec(line).unwrap_or_default());
    out.push(b'\n');
}
