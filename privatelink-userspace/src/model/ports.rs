//! The ports that a listener publishes.

use std::fmt;

/// Ports from first to last; displayed as the configuration writes them: `80`, `9000-9099`, `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// First port.
    pub first: u16,
    /// Last port, inclusive; not less than the first.
    pub last: u16,
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// One port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether a port is among them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// How many ports there are.
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// Whether they are several, but not all.
    pub fn is_range(self) -> bool {
        self != Self::ALL && self.first != self.last
    }

    /// The fewest blocks that hold these ports and no other: the first port of each, and for how many bits `b` it has
    /// 2^`b` ports.
    pub fn blocks(self) -> impl Iterator<Item = (u16, u32)> {
        let end = u32::from(self.last) + 1;
        let mut next = u32::from(self.first);
        std::iter::from_fn(move || {
            let first = u16::try_from(next).ok().filter(|_| next < end)?;
            let bits = next.trailing_zeros().min((end - next).ilog2());
            next += 1 << bits;
            Some((first, bits))
        })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("all"),
            Self { first, last } if first == last => first.fmt(f),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks() {
        let rows: [(Ports, &[(u16, u32)]); 5] = [
            (Ports::ALL, &[(0, 16)]),
            (Ports::one(80), &[(80, 0)]),
            (Ports { first: 9000, last: 9003 }, &[(9000, 2)]),
            (Ports { first: 9001, last: 9004 }, &[(9001, 0), (9002, 1), (9004, 0)]),
            (Ports { first: 65_534, last: 65_535 }, &[(65_534, 1)]),
        ];
        for (ports, expected) in rows {
            assert_eq!(ports.blocks().collect::<Vec<_>>(), expected, "{ports}");
        }
        assert_eq!(Ports { first: 1, last: 65_534 }.blocks().count(), 30, "the most there are");
    }

    proptest! {
        #[test]
        fn blocks_are_the_ports_in_order(a in any::<u16>(), b in any::<u16>()) {
            let ports = Ports { first: a.min(b), last: a.max(b) };
            let mut next = u32::from(ports.first);
            for (first, bits) in ports.blocks() {
                prop_assert_eq!(u32::from(first), next);
                prop_assert_eq!(next % (1 << bits), 0, "aligned");
                next += 1 << bits;
            }
            prop_assert_eq!(next, u32::from(ports.last) + 1);
        }
    }

    #[test]
    fn as_the_configuration_writes_them() {
        let written = [Ports::one(80), Ports { first: 9000, last: 9099 }, Ports::ALL]
            .map(|ports| ports.to_string());
        assert_eq!(written, ["80", "9000-9099", "all"]);
    }
}
