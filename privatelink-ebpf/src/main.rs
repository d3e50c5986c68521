//! The XDP program: binds the engine of `privatelink-common` to the kernel's packets and maps.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(unsafe_code, reason = "packets, maps and helpers are the kernel's memory and calls")]

mod events;
mod functions;
mod hook;
mod maps;
mod packet;
mod programs;
mod skb;
mod watch;

/// The kernel lets only GPL-compatible programs call some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
