//! The packet sockets, and who of the checks hears what.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
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

/// An interface, by index, and the EtherType (host order) of the version of IP that is spoken there.
pub(super) type Place = (u32, u16);

/// The wires of the places in use.
#[derive(Debug, Default)]
pub(super) struct Wires(Mutex<HashMap<Place, Arc<Wire>>>);

impl Wires {
    /// The wire of a place; a new one if there is none, or if it has failed.
    pub(super) fn get(&self, place: Place) -> Result<Arc<Wire>, InterfaceFailed> {
        let mut wires = lock(&self.0);
        if let Some(wire) = wires.get(&place)
            && lock(&wire.ears).is_ok()
        {
            return Ok(Arc::clone(wire));
        }
        let wire = Arc::new(Wire::open(place)?);
        wires.insert(place, Arc::clone(&wire));
        Ok(wire)
    }

    /// Closes the wires of all other places, once their checks have ended.
    pub(super) fn keep(&self, places: &BTreeSet<Place>) {
        lock(&self.0).retain(|place, _| places.contains(place));
    }
}

/// Who hears what comes to which address and port; why nobody hears anything any more.
type Ears = Mutex<Result<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>, InterfaceFailed>>;

/// A place as health checks use it.
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
    fn open((ifindex, ether_type): Place) -> Result<Self, InterfaceFailed> {
        let socket = PacketSocket::open(ifindex, ether_type)
            .map_err(|error| InterfaceFailed::from(&error))?;
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
    pub(super) fn listen(self: &Arc<Self>, address: IpAddr) -> Result<Ear, Failure> {
        let mut ears = lock(&self.ears);
        let ears = ears.as_mut().map_err(|failed| Failure::internal(failed.to_string()))?;
        for _ in 0..TRIES {
            let port = rand::random_range(FIRST_CHECK_PORT..FIRST_PORT);
            let local = SocketAddr::new(address, port);
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
    pub(super) local: SocketAddr,
    packets: mpsc::Receiver<Vec<u8>>,
}

impl Ear {
    /// The next IP packet; an error when no more will come.
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
fn destination(packet: &[u8]) -> Option<SocketAddr> {
    let first = *packet.first()?;
    let (address, header): (IpAddr, usize) = match first >> 4 {
        4 => {
            (packet.get(16..20)?.first_chunk::<4>().copied()?.into(), usize::from(first & 0x0f) * 4)
        }
        6 => (packet.get(24..40)?.first_chunk::<16>().copied()?.into(), 40),
        _ => return None,
    };
    let port = packet.get(header + 2..)?.first_chunk().copied()?;
    Some(SocketAddr::new(address, u16::from_be_bytes(port)))
}

/// No panic leaves what these locks guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_of_segments() {
        let ipv4 = |words: u8| {
            let mut packet = vec![0; usize::from(words) * 4 + 4];
            packet[0] = 0x40 | words;
            packet[16..20].copy_from_slice(&[10, 9, 0, 100]);
            packet.splice(usize::from(words) * 4.., [0, 80, 4, 1]);
            packet
        };
        let mut ipv6 = vec![0; 44];
        ipv6[0] = 0x60;
        ipv6[24..40].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        ipv6[40..].copy_from_slice(&[0, 80, 4, 1]);
        for (packet, text) in [
            (ipv4(5), "10.9.0.100:1025"),
            (ipv4(15), "10.9.0.100:1025"),
            (ipv6, "[2001:db8:9::100]:1025"),
        ] {
            assert_eq!(destination(&packet), Some(text.parse().expect("an address and port")));
            for length in 0..packet.len() {
                assert_eq!(destination(&packet[..length]), None, "{text}, cut to {length} bytes");
            }
        }
        assert_eq!(destination(&[0x50; 64]), None);
    }
}
