//! The names of what packets are about.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use privatelink_common::capture::{Captured, Subject};
use privatelink_common::drop_reason::DropReason;
use privatelink_common::wide::WideAddress;

use crate::running::Running;
use crate::snapshot::Snapshot;

/// XDP's number of a packet that the host gets.
const PASS: u32 = 2;

/// The names as they are now; asked for again where one is not known.
pub(super) struct Names {
    running: Arc<Running>,
    snapshot: Arc<Snapshot>,
    interfaces: HashMap<u32, (String, String)>,
}

/// What is said of a packet as it arrived, and as it left.
pub(super) struct Comment {
    pub(super) before: String,
    pub(super) after: String,
}

impl Names {
    pub(super) fn new(running: Arc<Running>) -> Self {
        let snapshot = running.snapshot();
        let mut names = Self { running, snapshot, interfaces: HashMap::new() };
        names.look();
        names
    }

    /// Looks again.
    pub(super) fn look(&mut self) {
        self.snapshot = self.running.snapshot();
        for attached in self.running.interfaces().values() {
            let about = format!("vpc {}", attached.vpc);
            self.interfaces.insert(attached.link.ifindex, (attached.link.name.clone(), about));
        }
    }

    /// Name and description of an interface.
    pub(super) fn interface(&mut self, ifindex: u32) -> (String, String) {
        if !self.interfaces.contains_key(&ifindex) {
            self.look();
        }
        let unknown = || (format!("interface {ifindex}"), String::new());
        self.interfaces.get(&ifindex).cloned().unwrap_or_else(unknown)
    }

    pub(super) fn endpoint(&self, subject: &Subject) -> Option<&str> {
        self.snapshot.endpoint(subject.endpoint).map(|endpoint| endpoint.id.as_str())
    }

    /// The client's vpc.
    pub(super) fn vpc(&self, subject: &Subject) -> Option<&str> {
        self.snapshot.vpc(subject.vpc).map(|vpc| vpc.id.as_str())
    }

    /// What pcapng says of a packet.
    pub(super) fn comment(&mut self, captured: &Captured) -> Comment {
        let subject = &captured.subject;
        let about = self.about(subject);
        let before = match (reason(captured), captured.egress, captured.action) {
            (Some(reason), 0, _) => format!("dropped: {}", reason.name()),
            (Some(reason), by, _) => {
                format!("{}: answered by {}", reason.name(), self.interface(by).0)
            }
            (None, 0, PASS) => "passed to the host".into(),
            (None, 0, _) => "dropped".into(),
            (None, by, _) => format!("redirected to {}", self.interface(by).0),
        };
        let after = match reason(captured) {
            Some(reason) => format!("answer to {}", reason.name()),
            None => format!("from {}", self.interface(captured.ingress).0),
        };
        Comment {
            before: format!("privatelink: {before}{about}"),
            after: format!("privatelink: {after}{about}"),
        }
    }

    fn about(&self, subject: &Subject) -> String {
        let mut about = String::new();
        if let Some(endpoint) = self.endpoint(subject) {
            about += &format!(", endpoint {endpoint}");
        }
        match (client(subject), target(subject)) {
            (Some(client), Some(target)) => about += &format!(", flow {client} to {target}"),
            (Some(client), None) => about += &format!(", client {client}"),
            (None, Some(target)) => about += &format!(", target {target}"),
            (None, None) => {}
        }
        about
    }
}

/// Why a packet is counted as dropped.
pub(super) fn reason(captured: &Captured) -> Option<DropReason> {
    DropReason::from_number(captured.reason)
}

pub(super) fn client(subject: &Subject) -> Option<SocketAddr> {
    socket(subject.client, subject.client_port)
}

pub(super) fn target(subject: &Subject) -> Option<SocketAddr> {
    socket(subject.target, subject.target_port)
}

fn socket(address: WideAddress, port: u16) -> Option<SocketAddr> {
    let is_known = address != Subject::UNKNOWN.client;
    is_known.then(|| SocketAddr::new(address.into(), u16::from_be(port)))
}
