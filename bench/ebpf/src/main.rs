//! The benchmark's own programs: those that make frames, those that take them, and the ones compared with.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "packets, maps and helpers are the kernel's memory and calls")]

mod baseline;
mod drive;
mod frame;
mod live;
mod maps;
mod records;

/// The kernel lets only GPL-compatible programs call some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
