//! What a packet of an established flow costs by family and protocol, as `cost.rs` measures it: TCP over IPv4, UDP over IPv4
//! and TCP over IPv6 in the same rounds, each beyond what driving such frames costs by itself.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use privatelink_tests::{Links, Namespace};

use crate::cost::{CPU, PACKETS, TARGETS, XDP_REDIRECT, XDP_TX, shuffle};
use crate::cpu::pin;
use crate::drive::{self, Driver, Form};
use crate::ours::Ours;
use crate::report::{Bound, Case, Report, Series};
use crate::rounds::in_turn;
use crate::world::{ACK, CAPACITY, ENDPOINT, HTTP, Interfaces, tuples};

const TCP: &str = "TCP over IPv4";
const UDP: &str = "UDP over IPv4";
const TCP_OVER_IPV6: &str = "TCP over IPv6";
/// The forms with the names of their floors.
const FORMS: [(Form, &str, &str); 3] = [
    (Form::Tcp, TCP, "floor of TCP over IPv4"),
    (Form::Udp, UDP, "floor of UDP over IPv4"),
    (Form::TcpOverIpv6, TCP_OVER_IPV6, "floor of TCP over IPv6"),
];
/// The number under which the program that does nothing is driven.
const NOTHING: u32 = 0;

/// More than where the baseline is another program: these are near each other.
const ROUNDS: usize = 21;
/// Numbers of flows of each form, and what IPv6 may cost beside IPv4.
const FLOWS: [(u32, f64); 2] = [(1 << 10, 1.35), (1 << 20, 1.3)];

/// Measures every number of flows.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    for (flows, most) in FLOWS {
        let interfaces = Interfaces::new(Links::ForXdp);
        let lab = interfaces.lab(true, TARGETS)?;
        let gateway = lab.gateway();
        let cases = gateway.enter(|| measure_flows(gateway, &interfaces, flows, most))??;
        cases.into_iter().for_each(|case| report.add(case));
    }
    Ok(())
}

fn measure_flows(
    gateway: &Namespace,
    interfaces: &Interfaces,
    flows: u32,
    most: f64,
) -> Result<[Case; 2]> {
    pin(0, CPU)?;
    // Room for the flows of both protocols of IPv4, twice.
    let configuration = interfaces.configuration_of_families(TARGETS, 2 * CAPACITY);
    let mut ours = Ours::start(gateway, interfaces, &configuration)?;
    let clients = tuples(flows, SocketAddrV4::new(ENDPOINT, HTTP[0]));
    let mut drivers = Vec::new();
    for (form, ..) in FORMS {
        let mut driver = Driver::new(gateway, interfaces, flows, 1)?;
        driver.form = form;
        driver.object.set_own_program(NOTHING, "nothing")?;

        driver.open(&clients)?;
        shuffle(&mut driver.object)?;
        drivers.push(driver);
    }
    let cases = [
        measure_direction(&mut drivers, flows, most, true)?,
        measure_direction(&mut drivers, flows, most, false)?,
    ];
    ensure!(ours.drops()? == 0, "packets were dropped");
    Ok(cases)
}

fn measure_direction(drivers: &mut [Driver], flows: u32, most: f64, forward: bool) -> Result<Case> {
    let names: Vec<&'static str> =
        FORMS.iter().flat_map(|&(_, name, floor)| [name, floor]).collect();
    let measured = in_turn(&names, ROUNDS, |number| {
        let driver = &mut drivers[number / 2];
        let direction = if forward { driver.forward } else { driver.reverse };
        let is_floor = number % 2 == 1;
        let (program, verdict) =
            if is_floor { (NOTHING, XDP_TX) } else { (drive::OURS, XDP_REDIRECT) };
        let (run, drive) = driver.run(&direction, flows, PACKETS, program, ACK)?;
        ensure!(run.verdict == verdict, "the verdict is {}", run.verdict);
        // The last frame is not seen by another run.
        let expected = if is_floor { 0 } else { u64::from(PACKETS - 1) };
        ensure!(drive.forwarded == expected, "{} of {expected} forwarded", drive.forwarded);
        Ok(run.nanoseconds)
    })?;
    let series: Vec<Series> = measured.chunks(2).map(|pair| pair[0].beyond(&pair[1])).collect();
    let floors: Vec<String> =
        measured.chunks(2).map(|pair| format!("{:.0}", pair[1].spread().median)).collect();
    let name = if forward { drivers[0].forward.name } else { drivers[0].reverse.name };
    let mut case = Case {
        group: "families",
        title: format!("{flows} established flows of each family and protocol, {name}"),
        unit: "ns per packet beyond the floor",
        conditions: format!(
            "BPF_PROG_TEST_RUN, {PACKETS} packets a call, of 60 bytes, IPv6 74, flows in shuffled order, {ROUNDS} rounds; \
             floors (driver, harness, XDP_TX) {} ns",
            floors.join(" / ")
        ),
        series,
        gates: Vec::new(),
    };
    case.demand(TCP_OVER_IPV6, Bound::AtMost(most), TCP);
    Ok(case)
}
