//! HTTP targets (nginx) and a client (curl).

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::wait_until;

/// How long a server may take until it accepts connections.
const READY: Duration = Duration::from_secs(10);

/// An nginx that answers every request with one line: who it is, where it was reached and by whom.
///
/// Its answer is `web-1 10.0.1.10:8080 served 10.0.0.10:12345`, with IPv6 addresses in brackets. Files put into [`HttpTarget::files`] are served below `/files/`.
#[derive(Debug)]
pub struct HttpTarget {
    process: Process,
    name: String,
    address: SocketAddr,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

/// Starts an HTTP target inside a namespace and waits until it accepts connections.
///
/// # Errors
/// When nginx is missing, the address is not the namespace's, or the port is taken.
pub fn http_target(namespace: &Namespace, address: SocketAddr, name: &str) -> Result<HttpTarget> {
    let temporary = TempDir::new().context("cannot create a temporary folder")?;
    let mut target = HttpTarget::start(namespace, address, name, temporary.path())?;
    target._temporary = Some(temporary);
    Ok(target)
}

impl HttpTarget {
    /// Starts a target that keeps its files in `folder`, which must outlive it.
    pub(crate) fn start(
        namespace: &Namespace,
        address: SocketAddr,
        name: &str,
        folder: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(folder.join("files"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, nginx_configuration(address, name, folder))
            .with_context(|| format!("cannot write {}", configuration.display()))?;

        let mut command = namespace.command("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(&configuration).args(["-e", "stderr"]);
        let process = Process::spawn(name, &mut command, &folder.join("log"))?;
        let mut target = Self {
            process,
            name: name.to_owned(),
            address,
            folder: folder.to_owned(),
            _temporary: None,
        };
        let mut ended = false;
        let accepts = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        wait_until(READY, &format!("{name} accepts connections at {address}"), || {
            ended = !matches!(target.process.try_wait(), Ok(None));
            ended || namespace.enter(accepts).unwrap_or(false)
        })
        .with_context(|| target.process.last_words())?;
        anyhow::ensure!(!ended, "{name} ended at once: {}", target.process.last_words());
        Ok(target)
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder that it serves below `/files/`.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Ends it as a shutdown of its host would: SIGTERM, connections closed.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop(READY).map(drop)
    }

    /// The server's process, e.g. to freeze it by SIGSTOP.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// One process in the foreground, everything it writes inside `folder`.
fn nginx_configuration(address: SocketAddr, name: &str, folder: &Path) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|module| format!("    {module}_temp_path {}/{module};\n", folder.display()))
        .concat();
    let (server, client) = match address {
        SocketAddr::V4(_) => ("$server_addr", "$remote_addr"),
        SocketAddr::V6(_) => ("[$server_addr]", "[$remote_addr]"),
    };
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
{temporary}    access_log off;
    keepalive_requests 1000000;
    default_type text/plain;
    server {{
        listen {address} backlog=4096 reuseport;
        location /files/ {{ root {folder}; }}
        location / {{ return 200 \"{name} {server}:$server_port served {client}:$remote_port\\n\"; }}
    }}
}}
",
        folder = folder.display()
    )
}

/// Fetches `url` from inside a namespace by curl, on a connection of its own, within 5 seconds, and returns the body.
///
/// # Errors
/// When curl is missing or the request fails; the error is curl's own.
pub fn http_get(namespace: &Namespace, url: &str) -> Result<String> {
    namespace.run(&[
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "5",
        "--noproxy",
        "*",
        url,
    ])
}
