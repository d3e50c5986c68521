//! From what is asked to what the watched program is told.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use privatelink_common::capture::{MAX_SNAPLEN, MIN_SNAPLEN, NO_ENDPOINT, Order};
use privatelink_common::wide::WideAddress;

use crate::api::{CaptureQuery, Clients, ErrorBody, ErrorCode};
use crate::snapshot::Snapshot;

/// Bytes of a packet unless told otherwise: all headers, and little of what they carry.
const SNAPLEN: u32 = 128;
/// Packets in a second unless told otherwise.
const RATE: u32 = 10_000;
/// What a rate may be: the most that the daemon writes is a fraction of it.
const RATES: RangeInclusive<u32> = 1..=1_000_000;

/// The order of a query; number and end are not set.
pub(super) fn order(query: &CaptureQuery, snapshot: &Snapshot) -> Result<Order, ErrorBody> {
    let client = query.client.map(client).transpose()?;
    let target = query.target.map(|target| target.parts());
    let endpoint = match &query.endpoint {
        Some(id) => endpoint(id, snapshot)?,
        None => NO_ENDPOINT,
    };
    let mut flags = 0;
    if query.dropped {
        flags |= Order::DROPPED;
    }
    if query.all {
        flags |= Order::PASSED;
    }
    if client.is_some_and(|client| client.addr().is_ipv6()) {
        flags |= Order::IPV6_CLIENTS;
    }
    Ok(Order {
        client: client.map_or(Order::NONE.client, |client| client.network().into()),
        client_mask: client.map_or(Order::NONE.client_mask, mask),
        target: target.map_or(Order::NONE.target, |(address, _)| address.into()),
        target_port: target.and_then(|(_, port)| port).unwrap_or(0).to_be(),
        port: query.port.unwrap_or(0).to_be(),
        endpoint,
        flags,
        snaplen: within("snaplen", query.snaplen.unwrap_or(SNAPLEN), MIN_SNAPLEN..=MAX_SNAPLEN)?,
        sample: within("sample", query.sample.unwrap_or(1), 1..=u32::MAX)?,
        rate: within("rate", query.rate.unwrap_or(RATE), RATES)?,
        ..Order::NONE
    })
}

/// The network of clients, who are known by their addresses alone.
fn client(clients: Clients) -> Result<IpNet, ErrorBody> {
    match clients.parts() {
        (network, None) => Ok(network),
        (network, Some(_)) => {
            let address = network.addr();
            let text = format!(
                "client: {clients}: packets are not known by the client's port: write {address}"
            );
            Err(ErrorBody::new(ErrorCode::InvalidParameter, text))
        }
    }
}

/// The mask of a network, of IPv4 as it is mapped.
fn mask(network: IpNet) -> WideAddress {
    let before = if network.addr().is_ipv4() { 96 } else { 0 };
    let after = 128 - before - u32::from(network.prefix_len());
    WideAddress::from_bytes(u128::MAX.checked_shl(after).unwrap_or(0).to_be_bytes())
}

fn endpoint(id: &str, snapshot: &Snapshot) -> Result<u32, ErrorBody> {
    let numbered = snapshot.model.endpoints.iter().zip(&snapshot.numbering.endpoints);
    let mut found = numbered.filter(|(endpoint, _)| endpoint.id == id);
    found.next().map(|(_, &number)| number).ok_or_else(|| {
        let text = format!("no such endpoint: {id}; `privatelink endpoints` lists them");
        ErrorBody::new(ErrorCode::EndpointNotFound, text)
    })
}

fn within(name: &str, value: u32, range: RangeInclusive<u32>) -> Result<u32, ErrorBody> {
    if range.contains(&value) {
        return Ok(value);
    }
    let text = format!("{name}: {value} is not from {} to {}", range.start(), range.end());
    Err(ErrorBody::new(ErrorCode::InvalidParameter, text))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn wide(text: &str) -> WideAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn of(query: &CaptureQuery) -> Result<Order, String> {
        order(query, &Snapshot::default()).map_err(|error| error.error)
    }

    #[test]
    fn every_filter_has_its_place_in_the_order() {
        let query = CaptureQuery {
            client: "10.0.2.20/16".parse().ok(),
            target: "10.0.1.10:8080".parse().ok(),
            port: Some(80),
            dropped: true,
            all: true,
            snaplen: Some(64),
            sample: Some(3),
            rate: Some(7),
            ..CaptureQuery::default()
        };
        let order = of(&query).unwrap();
        assert_eq!([order.client, order.target], ["10.0.0.0", "10.0.1.10"].map(wide));
        assert_eq!(order.client_mask, wide("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0"));
        assert_eq!([order.target_port, order.port].map(u16::from_be), [8080, 80]);
        assert_eq!((order.flags, order.endpoint), (3, NO_ENDPOINT));
        assert_eq!((order.snaplen, order.sample, order.rate), (64, 3, 7));
    }

    #[test]
    fn clients_have_no_port() {
        for (client, address) in [("10.0.2.20:40000", "10.0.2.20"), ("[fd00::20]:1", "fd00::20")] {
            let query = CaptureQuery { client: client.parse().ok(), ..CaptureQuery::default() };
            let refused = of(&query).unwrap_err();
            assert!(refused.starts_with(&format!("client: {client}: ")), "{refused}");
            assert!(refused.ends_with(&format!(": write {address}")), "{refused}");
        }
    }

    #[test]
    fn addresses_may_be_ipv6() {
        for (client, network, mask) in [
            ("fd00::20", "fd00::20", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fd00::20/64", "fd00::", "ffff:ffff:ffff:ffff::"),
            ("::/0", "::", "::"),
        ] {
            let query = CaptureQuery {
                client: client.parse().ok(),
                target: "[fd01::1]:8080".parse().ok(),
                ..CaptureQuery::default()
            };
            let order = of(&query).unwrap();
            let found = [order.client, order.client_mask, order.target];
            assert_eq!(found, [network, mask, "fd01::1"].map(wide), "{client}");
            assert_eq!((order.flags, order.target_port), (Order::IPV6_CLIENTS, 8080_u16.to_be()));
        }
    }

    #[test]
    fn without_filters_everything_of_ours_is_taken() {
        let order = of(&CaptureQuery::default()).unwrap();
        let expected = Order { snaplen: 128, sample: 1, rate: 10_000, ..Order::NONE };
        assert_eq!(order, expected);
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_line() {
        let with = |edit: fn(&mut CaptureQuery)| {
            let mut query = CaptureQuery::default();
            edit(&mut query);
            of(&query).unwrap_err()
        };
        assert_eq!(with(|q| q.snaplen = Some(63)), "snaplen: 63 is not from 64 to 2048");
        assert_eq!(with(|q| q.snaplen = Some(2049)), "snaplen: 2049 is not from 64 to 2048");
        assert_eq!(with(|q| q.sample = Some(0)), "sample: 0 is not from 1 to 4294967295");
        assert_eq!(with(|q| q.rate = Some(0)), "rate: 0 is not from 1 to 1000000");
        assert_eq!(
            with(|q| q.endpoint = Some("vpce-0".into())),
            "no such endpoint: vpce-0; `privatelink endpoints` lists them"
        );
    }
}
