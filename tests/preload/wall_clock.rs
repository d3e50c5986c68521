//! Preloaded into a program (ld.so(8), LD_PRELOAD), this moves its wall clock, and no other clock, by as many seconds as
//! stand in the file that `WALL_CLOCK_OFFSET` names; looked up anew each time.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::mem::transmute;
use std::ptr;

/// `struct timespec`.
#[repr(C)]
pub struct Time {
    seconds: i64,
    nanoseconds: c_long,
}

type GetTime = unsafe extern "C" fn(c_int, *mut Time) -> c_int;

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The libraries behind this one.
const RTLD_NEXT: *mut c_void = ptr::without_provenance_mut(usize::MAX);
/// CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI.
const WALL_CLOCKS: [c_int; 3] = [0, 5, 11];

fn offset() -> i64 {
    let file = std::env::var_os("WALL_CLOCK_OFFSET");
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// clock_gettime(2).
///
/// # Safety
/// As the system call's: `time` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    // SAFETY: the C library has a function of this name and signature.
    let get: GetTime = unsafe { transmute(dlsym(RTLD_NEXT, c"clock_gettime".as_ptr())) };
    // SAFETY: the caller's promise.
    let result = unsafe { get(clock, time) };
    if result == 0 && WALL_CLOCKS.contains(&clock) {
        // SAFETY: the caller's promise, and it has just been written to.
        unsafe { (*time).seconds += offset() };
    }
    result
}
