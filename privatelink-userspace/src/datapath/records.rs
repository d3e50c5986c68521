//! Records as aya moves them: arrays of 64-bit words.
#![expect(unsafe_code, reason = "records are copied to and from the words the kernel stores")]

use aya::Pod;
use privatelink_common::capture::{Captured, Counts, Order};
use privatelink_common::flow_event::Lost;
use privatelink_common::flow_table::totals::AddressTotals;
use privatelink_common::maglev;
use privatelink_common::records::{
    Address, AddressKey, Clock, Drops, Endpoint, EndpointAddressKey, Interface, Listener,
    LoadBalancer, Settings, Target, TargetKey,
};
use privatelink_common::wide::{
    WideAddress, WideAddressKey, WideEndpointAddressKey, WideLoadBalancer, WideRules, WideTargetKey,
};

/// A map key or value.
///
/// # Safety
/// The type has the size and alignment of `Words`, no padding, and is valid for every bit pattern.
pub(super) unsafe trait Record: Sized {
    /// The words it is stored as.
    type Words: Pod;

    /// The record's words.
    fn to_words(&self) -> Self::Words {
        // SAFETY: same size by the assertion in `record!`; no padding by the trait's contract, so
        // every byte read is initialised.
        unsafe { std::ptr::from_ref(self).cast::<Self::Words>().read() }
    }

    /// The record that the words are.
    fn from_words(words: &Self::Words) -> Self {
        // SAFETY: same size and alignment; every bit pattern is a record by the trait's contract.
        unsafe { std::ptr::from_ref(words).cast::<Self>().read() }
    }
}

macro_rules! record {
    ($($record:ty: $words:literal),+ $(,)?) => {
        $(
            const _: () = assert!(size_of::<$record>() == $words * 8 && align_of::<$record>() == 8);

            // SAFETY: size and alignment asserted above. The records consist of integers, arrays of
            // them and `Shared` words, with their padding spelled out as fields.
            unsafe impl Record for $record {
                type Words = [u64; $words];
            }
        )+
    };
}

record! {
    Interface: 3,
    AddressKey: 1,
    Address: 1,
    AddressTotals: 5,
    Endpoint: 135,
    EndpointAddressKey: 1,
    Listener: 3,
    LoadBalancer: 5,
    Target: 2,
    TargetKey: 1,
    Drops: 64,
    Lost: 2,
    Settings: 10,
    Clock: 1,
    WideAddress: 2,
    WideAddressKey: 3,
    WideEndpointAddressKey: 3,
    WideLoadBalancer: 21,
    WideRules: 193,
    WideTargetKey: 3,
    Order: 10,
    Captured: 12,
    Counts: 4,
    maglev::Table: 16385,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        let address = u32::from_ne_bytes([10, 0, 2, 20]);
        let key = TargetKey { address, port: 80_u16.to_be(), vpc: 2 };
        let words = key.to_words();
        assert_eq!(words.map(u64::to_ne_bytes).concat(), [10, 0, 2, 20, 0, 80, 2, 0]);
        assert_eq!(TargetKey::from_words(&words), key);
    }
}
