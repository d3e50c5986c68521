//! The packet sockets, and who of the checks hears what.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use privatelink_common::lease::{FIRST_CHECK_PORT, FIRST_PORT};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::failure::{Failure, InterfaceFailed};
use super::packet_socket::PacketSocket;

/// Packets that wait for one check, at most; its TCP has what is lost sent again.
const BACKLOG: usize = 32;
/// Ports tried for one check.
const TRIES: usize = 1024;

/// The wires of the interfaces in use.
#[derive(Debug, Default)]
pub(super) struct Wires(Mutex<HashMap<u32, Arc<Wire>>>);

impl Wires {
    /// The wire of an interface; a new one if there is none, or if it has failed.
    pub(super) fn get(&self, ifindex: u32) -> Result<Arc<Wire>, InterfaceFailed> {
        let mut wires = lock(&self.0);
        if let Some(wire) = wires.get(&ifindex)
            && lock(&wire.ears).is_ok()
        {
            return Ok(Arc::clone(wire));
        }
        let wire = Arc::new(Wire::open(ifindex)?);
        wires.insert(ifindex, Arc::clone(&wire));
        Ok(wire)
    }

    /// Closes the wires of all other interfaces, once their checks have ended.
    pub(super) fn keep(&self, ifindexes: &BTreeSet<u32>) {
        lock(&self.0).retain(|ifindex, _| ifindexes.contains(ifindex));
    }
}

/// Who hears what comes to which address and port; why nobody hears anything any more.
type Ears = Mutex<Result<HashMap<SocketAddrV4, mpsc::Sender<Vec<u8>>>, InterfaceFailed>>;

/// An interface as health checks use it.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<PacketSocket>,
    ears: Arc<Ears>,
    hearing: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

impl Wire {
    fn open(ifindex: u32) -> Result<Self, InterfaceFailed> {
        let socket = PacketSocket::open(ifindex).map_err(|error| InterfaceFailed::from(&error))?;
        let (socket, ears) = (Arc::new(socket), Arc::new(Mutex::new(Ok(HashMap::new()))));
        let hearing = tokio::spawn(hear(Arc::clone(&socket), Arc::clone(&ears)));
        Ok(Self { socket, ears, hearing })
    }

    /// Sends a packet to a MAC address.
    pub(super) fn send(&self, packet: &[u8], to: [u8; 6]) -> Result<(), InterfaceFailed> {
        self.socket.send(packet, to).map_err(|error| InterfaceFailed::from(&error))
    }

    /// Takes a port of this address that no other check has now. It is random, so that a target in TIME_WAIT
    /// seldom meets its last connection's ports again.
    pub(super) fn listen(self: &Arc<Self>, address: Ipv4Addr) -> Result<Ear, Failure> {
        let mut ears = lock(&self.ears);
        let ears = ears.as_mut().map_err(|failed| Failure::internal(failed.to_string()))?;
        for _ in 0..TRIES {
            let port = rand::random_range(FIRST_CHECK_PORT..FIRST_PORT);
            let local = SocketAddrV4::new(address, port);
            if let Entry::Vacant(free) = ears.entry(local) {
                let (sender, packets) = mpsc::channel(BACKLOG);
                free.insert(sender);
                return Ok(Ear { wire: Arc::clone(self), local, packets });
            }
        }
        Err(Failure::internal(format!("no port of {address} is free for one more health check")))
    }
}

/// A port that is taken, and what comes to it.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) wire: Arc<Wire>,
    pub(super) local: SocketAddrV4,
    packets: mpsc::Receiver<Vec<u8>>,
}

impl Ear {
    /// The next IPv4 packet; an error when no more will come.
    pub(super) fn poll_packet(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Vec<u8>, InterfaceFailed>> {
        self.packets.poll_recv(context).map(|packet| match (packet, &*lock(&self.wire.ears)) {
            (Some(packet), _) => Ok(packet),
            (None, Err(failed)) => Err(failed.clone()),
            (None, Ok(_)) => unreachable!("an ear is there until it is dropped"),
        })
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Ok(ears) = lock(&self.wire.ears).as_mut() {
            ears.remove(&self.local);
        }
    }
}

/// Hands what comes to whom it is for, until the interface fails.
async fn hear(socket: Arc<PacketSocket>, ears: Arc<Ears>) {
    // The kernel may join segments (GRO) up to this size.
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let packet = match socket.receive(&mut buffer).await {
            Ok(length) => &buffer[..length],
            Err(error) => {
                *lock(&ears) = Err(InterfaceFailed::from(&error));
                return;
            }
        };
        if let Some(to) = destination(packet)
            && let Ok(ears) = &*lock(&ears)
            && let Some(ear) = ears.get(&to)
        {
            let _ = ear.try_send(packet.to_vec());
        }
    }
}

/// Destination of a TCP segment, as far as it is one.
fn destination(packet: &[u8]) -> Option<SocketAddrV4> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let port: [u8; 2] = packet.get(header + 2..header + 4)?.try_into().ok()?;
    Some(SocketAddrV4::new(address.into(), u16::from_be_bytes(port)))
}

/// No panic leaves what these locks guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
