//! What a packet of an established flow costs, beside a program that only sends the frame back.
//!
//! BPF_PROG_TEST_RUN runs the program again and again on one buffer, so each run meets the frame as the
//! last one left it. Therefore two flow entries are each other's inverse: one rewrites frame P to Q, the
//! other Q back to P, and both next hops are the interface's own MAC address. Each run takes the whole
//! path of an established flow. Only the TTL runs down: it bounds a call to 250 runs. A call's own cost
//! (some 20 µs of setting up, and cold caches) is taken out by two lengths of call: what the longer one
//! takes more, per run more. Floor and path are measured in turn, so both see the same minutes. Calls this short
//! run colder than a busy gateway: with a million runs in a call the floor is a quarter of what it is here, so
//! only the difference between the two lines says something about the path.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use privatelink_common::checksum::Delta;
use privatelink_common::memory::Shared;
use privatelink_common::records::{
    FlowHalf, FlowKey, Interface, Mac, NextHop, Target, interface_slots,
};
use privatelink_tests::{Namespace, veth};
use privatelink_userspace::contents::network_order;
use privatelink_userspace::datapath::{Attachment, Datapath, Links, Verdict};
use privatelink_userspace::model::AttachMode;

/// Runs in a short and in a long call: the TTL of 255 must not reach 1.
const RUNS: [u32; 2] = [50, 250];
/// Calls of each program in a round: few, since the kernel takes milliseconds to set one up.
const CALLS: usize = 40;
/// Rounds; minimum, median and maximum over them are printed.
const ROUNDS: usize = 9;

const P: [(Ipv4Addr, u16); 2] =
    [(Ipv4Addr::new(10, 0, 2, 20), 40_000), (Ipv4Addr::new(10, 0, 1, 10), 80)];
const Q: [(Ipv4Addr, u16); 2] =
    [(Ipv4Addr::new(10, 0, 0, 10), 20_000), (Ipv4Addr::new(10, 0, 1, 11), 8080)];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VPC: u16 = 1;

fn main() -> Result<()> {
    let gateway = Namespace::new("cost")?;
    let far = Namespace::new("far")?;
    veth(&gateway, "pl-cost", &far, "pl-cost")?;
    gateway.enter(measure)?
}

fn measure() -> Result<()> {
    let ifindex = nix::net::if_::if_nametoindex("pl-cost")?;
    let slot = interface_slots(ifindex).next().context("an interface has a slot")?;
    let mac = Mac::from_bytes(MAC);
    let mut datapath = Datapath::load(1)?;
    datapath.set_interface(slot, &Interface { ifindex, mtu: 1500, mac, vpc: VPC })?;
    let next_hop = Shared::new(NextHop::new(mac, slot as u16).word());
    datapath.set_target(0, &Target { next_hop, ..Target::default() })?;
    let pins = PathBuf::from(format!("/sys/fs/bpf/privatelink-{:08x}", rand::random::<u32>()));
    let mut links = Links::open(&pins)?;
    let to = Attachment {
        interface: "pl-cost".into(),
        ifindex,
        mode: AttachMode::Native,
        present: None,
    };
    links.attach(&mut datapath, &to)?;
    let mut flows = datapath.take_flow_table()?;

    println!("verified instructions: {}", datapath.verified_instructions()?.unwrap_or_default());
    println!("nanoseconds per packet, minimum / median / maximum of {ROUNDS} rounds");
    for (name, direction) in [("forward", FlowHalf::FORWARD), ("reverse", FlowHalf::REVERSE)] {
        for (from, into) in [(P, Q), (Q, P)] {
            let (key, half) = entry(from, into, direction, NextHop::new(mac, slot as u16));
            flows.insert(&key, &half)?;
        }
        let mut floor = Vec::new();
        let mut path = Vec::new();
        for _ in 0..ROUNDS {
            let (mut floors, mut paths) = ([0.0; 2], [0.0; 2]);
            for _ in 0..CALLS {
                for (length, runs) in RUNS.into_iter().enumerate() {
                    let run = datapath.test_run_floor(&frame(), runs)?;
                    floors[length] += (run.nanoseconds * u64::from(runs)) as f64;
                    let run = datapath.test_run(&frame(), ifindex, runs)?;
                    ensure!(run.verdict == Verdict::Redirect, "no flow: {:?}", run.verdict);
                    paths[length] += (run.nanoseconds * u64::from(runs)) as f64;
                }
            }
            floor.push(per_run(floors));
            path.push(per_run(paths));
        }
        println!("  XDP_TX and nothing else  {}", spread(&mut floor));
        println!("  established, {name}     {}", spread(&mut path));
    }
    Ok(())
}

/// Nanoseconds of one run, from all short and all long calls.
fn per_run([short, long]: [f64; 2]) -> f64 {
    (long - short) / (CALLS as f64 * f64::from(RUNS[1] - RUNS[0]))
}

fn spread(rounds: &mut [f64]) -> String {
    rounds.sort_by(f64::total_cmp);
    format!(
        "{:6.1} / {:6.1} / {:6.1}",
        rounds[0],
        rounds[rounds.len() / 2],
        rounds[rounds.len() - 1]
    )
}

/// The entry that rewrites a segment between `from` into one between `into`.
fn entry(
    from: [(Ipv4Addr, u16); 2],
    into: [(Ipv4Addr, u16); 2],
    direction: u16,
    hop: NextHop,
) -> (FlowKey, FlowHalf) {
    let [(source, source_port), (destination, destination_port)] =
        from.map(|(address, port)| (network_order(address), port.to_be()));
    let key = FlowKey {
        source,
        destination,
        source_port,
        destination_port,
        vpc: VPC,
        protocol: 6,
        padding: 0,
    };
    let [(source, source_port), (destination, destination_port)] =
        into.map(|(address, port)| (network_order(address), port.to_be()));
    let addresses =
        Delta::default().replace32(key.source, source).replace32(key.destination, destination);
    let ports = addresses
        .replace16(key.source_port, source_port)
        .replace16(key.destination_port, destination_port);
    let half = FlowHalf {
        source,
        destination,
        source_port,
        destination_port,
        ip_delta: addresses.fold(),
        tcp_delta: ports.fold(),
        target: 0,
        endpoint: 0,
        service: 0,
        peer_vpc: VPC,
        direction,
        created: Shared::new(0),
        client: Shared::new(hop.word()),
        client_tags: Shared::new(0),
        packets: Shared::new(0),
        bytes: Shared::new(0),
        last_seen: Shared::new(0),
        flags: Shared::new(0),
    };
    (key, half)
}

/// A segment of 60 bytes with the longest life.
fn frame() -> Vec<u8> {
    let [(source, source_port), (destination, destination_port)] = P;
    let mut frame = [MAC, MAC].concat();
    frame.extend_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 255, 6, 0, 0]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&destination.octets());
    frame.extend_from_slice(&source_port.to_be_bytes());
    frame.extend_from_slice(&destination_port.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}
