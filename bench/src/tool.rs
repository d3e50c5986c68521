//! Programs that rows need and that need not be there.

use std::path::PathBuf;

/// A program of another package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// nftables' command.
    Nft,
    /// The proxy.
    Haproxy,
    /// The HTTP server.
    Nginx,
    /// The HTTP client.
    Wrk,
    /// The latency meter.
    Sockperf,
    /// What carries bulk data.
    Iperf3,
}

impl Tool {
    /// Its name.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Wrk => "wrk",
            Self::Sockperf => "sockperf",
            Self::Iperf3 => "iperf3",
        }
    }

    /// Why it cannot be used, with the remedy; `None` where it is installed.
    pub(crate) fn missing(self) -> Option<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        let found =
            folders.map(|folder| folder.join(self.program())).any(|path: PathBuf| path.is_file());
        let program = self.program();
        (!found).then(|| format!("{program} is not installed: run `cargo xtask setup --for bench`"))
    }
}
