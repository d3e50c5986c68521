//! The record of who changed what: one JSON object per line in a file, and a line in the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use humantime_serde::re::humantime::format_rfc3339_millis;
use serde::Serialize;
use serde_json::Value;

use crate::api::{ErrorBody, ErrorCode};
use crate::control::Peer;

/// Target of its lines in the log.
const TARGET: &str = "audit";

/// A change, or one that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When it was over, by RFC 3339.
    pub time: String,
    /// Who asked for it.
    #[serde(flatten)]
    pub peer: Peer,
    /// Method and path, or `SIGHUP`.
    pub request: String,
    /// What was sent, if it was JSON.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub body: Value,
    /// `done`, `dry run` or `refused`.
    pub result: &'static str,
    /// Flows that it ended, or with `dry run` would have ended.
    pub flows_cut: u64,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// Why it was refused, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Entry {
    /// A request that is not carried out yet.
    pub fn new(peer: Peer, request: impl Into<String>) -> Self {
        Self {
            time: String::new(),
            peer,
            request: request.into(),
            body: Value::Null,
            result: "",
            flows_cut: 0,
            code: None,
            error: None,
        }
    }

    /// With what was sent.
    pub fn body(self, body: Option<&[u8]>) -> Self {
        let body = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
        Self { body, ..self }
    }

    /// It is carried out.
    pub fn done(self, flows_cut: u64, dry_run: bool) -> Self {
        let result = if dry_run { "dry run" } else { "done" };
        Self { result, flows_cut, time: now(), ..self }
    }

    /// It is refused.
    pub fn refused(self, why: &ErrorBody) -> Self {
        let (code, error) = (Some(why.code), Some(why.error.clone()));
        Self { result: "refused", code, error, time: now(), ..self }
    }
}

fn now() -> String {
    format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}

/// The record.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: File,
}

impl Audit {
    /// Opens the record, to add to it.
    ///
    /// # Errors
    ///
    /// It can be neither opened nor created.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds an entry.
    pub fn record(&self, entry: &Entry) {
        let line = match serde_json::to_string(entry) {
            Ok(line) => line,
            Err(error) => return log::error!("a change cannot be put on record: {error}"),
        };
        // One write of a file opened to append: lines of several threads do not mix.
        if let Err(error) = (&self.file).write_all(format!("{line}\n").as_bytes()) {
            log::error!("a change is missing in {} ({error}): {line}", self.path.display());
        }
        log::info!(target: TARGET, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_entry() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let peer = Peer { uid: Some(0), gid: Some(7), pid: Some(12) };
        let order = Entry::new(peer, "POST /v1/services/vpce-svc-a/reject");
        let error = ErrorBody::new(ErrorCode::InvalidState, "two\nlines");
        for _ in 0..2 {
            let audit = Audit::open(&path).unwrap();
            let order = order.clone().body(Some(br#"{"endpoints":["vpce-a"]}"#));
            audit.record(&Entry { time: "t".into(), ..order.done(3, false) });
            let reload = Entry::new(Peer::default(), "SIGHUP").refused(&error);
            audit.record(&Entry { time: "t".into(), ..reload });
        }
        let expected = concat!(
            r#"{"time":"t","uid":0,"gid":7,"pid":12,"request":"POST /v1/services/vpce-svc-a/reject","body":{"endpoints":["vpce-a"]},"result":"done","flows_cut":3}"#,
            "\n",
            r#"{"time":"t","request":"SIGHUP","result":"refused","flows_cut":0,"code":"InvalidState","error":"two\nlines"}"#,
            "\n",
        );
        let found = std::fs::read_to_string(&path).unwrap();
        assert_eq!(found, expected.repeat(2));
    }
}
