//! A server that takes events: it notes every request, and answers as it is told.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::{Arc, Mutex};

use privatelink_tests::{Namespace, Server};
use serde_json::Value;

/// A request, and what it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// The lines of its head, in lower case.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
}

impl Posted {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    posted: Arc<Mutex<Vec<Posted>>>,
    _server: Server,
}

impl Receiver {
    /// Answers the first requests with `failures`, and all others with 204.
    pub(crate) fn start(namespace: &Namespace, address: SocketAddrV4, failures: &[u16]) -> Self {
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let (noted, failures) = (posted.clone(), failures.to_vec());
        let serve = move |stream: TcpStream, _| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while let Some((head, body)) = request(&mut reader)? {
                let mut noted = noted.lock().unwrap();
                let status = failures.get(noted.len()).copied().unwrap_or(204);
                noted.push(Posted { head, body, status });
                drop(noted);
                let length = if status == 204 { "" } else { "Content-Length: 0\r\n" };
                write!(&stream, "HTTP/1.1 {status} As told\r\n{length}\r\n")?;
            }
            Ok(())
        };
        let server = Server::start(namespace, address.into(), serve).unwrap();
        Self { posted, _server: server }
    }

    /// All requests so far.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    /// The events it took, in their order.
    pub(crate) fn taken(&self) -> Vec<Value> {
        let posted = self.posted();
        posted.iter().filter(|posted| posted.status == 204).map(Posted::event).collect()
    }
}

/// The next request of a connection; `None` if it is closed.
fn request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(Vec<String>, Vec<u8>)>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some((head, body)))
}
