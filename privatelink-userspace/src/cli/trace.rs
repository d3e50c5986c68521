//! A packet on a line.

use std::fmt;

use crate::api::{Headers, TracedPacket};

/// A packet for people.
pub(super) struct Line<'p>(pub(super) &'p TracedPacket);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.0;
        write!(f, "{} {} {}", packet.time, packet.interface, Shown(&packet.before))?;
        if let (Some(egress), Some(after)) = (&packet.egress, &packet.after) {
            write!(f, " => {egress} {}", Shown(after))?;
        }
        match (&packet.reason, &packet.egress, &*packet.verdict) {
            (Some(reason), Some(_), _) => write!(f, " answered: {reason}")?,
            (Some(reason), None, _) => write!(f, " dropped: {reason}")?,
            (None, None, "pass") => f.write_str(" passed to the host")?,
            (None, ..) => {}
        }
        packet.endpoint.iter().try_for_each(|endpoint| write!(f, " {endpoint}"))
    }
}

struct Shown<'h>(&'h Headers);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Headers { protocol, vlans, source, destination, flags, sequence: _, length } = self.0;
        vlans.iter().try_for_each(|vlan| write!(f, "vlan {vlan} "))?;
        f.write_str(protocol)?;
        if !source.is_empty() {
            write!(f, " {source} > {destination}")?;
        }
        if !flags.is_empty() {
            write!(f, " [{flags}]")?;
        }
        write!(f, " {length}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(source: &str, destination: &str) -> Headers {
        Headers {
            protocol: "tcp".into(),
            vlans: vec![],
            source: source.into(),
            destination: destination.into(),
            flags: "S".into(),
            sequence: Some(1),
            length: 74,
        }
    }

    fn packet() -> TracedPacket {
        TracedPacket {
            time: "2026-11-21T19:00:00.000000001Z".into(),
            interface: "eth-a".into(),
            before: headers("10.0.2.20:40000", "10.0.1.10:80"),
            verdict: "redirect".into(),
            egress: Some("eth-p".into()),
            after: Some(headers("10.0.0.10:10240", "10.0.1.10:8080")),
            reason: None,
            endpoint: Some("vpce-1".into()),
            vpc: Some("vpc-a".into()),
            client: "10.0.2.20:40000".parse().ok(),
            target: "10.0.1.10:8080".parse().ok(),
        }
    }

    #[test]
    fn what_became_of_a_packet_is_on_its_line() {
        const BEFORE: &str =
            "2026-11-21T19:00:00.000000001Z eth-a tcp 10.0.2.20:40000 > 10.0.1.10:80 [S] 74";
        let line = |packet: &TracedPacket| {
            Line(packet).to_string().strip_prefix(BEFORE).map(str::to_owned)
        };
        let carried = " => eth-p tcp 10.0.0.10:10240 > 10.0.1.10:8080 [S] 74 vpce-1";
        assert_eq!(line(&packet()).as_deref(), Some(carried));
        let answered = TracedPacket { reason: Some("NoFlow".into()), ..packet() };
        assert!(line(&answered).unwrap().ends_with("[S] 74 answered: NoFlow vpce-1"));
        let lone = TracedPacket { egress: None, after: None, ..packet() };
        let dropped = TracedPacket {
            reason: Some("SecurityGroup".into()),
            verdict: "drop".into(),
            ..lone.clone()
        };
        assert_eq!(line(&dropped).as_deref(), Some(" dropped: SecurityGroup vpce-1"));
        let passed = TracedPacket { verdict: "pass".into(), endpoint: None, ..lone };
        assert_eq!(line(&passed).as_deref(), Some(" passed to the host"));
    }
}
