//! What is written of flows, and where.

use std::path::PathBuf;
use std::time::Duration;

use crate::flow_logs::Field;

/// Records of the traffic of flows, interval by interval, and of what was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLogs {
    /// Where they go.
    pub to: Destination,
    /// Which of them there are.
    pub traffic: TrafficType,
    /// The longest time that one record tells of.
    pub interval: Duration,
    /// What each record says, in this order.
    pub fields: Vec<Field>,
}

/// A line for each connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where they go.
    pub to: Destination,
}

/// Where lines go, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The file; standard output if there is none.
    pub file: Option<LogFile>,
    /// The form of the lines.
    pub form: LogForm,
}

/// A file that is replaced by a new one from time to time; the old ones are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The one that is written.
    pub path: PathBuf,
    /// Bytes after which it is replaced.
    pub most_bytes: u64,
    /// Time after which it is replaced.
    pub longest: Duration,
    /// How many replaced ones are kept.
    pub keep: usize,
}

/// The form of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// Values with a space between.
    Text,
    /// A JSON object in each line.
    Json,
}

/// Which records there are, by AWS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficType {
    /// Of what was carried.
    Accept,
    /// Of what was refused.
    Reject,
    /// Of both.
    All,
}

impl TrafficType {
    /// Whether there are records of what was carried.
    pub const fn has_accepted(self) -> bool {
        matches!(self, Self::Accept | Self::All)
    }

    /// Whether there are records of what was refused.
    pub const fn has_rejected(self) -> bool {
        matches!(self, Self::Reject | Self::All)
    }
}
