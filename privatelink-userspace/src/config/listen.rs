//! Where metrics are read, and where the web page is served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::document::Text;
use super::error::Report;
use super::file::File;

/// Where the web page is served unless told otherwise.
const WEB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9481);

/// The address for metrics, if there is to be one.
pub(super) fn metrics(file: &File<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let written = file.metrics.as_ref()?.listen.as_ref()?;
    address(written, "write it as in \"127.0.0.1:9480\" or \"[::1]:9480\"", report)
}

/// The address for the web page, if there is to be one. That of metrics is another.
pub(super) fn web(file: &File<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let table = file.web.as_ref()?;
    let address = match &table.listen {
        Some(written) => {
            address(written, "write it as in \"127.0.0.1:9481\" or \"[::1]:9481\"", report)?
        }
        None => WEB,
    };
    let metrics = file.metrics.as_ref().and_then(|metrics| metrics.listen.as_ref());
    if let Some(metrics) = metrics
        && metrics.get_ref().parse() == Ok(address)
    {
        let cause = format!("{address} is where the web page is served");
        report.add(metrics.span(), cause, "give [metrics] or [web] another port");
    }
    Some(address)
}

fn address(
    written: &Text<'_>,
    remedy: &'static str,
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    match written.get_ref().parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address),
        _ => {
            report.add(written.span(), "not an address with a port", remedy);
            None
        }
    }
}
