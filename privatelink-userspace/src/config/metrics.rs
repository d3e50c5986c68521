//! Where metrics are read.

use std::net::SocketAddr;

use super::error::Report;
use super::file::File;

/// The address for metrics, if there is to be one.
pub(super) fn listen(file: &File<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let written = file.metrics.as_ref()?.listen.as_ref()?;
    match written.get_ref().parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address),
        _ => {
            let cause = "not an address with a port";
            report.add(
                written.span(),
                cause,
                "write it as in \"127.0.0.1:9480\" or \"[::1]:9480\"",
            );
            None
        }
    }
}
