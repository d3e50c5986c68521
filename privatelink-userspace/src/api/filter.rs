//! What flows are filtered by: the values that a query has, as they are written and what they let pass.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use privatelink_common::state::State;
use serde::{Deserialize, Serialize};

/// State of a flow, by the name that listings have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum FlowState {
    /// The client has sent a SYN, the target nothing.
    SynSent,
    /// The target has answered the SYN, the client not yet confirmed.
    SynReceived,
    /// Both sides may send.
    Established,
    /// One side has closed.
    FinWait,
    /// Both sides have closed.
    TimeWait,
    /// One side has reset the connection.
    Closed,
    /// UDP: the client has sent, the target nothing.
    Unreplied,
    /// UDP: the target has answered.
    Replied,
}

impl FlowState {
    /// The name in the `state` of a row.
    pub const fn name(self) -> &'static str {
        let state = match self {
            Self::SynSent => State::SynSent,
            Self::SynReceived => State::SynReceived,
            Self::Established => State::Established,
            Self::FinWait => State::FinWait,
            Self::TimeWait => State::TimeWait,
            Self::Closed => State::Closed,
            Self::Unreplied => State::Unreplied,
            Self::Replied => State::Replied,
        };
        state.name()
    }
}

/// Clients: those at one address, or at one port of it, or those of a CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clients {
    network: IpNet,
    port: Option<u16>,
}

impl Clients {
    /// Whether this is one of them.
    pub fn contain(&self, client: SocketAddr) -> bool {
        self.network.contains(&client.ip()) && self.port.is_none_or(|port| port == client.port())
    }

    /// Their network, and the port if it is one.
    pub const fn parts(&self) -> (IpNet, Option<u16>) {
        (self.network, self.port)
    }
}

impl FromStr for Clients {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = |network| Self { network, port: None };
        let one = |one: SocketAddr| Self { network: one.ip().into(), port: Some(one.port()) };
        let found =
            text.parse().map(all).or_else(|_| text.parse::<IpAddr>().map(|of| all(of.into())));
        let remedy =
            "neither an address nor a CIDR: write e.g. 10.0.2.20, 10.0.0.0/16 or fd00::/64";
        found.or_else(|_| text.parse().map(one)).map_err(|_| remedy)
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.network.addr(), port).fmt(f),
            None => self.network.fmt(f),
        }
    }
}

/// A target, or those of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Targets {
    address: IpAddr,
    port: Option<u16>,
}

impl Targets {
    /// Whether this is one of them.
    pub fn contain(&self, target: SocketAddr) -> bool {
        self.address == target.ip() && self.port.is_none_or(|port| port == target.port())
    }

    /// Their address, and the port if it is one.
    pub const fn parts(&self) -> (IpAddr, Option<u16>) {
        (self.address, self.port)
    }
}

impl FromStr for Targets {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = |one: SocketAddr| Self { address: one.ip(), port: Some(one.port()) };
        let all = |address| Self { address, port: None };
        let found = text.parse().map(one).or_else(|_| text.parse().map(all));
        found.map_err(|_| "not an address with or without a port: write e.g. 10.0.1.10:8080 or [fd00::1]:8080")
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// Texts of an API are what their types parse from and display as.
macro_rules! as_text {
    ($($kind:ty),+) => {
        $(
            impl TryFrom<String> for $kind {
                type Error = &'static str;

                fn try_from(text: String) -> Result<Self, Self::Error> {
                    text.parse()
                }
            }

            impl From<$kind> for String {
                fn from(value: $kind) -> Self {
                    value.to_string()
                }
            }
        )+
    };
}

as_text!(Clients, Targets);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn states_have_the_names_of_listings_however_they_are_written() {
        let listed = (0..=u8::MAX)
            .flat_map(|forward| (0..=u8::MAX).map(move |reverse| State::of_tcp(forward, reverse)))
            .chain([false, true].map(State::of_udp));
        let listed: BTreeSet<_> = listed.map(State::name).collect();
        let named: BTreeSet<_> =
            FlowState::value_variants().iter().map(|state| state.name()).collect();
        assert_eq!(named, listed);
        for state in FlowState::value_variants() {
            assert_eq!(state.to_possible_value().unwrap().get_name(), state.name());
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }

    #[test]
    fn clients_by_address_port_and_cidr() {
        for (written, client, expected) in [
            ("10.0.2.20", "10.0.2.20:1", true),
            ("10.0.2.20", "10.0.2.21:1", false),
            ("10.0.2.20/32", "10.0.2.20:65535", true),
            ("10.0.2.0/24", "10.0.2.255:1", true),
            ("10.0.2.0/24", "10.0.3.0:1", false),
            ("10.0.2.20/24", "10.0.2.21:1", true),
            ("0.0.0.0/0", "255.255.255.255:1", true),
            ("0.0.0.0/0", "[fd00::1]:1", false),
            ("::/0", "10.0.2.20:1", false),
            ("::/0", "[fd00::1]:1", true),
            ("fd00::1", "[fd00::1]:1", true),
            ("fd00::1", "[fd00::2]:1", false),
            ("fd00::/64", "[fd00::ffff:1:2:3]:1", true),
            ("fd00::/64", "[fd00:0:0:1::]:1", false),
            ("10.0.2.20:1", "10.0.2.20:1", true),
            ("10.0.2.20:1", "10.0.2.20:2", false),
            ("10.0.2.20:1", "10.0.2.21:1", false),
            ("[fd00::1]:1", "[fd00::1]:1", true),
            ("[fd00::1]:1", "[fd00::1]:2", false),
            ("[fd00::1]:1", "[fd00::2]:1", false),
        ] {
            let clients: Clients = written.parse().unwrap();
            assert_eq!(clients.contain(client.parse().unwrap()), expected, "{written} {client}");
            assert_eq!(clients.to_string().parse(), Ok(clients));
        }
        for wrong in [
            "",
            "10.0.2",
            "10.0.2.256",
            "10.0.2.20/33",
            "10.0.2.20/",
            "10.0.2.20:",
            "10.0.2.0/24:80",
            "fd00::/129",
            "[fd00::1]",
            "[fd00::1]:65536",
        ] {
            assert!(wrong.parse::<Clients>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_by_address_and_port() {
        for (written, target, expected) in [
            ("10.0.1.10", "10.0.1.10:8080", true),
            ("10.0.1.10", "10.0.1.11:8080", false),
            ("10.0.1.10:8080", "10.0.1.10:8080", true),
            ("10.0.1.10:8080", "10.0.1.10:8081", false),
            ("10.0.1.10:8080", "10.0.1.11:8080", false),
            ("fd00::1", "[fd00::1]:8080", true),
            ("fd00::1", "[fd00::2]:8080", false),
            ("[fd00::1]:8080", "[fd00::1]:8080", true),
            ("[fd00::1]:8080", "[fd00::1]:8081", false),
        ] {
            let targets: Targets = written.parse().unwrap();
            assert_eq!(targets.contain(target.parse().unwrap()), expected, "{written} {target}");
            assert_eq!(targets.to_string(), written);
        }
        for wrong in
            ["", "web", "10.0.1", "10.0.1.10:", "10.0.1.10:65536", "10.0.1.0/24", "[::1]", "::1/64"]
        {
            assert!(wrong.parse::<Targets>().is_err(), "{wrong}");
        }
    }
}
