//! Targets that know what clients must say, and answer with as much of their own.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use privatelink_tests::{Namespace, Server, is_leased};

use crate::content::{Script, Side};
use crate::report::Failure;

/// A target; dropping it closes its port, and leaves its connections alone.
pub(crate) struct Target {
    _server: Server,
    complaints: Arc<Mutex<Vec<Failure>>>,
}

impl Target {
    /// Listens; clients are told `name`.
    pub(crate) fn start(provider: &Namespace, address: SocketAddrV4, name: u8) -> Result<Self> {
        let complaints: Arc<Mutex<Vec<Failure>>> = Arc::default();
        let heard = Arc::clone(&complaints);
        let server = Server::start(provider, address.into(), move |stream, peer| {
            let served = serve(stream, name);
            if let Err(error) = &served
                && is_leased(&peer)
            {
                let complaint = Failure::new(Some(name), &format!("client {peer}"), error);
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
            }
            served
        })?;
        Ok(Self { _server: server, complaints })
    }

    /// What was wrong with connections of clients.
    pub(crate) fn complaints(&self) -> Vec<Failure> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers every right frame with one of the target's own, until the client closes between two.
fn serve(mut stream: TcpStream, name: u8) -> io::Result<()> {
    let mut number = [0; 8];
    stream.read_exact(&mut number)?;
    stream.write_all(&[name])?;
    let number = u64::from_be_bytes(number);
    let (mut heard, mut said) =
        (Script::new(number, Side::Client), Script::new(number, Side::Target));
    while heard.receive(&mut stream)? {
        said.send(&mut stream)?;
    }
    Ok(())
}
