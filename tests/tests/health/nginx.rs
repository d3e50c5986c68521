//! An nginx that is particular about what it is asked.

use privatelink_tests::{Namespace, Process, wait_until};
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::site::{BALANCER6, HOST, HOST6};

/// Where it speaks HTTP, and HTTPS with a certificate that it has signed itself.
pub(crate) const HTTP: u16 = 8080;
pub(crate) const HTTPS: u16 = 8443;

pub(crate) struct Nginx {
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        make_certificate(path);
        std::fs::write(path.join("nginx.conf"), configuration(path)).unwrap();
        let mut command = namespace.command("nginx");
        command.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf")).args(["-e", "stderr"]);
        let process = Process::spawn("nginx", &mut command, &path.join("log")).unwrap();
        for port in [HTTP, HTTPS] {
            let accepts = || std::net::TcpStream::connect(SocketAddrV4::new(HOST, port)).is_ok();
            let ready = || namespace.enter(accepts).unwrap();
            wait_until(Duration::from_secs(10), "nginx accepts connections", ready).unwrap();
        }
        Self { _process: process, _folder: folder }
    }
}

fn make_certificate(folder: &Path) {
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-days", "2", "-subj", "/CN=web.example.com"])
        .args(["-addext", "subjectAltName=DNS:web.example.com"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("certificate.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|module| format!("{module}_temp_path {folder}/{module};\n"))
        .concat();
    format!(
        r#"
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{}}
http {{
    {temporary}
    access_log off;
    server {{
        listen {HTTP};
        listen {HTTPS} ssl;
        listen [::]:{HTTP};
        listen [::]:{HTTPS} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{ return 200; }}
        location /status/503 {{ return 503; }}
        location /status/302 {{ return 302 /elsewhere; }}
        location /agent {{ if ($http_user_agent != "privatelink-health-check") {{ return 400; }} return 200; }}
        location /address {{ if ($http_host != "{HOST}:{HTTP}") {{ return 400; }} return 200; }}
        location /address6 {{ if ($http_host != "[{HOST6}]:{HTTP}") {{ return 400; }} return 200; }}
        location /source6 {{ if ($remote_addr != "{BALANCER6}") {{ return 400; }} return 200; }}
        location /host {{ if ($http_host != "www.example.com") {{ return 400; }} return 200; }}
        location /sni {{ if ($ssl_server_name != "web.example.com") {{ return 400; }} return 200; }}
        location /no-sni {{ if ($ssl_server_name != "") {{ return 400; }} return 200; }}
        location /close {{ if ($http_connection != "close") {{ return 400; }} return 200; }}
    }}
}}
"#
    )
}
