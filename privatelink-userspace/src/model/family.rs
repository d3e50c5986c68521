//! Address families.

use std::net::IpAddr;

/// A family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// `ipv4` or `ipv6`, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// `IPv4` or `IPv6`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

/// Families of addresses, by AWS's names for IP address types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both.
    Dualstack,
}

impl Families {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Dualstack];

    /// Those of addresses; `None` of none.
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let families = addresses.into_iter().map(Family::of);
        families.fold(None, |before, family| {
            Some(before.map_or(family.into(), |of: Self| of.with(family)))
        })
    }

    /// These and one more.
    pub fn with(self, family: Family) -> Self {
        if self.has(family) { self } else { Self::Dualstack }
    }

    /// Whether a family is among them.
    pub fn has(self, family: Family) -> bool {
        self == Self::Dualstack || self == Self::from(family)
    }

    /// `ipv4`, `ipv6` or `dualstack`, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dualstack => "dualstack",
        }
    }

    /// `IPv4`, `IPv6` or `IPv4 and IPv6`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Dualstack => "IPv4 and IPv6",
        }
    }
}

impl From<Family> for Families {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }
}
