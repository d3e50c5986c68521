//! One connection of a client that checks every byte it gets.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use privatelink_tests::{ENDPOINT, Namespace, connect};

use crate::content::{Script, Side};

pub(crate) struct Client {
    stream: TcpStream,
    said: Script,
    heard: Script,
    target: u8,
}

impl Client {
    /// Connects to the endpoint as the stream with this number.
    pub(crate) fn open(consumer: &Namespace, number: u64) -> io::Result<Self> {
        let mut stream = connect(consumer, None, ENDPOINT)?;
        stream.write_all(&number.to_be_bytes())?;
        let mut target = [0];
        stream.read_exact(&mut target)?;
        Ok(Self {
            stream,
            said: Script::new(number, Side::Client),
            heard: Script::new(number, Side::Target),
            target: target[0],
        })
    }

    /// Which target answers.
    pub(crate) fn target(&self) -> u8 {
        self.target
    }

    /// Sends a frame, and takes one.
    pub(crate) fn round(&mut self) -> io::Result<()> {
        self.said.send(&mut self.stream)?;
        if self.heard.receive(&mut self.stream)? {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the target has closed"))
        }
    }

    /// Closes in order: the target has nothing more to say.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest)? {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "more arrives than was sent")),
        }
    }
}
