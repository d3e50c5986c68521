//! Preloaded into a program (ld.so(8), LD_PRELOAD), this has the kernel answer as one without tcx does (before Linux 6.6):
//! links of its attach types are invalid. All other system calls by syscall(2) are made as they are.

use std::arch::asm;
use std::ffi::{c_int, c_long};

const SYS_BPF: c_long = 321;
const BPF_LINK_CREATE: c_long = 28;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const EINVAL: c_long = 22;

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// syscall(2).
///
/// # Safety
/// As the system call's that is made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let mut result = number;
    if number == SYS_BPF && a == BPF_LINK_CREATE && is_tcx(b) {
        result = -EINVAL;
    } else {
        // SAFETY: the caller's promise.
        unsafe {
            asm!("syscall", inlateout("rax") result, in("rdi") a, in("rsi") b, in("rdx") c,
                in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _);
        }
    }
    if (-4095..0).contains(&result) {
        // SAFETY: it is this thread's own.
        unsafe { *__errno_location() = -result as c_int };
        return -1;
    }
    result
}

/// Whether a link's attributes ask for tcx: after the program and the interface stands the attach type.
fn is_tcx(attributes: c_long) -> bool {
    let words = attributes as *const u32;
    // SAFETY: whoever creates a link gives attributes at least this long.
    matches!(unsafe { *words.add(2) }, BPF_TCX_INGRESS | BPF_TCX_EGRESS)
}
