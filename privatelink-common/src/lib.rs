//! What the XDP program and the daemon must agree on, and the packet logic itself.
//!
//! The [`engine`] is a plain library: it reaches packets through [`memory::Packet`] and maps through
//! [`tables::Tables`], so the host tests run the very code that the kernel runs. All multi-byte values
//! whose documentation says *network order* hold the bytes as they stand in the packet; everything
//! else is in native order.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the only way to BPF's atomic instructions")
)]

pub mod capture;
pub mod checksum;
pub mod drop_reason;
pub mod engine;
pub mod ethernet;
pub mod extension;
pub mod flow_event;
pub mod flow_table;
pub mod fragment;
pub mod hash;
pub mod icmp;
pub mod icmp_error;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod lease;
pub mod limits;
pub mod maglev;
pub mod memory;
pub mod records;
pub mod stages;
pub mod state;
pub mod tables;
pub mod tcp;
pub mod ticks;
pub mod udp;
pub mod wide;

#[cfg(feature = "std")]
pub mod host;
