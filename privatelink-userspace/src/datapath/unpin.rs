//! Taking a pinned link off its interface at once.
//!
//! Removing the pin alone is too little: the kernel lets go of the link an RCU grace period and a work item later
//! (`bpf_free_inode()`, `bpf_link_put()`). Until then the program forwards packets, and the interface
//! refuses another one.
#![expect(unsafe_code, reason = "aya 0.14 has no BPF_LINK_DETACH")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc::{SYS_bpf, c_long, syscall};

// enum bpf_cmd in linux/bpf.h.
const BPF_OBJ_GET: c_long = 7;
const BPF_LINK_DETACH: c_long = 34;

/// The part of `union bpf_attr` that BPF_OBJ_GET reads.
#[repr(C)]
struct ObjectPath {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_DETACH reads.
#[repr(C)]
struct LinkDetach {
    link_fd: RawFd,
}

/// Detaches the link pinned at `path` and removes the pin. A link that cannot be detached, because its
/// interface was deleted, goes with its pin.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if let Err(error) = open(path).and_then(|link| detach(&link)) {
        log::debug!("link {} is not detached before its pin goes: {error}", path.display());
    }
    fs::remove_file(path)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = ObjectPath { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the attributes are as long as the size given with them, and the path is a string that lives until after
    // the call.
    let result =
        unsafe { syscall(SYS_bpf, BPF_OBJ_GET, &raw const attributes, size_of::<ObjectPath>()) };
    let descriptor = RawFd::try_from(result).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    let attributes = LinkDetach { link_fd: link.as_raw_fd() };
    // SAFETY: the attributes are as long as the size given with them.
    let result = unsafe {
        syscall(SYS_bpf, BPF_LINK_DETACH, &raw const attributes, size_of::<LinkDetach>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
