//! 256 MiB of datagrams each way at once: a block is sent again until it is answered by its counterpart.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use privatelink_tests::{Family, Namespace, UdpServer, udp_socket_of};

/// Bytes of a block: a datagram that an Ethernet frame has room for in either family.
const BLOCK: usize = 1400;
/// Blocks that come to 256 MiB at least.
pub(crate) const COUNT: u64 = (256_u64 << 20).div_ceil(BLOCK as u64);
/// As many are under way.
const WINDOW: u64 = 32;
/// When those are sent again, and how often in a row they may be.
const AGAIN: Duration = Duration::from_millis(200);
const OFTEN: u32 = 100;

/// What one side sends: random bytes, with a block's number in front of each, so that none can stand for another.
pub(crate) struct Blocks {
    block: Vec<u8>,
}

impl Blocks {
    fn new() -> Self {
        let mut block = vec![0; BLOCK];
        block.fill_with(rand::random);
        Self { block }
    }

    fn number(&mut self, number: u64) -> &[u8] {
        self.block[..8].copy_from_slice(&number.to_be_bytes());
        &self.block
    }

    /// The digest of all blocks.
    pub(crate) fn digest(&mut self) -> Vec<u8> {
        let mut digest = Sha256::new();
        (0..COUNT).for_each(|number| digest.update(self.number(number)));
        digest.finalize().to_vec()
    }
}

/// What one side has got: all blocks before the next one.
#[derive(Default)]
pub(crate) struct Got {
    next: u64,
    digest: Sha256,
}

impl Got {
    /// Takes a block that is the next one. Whether it is that or was there already.
    fn take(&mut self, block: &[u8]) -> bool {
        let number = number_of(block);
        if number == self.next {
            self.digest.update(block);
            self.next += 1;
        }
        number < self.next
    }

    /// The digest of all blocks, which must be there.
    pub(crate) fn digest(&self) -> Vec<u8> {
        assert_eq!(self.next, COUNT);
        self.digest.clone().finalize().to_vec()
    }
}

fn number_of(block: &[u8]) -> u64 {
    assert_eq!(block.len(), BLOCK);
    block[..8].try_into().map(u64::from_be_bytes).unwrap()
}

/// A server that answers each block, in their order, with its own of the same number.
pub(crate) struct Target {
    pub(crate) server: UdpServer,
    pub(crate) got: Arc<Mutex<Got>>,
    pub(crate) sent: Blocks,
}

impl Target {
    pub(crate) fn start(namespace: &Namespace, address: SocketAddr) -> Self {
        let got: Arc<Mutex<Got>> = Arc::default();
        let sent = Blocks::new();
        let (taken, mut blocks) = (Arc::clone(&got), Blocks { block: sent.block.clone() });
        let answer = move |block: &[u8]| {
            let next = taken.lock().unwrap().take(block);
            next.then(|| blocks.number(number_of(block)).to_vec())
        };
        let server = UdpServer::start(namespace, address, answer).unwrap();
        Self { server, got, sent }
    }
}

/// Sends all blocks and takes those of the target.
pub(crate) fn exchange(namespace: &Namespace, family: Family, to: SocketAddr) -> (Blocks, Got) {
    let socket = udp_socket_of(namespace, family).unwrap();
    socket.set_read_timeout(Some(AGAIN)).unwrap();
    let (mut blocks, mut got, mut sent, mut vain) = (Blocks::new(), Got::default(), 0, 0);
    while got.next < COUNT {
        while sent < COUNT.min(got.next + WINDOW) {
            socket.send_to(blocks.number(sent), to).unwrap();
            sent += 1;
        }
        if answered(&socket, to, &mut got) {
            vain = 0;
        } else {
            vain += 1;
            assert!(vain < OFTEN, "block {} has no answer", got.next);
            sent = got.next;
        }
    }
    (blocks, got)
}

/// Takes an answer. Whether there was one in time.
fn answered(socket: &UdpSocket, to: SocketAddr, got: &mut Got) -> bool {
    let mut block = [0; BLOCK + 1];
    match socket.recv_from(&mut block) {
        Ok((length, from)) => {
            assert_eq!(from, to, "who has answered");
            got.take(&block[..length]);
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}
