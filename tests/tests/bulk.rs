//! Large transfers in both directions: no byte lost or changed, and the counters are the truth. Needs root.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Flow, Lab, Namespace, Server, Topology, connect, wait_until,
};
use sha2::{Digest, Sha256};

const PAYLOAD: u64 = 256 << 20;
const BLOCK: usize = 1 << 20;
/// An Ethernet header, which interfaces may count and flows do not.
const ETHERNET: u64 = 14;

/// Sends the payload: random blocks, each with its number, so that none can stand for another. Returns its digest.
fn send(stream: &mut impl Write) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK];
    block.fill_with(rand::random);
    let mut digest = Sha256::new();
    for number in 0..PAYLOAD / BLOCK as u64 {
        block[..8].copy_from_slice(&number.to_be_bytes());
        digest.update(&block);
        stream.write_all(&block)?;
    }
    Ok(digest.finalize().to_vec())
}

/// Reads to the end. Returns how much, and its digest.
fn receive(stream: &mut impl Read) -> io::Result<(u64, Vec<u8>)> {
    let (mut length, mut digest, mut block) = (0, Sha256::new(), vec![0; BLOCK]);
    loop {
        match stream.read(&mut block)? {
            0 => return Ok((length, digest.finalize().to_vec())),
            count => {
                length += count as u64;
                digest.update(&block[..count]);
            }
        }
    }
}

/// Sends the payload on a connection's command "get"; takes it on "put" and answers with its length and digest.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut command = [0; 3];
    stream.read_exact(&mut command)?;
    if &command == b"get" {
        let digest = send(&mut stream)?;
        return stream.write_all(&digest);
    }
    let (length, digest) = receive(&mut stream)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&digest)
}

/// What the kernel counted on the client's interface: the witness beside the flow table.
#[derive(Clone, Copy, Debug)]
struct Interface {
    received: [u64; 2],
    sent: [u64; 2],
}

impl Interface {
    /// Packets, and bytes of them without Ethernet headers.
    fn read(namespace: &Namespace) -> Self {
        let table = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap();
        let table = table.unwrap();
        let line = table.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        let fields: Vec<u64> =
            line.split_ascii_whitespace().map(|field| field.parse().unwrap()).collect();
        // Bytes, then packets. A veth that gets redirected frames counts them whole; frames sent to the gateway's end are
        // counted there by NAPI, after eth_type_trans() took the header off (veth_xdp_rcv(), since Linux 5.3).
        let received = [fields[1], fields[0] - ETHERNET * fields[1]];
        Self { received, sent: [fields[9], fields[8]] }
    }

    fn since(self, before: Self) -> Self {
        let less = |now: [u64; 2], then: [u64; 2]| [now[0] - then[0], now[1] - then[1]];
        Self { received: less(self.received, before.received), sent: less(self.sent, before.sent) }
    }
}

/// A lab in which the client's interface carries nothing but the one connection.
fn quiet_lab() -> (Lab, [Server; 2], Daemon) {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let targets = ["10.0.1.10:8080", "10.0.1.11:8081"].map(|address| {
        let provider = lab.network("provider").unwrap();
        Server::start(provider, address.parse().unwrap(), |stream, _| serve(stream)).unwrap()
    });
    // By XDP each packet on the wire is one that is counted.
    let config = lab.example_attached("overlap.toml", "xdp").unwrap();
    let daemon = Daemon::start(&lab, &config, &[]).unwrap();

    let client = lab.network("consumer-a").unwrap();
    client.sysctl("ipv6/conf/all/disable_ipv6", "1").unwrap();
    lab.send_by_gateway("consumer-a", *ENDPOINT.ip()).unwrap();
    (lab, targets, daemon)
}

/// Compares the one flow with what the client's interface counted, once the last packet is through.
fn compare(lab: &Lab, daemon: &Daemon, before: Interface) -> Flow {
    let client = lab.network("consumer-a").unwrap();
    let mut last = None;
    let agree = || {
        let flows = daemon.flows(&[]).unwrap();
        let counted = Interface::read(client).since(before);
        assert_eq!(flows.len(), 1, "{flows:?}");
        let flow = flows[0].clone();
        // The flow counts what it hands to the client's interface, also the frames for which there is no room in its
        // queue; TCP sends those again.
        let lost = daemon.drops("pl-consumer-a", "RedirectFailed").unwrap();
        let lost_packets = flow.packets_to_client.checked_sub(counted.received[0]);
        let lost_bytes = flow.bytes_to_client.checked_sub(counted.received[1]);
        let agree = flow.state == "time_wait"
            && [flow.packets_to_target, flow.bytes_to_target] == counted.sent
            && lost_packets.is_some_and(|packets| packets <= lost)
            && lost_bytes.is_some_and(|bytes| bytes <= lost * 1500)
            && (lost_packets == Some(0)) == (lost_bytes == Some(0));
        last = Some((flow, counted, lost));
        agree
    };
    let result =
        wait_until(Duration::from_secs(9), "flow and interface have counted the same", agree);
    let last = last.unwrap();
    if let Err(error) = result {
        panic!("{error}: (flow, interface, packets its queue had no room for) {last:?}");
    }
    last.0
}

#[test]
fn a_download_arrives_whole_and_is_counted() {
    let (lab, _targets, daemon) = quiet_lab();
    let client = lab.network("consumer-a").unwrap();
    let before = Interface::read(client);
    let mut stream = connect(client, None, ENDPOINT).unwrap();
    stream.write_all(b"get").unwrap();
    let (length, digest) = receive(&mut (&mut stream).take(PAYLOAD)).unwrap();
    let mut announced = Vec::new();
    stream.read_to_end(&mut announced).unwrap();
    drop(stream);
    assert_eq!(length, PAYLOAD);
    assert_eq!(digest, announced, "what arrived is not what was sent");

    let flow = compare(&lab, &daemon, before);
    let headers = 40 * flow.packets_to_client;
    assert!(flow.bytes_to_client >= PAYLOAD + headers, "{flow:?}");
    assert!(flow.bytes_to_target >= 40 * flow.packets_to_target, "{flow:?}");
}

#[test]
fn an_upload_arrives_whole_and_is_counted() {
    let (lab, _targets, daemon) = quiet_lab();
    let client = lab.network("consumer-a").unwrap();
    let before = Interface::read(client);
    let mut stream = connect(client, None, ENDPOINT).unwrap();
    stream.write_all(b"put").unwrap();
    let sent = send(&mut stream).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    drop(stream);
    let (length, digest) = answer.split_at(8);
    assert_eq!(length, PAYLOAD.to_be_bytes());
    assert_eq!(digest, sent, "what arrived is not what was sent");

    let flow = compare(&lab, &daemon, before);
    assert!(flow.bytes_to_target >= PAYLOAD + 40 * flow.packets_to_target, "{flow:?}");
}
