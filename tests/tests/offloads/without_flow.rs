//! Connections whose flows have ended unknown to either end: the next segment is answered by a RST.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use privatelink_tests::{DualStack, MIXES, connect};

/// The daemon sweeps every second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A change by which flows end after a second of silence.
pub(crate) const SHORT: (&str, &str) =
    ("acceptance_required = false", "acceptance_required = false\ntimeouts = { idle = \"1s\" }");

/// Opens a connection from each family to each, and speaks when its flow is gone. The site has [`SHORT`].
pub(crate) fn are_reset(site: &DualStack) {
    let streams = MIXES
        .map(|(client, target)| connect(site.consumer(), None, client.endpoint(target)).unwrap());
    let froms = streams.each_ref().map(|stream| stream.local_addr().unwrap().to_string());
    let gone = |rows: &serde_json::Value| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.all(|row| !froms.iter().any(|from| row["client"] == **from))
    };
    site.daemon.wait_cli(PATIENCE, "the flows are gone", &["flows", "-o", "json"], gone).unwrap();
    for (mut stream, mix) in streams.into_iter().zip(MIXES) {
        stream.write_all(b"is anybody there?").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{mix:?}: {error}");
    }
}
