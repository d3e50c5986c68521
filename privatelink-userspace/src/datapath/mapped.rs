//! A map of the kernel in our own memory.
#![expect(unsafe_code, reason = "maps are mapped into memory")]

use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::ptr::NonNull;

use aya::maps::Map;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use privatelink_common::flow_table::Usage;
use privatelink_common::flow_table::bucket::Bucket;
use privatelink_common::flow_table::half::FlowHalf;
use privatelink_common::flow_table::note::Notes;
use privatelink_common::flow_table::totals::Totals;
use privatelink_common::memory::Shared;
use privatelink_common::wide::WideHalf;

use super::error::DatapathError;

/// An element that program and daemon change at the same time.
///
/// # Safety
/// The type consists of [`Shared`] and `Shared32` words only, so it is valid for every bit pattern and may be changed
/// by others at any moment.
pub(super) unsafe trait SharedElement: Sync {}

// SAFETY: these consist of shared words only.
unsafe impl SharedElement for FlowHalf {}
// SAFETY: as above.
unsafe impl SharedElement for WideHalf {}
// SAFETY: as above.
unsafe impl SharedElement for Bucket {}
// SAFETY: as above.
unsafe impl SharedElement for Usage {}
// SAFETY: as above.
unsafe impl SharedElement for Totals {}
// SAFETY: it is one.
unsafe impl SharedElement for Shared {}
// SAFETY: as above.
unsafe impl SharedElement for Notes {}

/// The elements of an array map (BPF_F_MMAPABLE). They stay valid while the map exists, and the mapping keeps it.
pub(super) struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it is a shared view of elements that may be used by many threads at once.
unsafe impl<T: SharedElement> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: SharedElement> Sync for Mapped<T> {}

impl<T: SharedElement> Mapped<T> {
    /// Maps the first `len` elements of an array.
    pub(super) fn new(name: &'static str, map: &Map, len: u32) -> Result<Self, DatapathError> {
        let Map::Array(data) = map else {
            return Err(DatapathError::Object(name));
        };
        let failed =
            |source: nix::Error| DatapathError::Mapping { map: name, source: source.into() };
        let len = len as usize;
        let bytes = NonZeroUsize::new(len * size_of::<T>()).ok_or(DatapathError::Object(name))?;
        let (prot, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping at an address the kernel chooses touches no memory of ours.
        let start =
            unsafe { mmap(None, bytes, prot, flags, data.fd().as_fd(), 0) }.map_err(failed)?;
        Ok(Self { start: start.cast(), len })
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the kernel has mapped `len` elements, page-aligned, for as long as `self` lives. Their type
        // may be changed by others at any moment, by `SharedElement`'s contract.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference outlives `self`.
        // An error would mean that the address is not ours: nothing to be done about it here.
        let _ = unsafe { munmap(self.start.cast(), self.len * size_of::<T>()) };
    }
}
