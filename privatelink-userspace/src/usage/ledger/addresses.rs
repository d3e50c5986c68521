//! The tables of addresses: up to where the counters of each are in the rows.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use super::super::CountedAddress;
use super::LedgerError;

/// Number of the subject, what it is, and what of its counters is in the rows.
pub(super) type Stored = (u32, u8, u64, u64, u64);
/// What is known of addresses.
pub(super) type Addresses = HashMap<CountedAddress, Stored>;

/// By the word of an IPv4 address.
const IPV4: TableDefinition<'_, u64, Stored> = TableDefinition::new("known");
/// By an IPv6 address, and the numbers of its vpc and endpoint.
const IPV6: TableDefinition<'_, (u128, u16, u16), Stored> = TableDefinition::new("known_ipv6");

/// An address that no endpoint has, that of one that is not available, and that of one that is.
pub(super) const GONE: u8 = 0;
pub(super) const THERE: u8 = 1;
pub(super) const AVAILABLE: u8 = 2;

/// Makes the tables where there are none.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), LedgerError> {
    transaction.open_table(IPV4)?;
    transaction.open_table(IPV6)?;
    Ok(())
}

/// Forgets all addresses.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), LedgerError> {
    transaction.delete_table(IPV4)?;
    transaction.delete_table(IPV6)?;
    make(transaction)
}

/// Reads what is known of addresses.
pub(super) fn read(transaction: &ReadTransaction) -> Result<Addresses, LedgerError> {
    let mut known = Addresses::new();
    for row in transaction.open_table(IPV4)?.iter()? {
        let (word, stored) = row?;
        known.insert(ipv4(word.value()), stored.value());
    }
    for row in transaction.open_table(IPV6)?.iter()? {
        let (key, stored) = row?;
        let (address, vpc, endpoint) = key.value();
        let address = Ipv6Addr::from_bits(address).into();
        known.insert(CountedAddress { address, vpc, endpoint }, stored.value());
    }
    Ok(known)
}

/// Writes what is known of addresses, of which `before` is written.
pub(super) fn write(
    transaction: &WriteTransaction,
    before: &Addresses,
    known: &Addresses,
) -> Result<(), LedgerError> {
    let (mut ipv4, mut ipv6) = (transaction.open_table(IPV4)?, transaction.open_table(IPV6)?);
    for of in before.keys().filter(|of| !known.contains_key(*of)) {
        match Place::of(of) {
            Place::Ipv4(word) => drop(ipv4.remove(word)?),
            Place::Ipv6(key) => drop(ipv6.remove(key)?),
        }
    }
    for (of, stored) in known.iter().filter(|(of, stored)| before.get(*of) != Some(stored)) {
        match Place::of(of) {
            Place::Ipv4(word) => drop(ipv4.insert(word, stored)?),
            Place::Ipv6(key) => drop(ipv6.insert(key, stored)?),
        }
    }
    Ok(())
}

/// Where an address is stored.
enum Place {
    Ipv4(u64),
    Ipv6((u128, u16, u16)),
}

impl Place {
    fn of(address: &CountedAddress) -> Self {
        let CountedAddress { address, vpc, endpoint } = *address;
        match address {
            IpAddr::V4(address) => {
                let address = u32::from_ne_bytes(address.octets());
                Self::Ipv4(u64::from(address) | u64::from(vpc) << 32 | u64::from(endpoint) << 48)
            }
            IpAddr::V6(address) => Self::Ipv6((address.to_bits(), vpc, endpoint)),
        }
    }
}

/// The IPv4 address that a word is.
fn ipv4(word: u64) -> CountedAddress {
    CountedAddress {
        address: (word as u32).to_ne_bytes().into(),
        vpc: (word >> 32) as u16,
        endpoint: (word >> 48) as u16,
    }
}
