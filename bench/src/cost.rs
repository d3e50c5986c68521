//! What a packet of an established flow costs on one CPU, by BPF_PROG_TEST_RUN, with all flows hit at random.
//!
//! A driver program writes the frame of the next flow and tail-calls the program under test, a million times in one
//! call; the order of the flows is shuffled after they were opened. What the driver and the harness cost is measured by
//! driving a program that does nothing, and subtracted.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use privatelink_common::checksum::Delta;
use privatelink_common::records::Mac;
use privatelink_tests::{Links, Namespace};
use rand::seq::SliceRandom as _;

use crate::cpu::pin;
use crate::drive::{self, Direction, Driver, words};
use crate::link::Link;
use crate::object::Object;
use crate::ours::Ours;
use crate::records::{Rewrite, TTL, Tuple};
use crate::report::{Bound, Case, Report, Series};
use crate::rounds::in_turn;
use crate::world::{ACK, CAPACITY, ENDPOINT, HTTP, Interfaces, tuples};

/// Numbers of flows, and for how many the table has room.
const TABLES: [(u32, u32); 4] =
    [(1 << 10, CAPACITY), (1 << 16, CAPACITY), (1 << 20, CAPACITY), (1 << 20, (1 << 20) / 8 * 9)];
/// Rounds.
pub(crate) const ROUNDS: usize = 9;
/// Packets in a call: a call's own cost is milliseconds.
pub(crate) const PACKETS: u32 = 1 << 20;
/// The CPU that all of it runs on.
pub(crate) const CPU: usize = 1;
/// Targets: with eight load balancer addresses there are leases for 1.7 million flows.
pub(crate) const TARGETS: u8 = 4;

pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;

const NOTHING: &str = "XDP_TX and nothing else";
const HASH_NAT: &str = "NAT with a HASH map";
const OURS: &str = "privatelink";
/// The programs that are driven, by their numbers: name, what they return, whether they forward.
const PROGRAMS: [(&str, u32, bool); 3] =
    [(NOTHING, XDP_TX, false), (HASH_NAT, XDP_REDIRECT, true), (OURS, XDP_REDIRECT, true)];

/// Measures every number of flows.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    for (flows, capacity) in TABLES {
        let interfaces = Interfaces::new(Links::ForXdp);
        let lab = interfaces.lab(true, TARGETS)?;
        let gateway = lab.gateway();
        let cases = gateway.enter(|| measure_flows(gateway, &interfaces, flows, capacity))??;
        cases.into_iter().for_each(|case| report.add(case));
    }
    Ok(())
}

fn measure_flows(
    gateway: &Namespace,
    interfaces: &Interfaces,
    flows: u32,
    capacity: u32,
) -> Result<[Case; 2]> {
    pin(0, CPU)?;
    let (mut ours, mut driver) = ready(gateway, interfaces, flows, capacity)?;
    let (forward, reverse) = (driver.forward, driver.reverse);
    let cases = [
        measure_direction(&mut driver, flows, capacity, &forward)?,
        measure_direction(&mut driver, flows, capacity, &reverse)?,
    ];
    ensure!(ours.drops()? == 0, "packets were dropped");
    Ok(cases)
}

/// Ours attached, all programs ready to be driven, and the flows open in each.
fn ready(
    gateway: &Namespace,
    interfaces: &Interfaces,
    flows: u32,
    capacity: u32,
) -> Result<(Ours, Driver)> {
    let ours = Ours::start(gateway, interfaces, &interfaces.configuration(TARGETS, capacity))?;
    // The attached program is in what the kernel tells now.
    let mut driver = Driver::new(gateway, interfaces, flows, 2 * flows)?;
    driver.object.set_own_program(0, "nothing")?;
    driver.object.set_own_program(1, "hash_nat")?;
    driver.open(&tuples(flows, SocketAddrV4::new(ENDPOINT, HTTP[0])))?;
    shuffle(&mut driver.object)?;
    let [consumer, provider] = [&interfaces.consumer, &interfaces.provider]
        .map(|name| Link::of(gateway, name).map(|link| link.mac));
    let [client, target] = [Ours::CLIENT, Ours::TARGET];
    fill_nat(&mut driver.object, [target, provider?], [client, consumer?])?;
    Ok((ours, driver))
}

/// Puts the flows in another order.
pub(crate) fn shuffle(object: &mut Object) -> Result<()> {
    let mut both: Vec<(Tuple, Tuple)> =
        object.tuples("FORWARD")?.into_iter().zip(object.tuples("REVERSE")?).collect();
    both.shuffle(&mut rand::rng());
    let (clients, targets): (Vec<_>, Vec<_>) = both.into_iter().unzip();
    object.set_tuples("FORWARD", &clients)?;
    object.set_tuples("REVERSE", &targets)
}

/// Gives the NAT compared with the same flows.
fn fill_nat(object: &mut Object, to_target: [Mac; 2], to_client: [Mac; 2]) -> Result<()> {
    let both: Vec<_> =
        object.tuples("FORWARD")?.into_iter().zip(object.tuples("REVERSE")?).collect();
    let entries = both.iter().flat_map(|&(client, target)| {
        [(client, rewrite(client, target, to_target)), (target, rewrite(target, client, to_client))]
    });
    object.set_nat(entries)
}

/// How a segment of one side becomes the one that the other side's `answer` answers.
fn rewrite(segment: Tuple, answer: Tuple, macs: [Mac; 2]) -> Rewrite {
    let ttl = |ttl| u16::from_ne_bytes([ttl, 6]);
    let addresses = Delta::default()
        .replace32(segment.source, answer.destination)
        .replace32(segment.destination, answer.source);
    let ports = addresses
        .replace16(segment.source_port, answer.destination_port)
        .replace16(segment.destination_port, answer.source_port);
    Rewrite {
        source: answer.destination,
        destination: answer.source,
        source_port: answer.destination_port,
        destination_port: answer.source_port,
        ip_delta: addresses.replace16(ttl(TTL), ttl(TTL - 1)).fold(),
        tcp_delta: ports.fold(),
        macs: words(macs),
        ..Rewrite::default()
    }
}

/// Fails unless both NATs do the same.
fn agree(driver: &mut Driver, flows: u32, direction: &Direction) -> Result<()> {
    let [nat, ours] = [1, drive::OURS].map(|program| driver.run(direction, flows, 1, program, ACK));
    ensure!(nat?.0.frame == ours?.0.frame, "the two NATs do not make the same frame of it");
    Ok(())
}

/// Nanoseconds of a packet by one of the programs, which must do with each what it is to do.
fn nanoseconds(
    driver: &mut Driver,
    flows: u32,
    direction: &Direction,
    number: usize,
    packets: u32,
) -> Result<f64> {
    let (name, verdict, forwards) = PROGRAMS[number];
    let (run, drive) = driver.run(direction, flows, packets, number as u32, ACK)?;
    ensure!(run.verdict == verdict, "{name}: the verdict is {}", run.verdict);
    // The last frame is not seen by another run.
    let expected = if forwards { u64::from(packets - 1) } else { 0 };
    ensure!(drive.forwarded == expected, "{name}: {} of {expected} forwarded", drive.forwarded);
    Ok(run.nanoseconds)
}

fn measure_direction(
    driver: &mut Driver,
    flows: u32,
    capacity: u32,
    direction: &Direction,
) -> Result<Case> {
    agree(driver, flows, direction)?;
    let names = PROGRAMS.map(|(name, ..)| name);
    let series =
        in_turn(&names, ROUNDS, |number| nanoseconds(driver, flows, direction, number, PACKETS))?;
    let [nothing, nat, ours]: [Series; 3] = series.try_into().ok().context("three series")?;
    let floor = nothing.spread();
    let mut case = Case {
        group: "cost",
        title: format!("{flows} established flows of {capacity}, {}", direction.name),
        unit: "ns per packet beyond the floor",
        conditions: format!(
            "BPF_PROG_TEST_RUN, {PACKETS} packets of 60 bytes a call, flows in shuffled order, {ROUNDS} rounds; \
             floor (driver, harness, XDP_TX) {:.0} / {:.0} / {:.0} ns",
            floor.minimum, floor.median, floor.maximum
        ),
        series: vec![nat.beyond(&nothing), ours.beyond(&nothing)],
        gates: Vec::new(),
    };
    match flows {
        1024 => case.demand(OURS, Bound::AtMost(1.3), HASH_NAT),
        1_048_576 => case.demand(OURS, Bound::AtMost(0.5), HASH_NAT),
        _ => {}
    }
    Ok(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ours and those compared with stand in one array, where the kernel takes programs of one sort only.
    #[test]
    fn every_program_is_driven() {
        const FLOWS: u32 = 64;
        let interfaces = Interfaces::new(Links::ForXdp);
        let lab = interfaces.lab(true, TARGETS).unwrap();
        let gateway = lab.gateway();
        let driven = gateway.enter(|| -> Result<()> {
            let (mut ours, mut driver) = ready(gateway, &interfaces, FLOWS, 1024)?;
            for direction in [driver.forward, driver.reverse] {
                agree(&mut driver, FLOWS, &direction)?;
                for number in 0..PROGRAMS.len() {
                    nanoseconds(&mut driver, FLOWS, &direction, number, 4 * FLOWS)?;
                }
            }
            ensure!(ours.drops()? == 0, "packets were dropped");
            Ok(())
        });
        driven.unwrap().unwrap();
    }
}
