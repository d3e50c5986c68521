//! Reaching packet bytes and words shared between CPUs: the only module with `unsafe`.
#![expect(unsafe_code, reason = "packet bytes and shared map words are raw memory")]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
// core has no atomic types with these operations for BPF, though the machine has the instructions (v3).
#[cfg(target_arch = "bpf")]
use core::intrinsics::{self, AtomicOrdering::SeqCst as SEQ_CST};
#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::checksum::{self, Change};
use crate::drop_reason::DropReason;
use crate::engine::refused;
use crate::ethernet::Tags;
use crate::ip::Family;
use crate::records::Interface;
use crate::tables::Tables;
use crate::{ipv4, tcp, udp};

/// Most bytes copied out of a packet at once.
pub const CHUNK: usize = 64;

/// The packets that a frame is on the wire, which parts when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many.
    pub packets: u16,
    /// Bytes of the segment's or datagram's header, which each of them has.
    pub header: u16,
    /// Bytes that the longest carries.
    pub longest: u16,
}

impl Parts {
    /// What they come to, of an IP packet of `length` bytes with a header of `header` ones.
    #[inline(always)]
    pub fn volume(self, length: u16, header: usize) -> Volume {
        let more = u64::from(self.packets - 1);
        let headers = header as u64 + u64::from(self.header);
        Volume { packets: more + 1, bytes: u64::from(length) + more * headers }
    }
}

/// Packets on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// How many.
    pub packets: u64,
    /// Bytes of their IP packets.
    pub bytes: u64,
}

/// A frame, from its first Ethernet byte to its last.
pub trait Packet {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// The `N` bytes from `offset` on, or `None` where the frame ends before them.
    fn window<const N: usize>(&self, offset: usize) -> Option<Window<'_, N>>;

    /// Copies `len` bytes, 1 to [`CHUNK`], from `offset` on; zeros follow them. `None` where the frame
    /// ends before. For lengths known only at run time, which windows do not suit.
    fn chunk(&self, offset: usize, len: usize) -> Option<[u32; CHUNK / 4]>;

    /// Takes bytes out from before the IP header, or (negative) makes room for more; the Ethernet header is to be written anew then.
    /// False where there is no room; the frame is unchanged then.
    fn move_start(&mut self, by: i32) -> bool;

    /// Cuts the frame to `len` bytes. False where it cannot; the frame is unchanged then.
    fn truncate(&mut self, len: usize) -> bool;

    /// Whether several CPUs carry packets of one direction of a flow at once as a rule, as on links that have no receive queues: there
    /// each frame is carried by the CPU that sends it.
    #[inline(always)]
    fn is_concurrent(&self) -> bool {
        false
    }

    /// Whether what is to leave by an interface is left to the classifier behind this program, as it is.
    #[inline(always)]
    fn is_left(&self, egress: &Interface) -> bool {
        egress.flags & Interface::STACK != 0
    }

    /// Cuts the frame to `len` bytes, or to as many more as it needs for an unfinished checksum; how many it has then. As
    /// [`Self::truncate`] otherwise.
    #[inline(always)]
    fn cut(&mut self, len: usize) -> Option<usize> {
        self.truncate(len).then_some(len)
    }

    /// The VLAN tag that is not in the frame any more, since the kernel has taken it out: TPID and above it TCI, network order.
    /// 0 where there is none.
    #[inline(always)]
    fn taken_tag(&self) -> u32 {
        0
    }

    /// Those of its tags that stand in a frame.
    #[inline(always)]
    fn standing(&self, tags: Tags) -> Tags {
        tags
    }

    /// Gives the frame other tags and an IP header of another family, `shift` bytes less in all before what the packet carries. Both
    /// headers are to be written anew then. False where that cannot be: the frame is of no more use then.
    #[inline(always)]
    fn reframe(&mut self, _from: (Tags, Family), _to: (Tags, Family), shift: i32) -> bool {
        shift == 0 || self.move_start(shift)
    }

    /// Brings the checksum of the segment up to date whose header is `tcp`, at `offset`; no window is to be used after that.
    #[inline(always)]
    fn mend_segment(&self, tcp: Window<'_, { tcp::HEADER }>, _offset: usize, change: Change) {
        tcp.set_u16::<16>(checksum::apply(tcp.u16::<16>(), change.whole().fold()));
    }

    /// The same of a datagram: one without a checksum is left so.
    #[inline(always)]
    fn mend_datagram(&self, udp: Window<'_, { udp::HEADER }>, _offset: usize, change: Change) {
        udp.set_u16::<6>(udp::apply(udp.u16::<6>(), change.whole().fold()));
    }

    /// Whether the checksum of a segment or datagram, at `offset`, has the pseudo-header's sum for now: who sends the frame finishes
    /// it (Linux: `CHECKSUM_PARTIAL`).
    #[inline(always)]
    fn is_unfinished(&self, _offset: usize) -> bool {
        false
    }

    /// The packets that the frame is on the wire: it carries a segment or datagram of `length` bytes, which begins at `offset`.
    #[inline(always)]
    fn parts(&self, length: u16, _offset: usize, _protocol: u8) -> Parts {
        Parts { packets: 1, header: 0, longest: length }
    }

    /// The same offset of an IP header. In the kernel the verifier forgets which it is, so that it need not go through what follows
    /// for each number of tags.
    #[inline(always)]
    fn some_offset(&self, offset: usize) -> usize {
        offset
    }

    /// [`ipv4::sum_bytes`]. In the kernel a function of its own.
    fn sum(&self, offset: usize, length: u16) -> u32 {
        ipv4::sum_bytes(self, offset, length)
    }

    /// The same with a pseudo-header's sum, not folded: 0xffff where a checksum that covers both is right.
    #[inline(always)]
    fn sum_with(&self, pseudo: u32, offset: usize, length: u16) -> Result<u16, DropReason> {
        match self.sum(offset, length) {
            ipv4::UNREADABLE => Err(DropReason::Truncated),
            sum => Ok(checksum::fold(u32::from(checksum::fold(pseudo)) + sum)),
        }
    }

    /// [`refused::tell`]. In the kernel a function of its own.
    fn tell_refused(&self, tables: &impl Tables, slot: u32, reason: DropReason)
    where
        Self: Sized,
    {
        refused::tell(self, tables, slot, reason);
    }

    /// Whether the frame has so many bytes. In the kernel cheaper than its length where it is one buffer.
    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        end <= self.len()
    }

    /// Whether the frame has no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `N` readable and writable bytes of a packet.
///
/// Offsets are constants checked at compile time. Several windows may lie over each other: like
/// `Cell`, they hand out values, never references.
#[derive(Clone, Copy)]
pub struct Window<'p, const N: usize> {
    start: *mut u8,
    packet: PhantomData<&'p UnsafeCell<[u8]>>,
}

impl<const N: usize> Window<'_, N> {
    /// A window over the `N` bytes at `start`.
    ///
    /// # Safety
    /// The bytes must be readable and writable for the window's lifetime, by this thread only.
    #[inline(always)]
    pub const unsafe fn new(start: *mut u8) -> Self {
        Self { start, packet: PhantomData }
    }

    #[inline(always)]
    fn load<T: Copy, const AT: usize>(&self) -> T {
        const { assert!(AT + size_of::<T>() <= N, "read past the window") };
        // SAFETY: within the window by the assertion above.
        let at = unsafe { self.start.add(AT) }.cast::<T>();
        // BPF has loads of any alignment where the machine does (the verifier refuses the program
        // elsewhere), but LLVM would take an unaligned read apart into single bytes.
        #[cfg(target_arch = "bpf")]
        // SAFETY: in bounds as above; T is an integer, for which every bit pattern is valid.
        return unsafe { at.read() };
        #[cfg(not(target_arch = "bpf"))]
        // SAFETY: as above, and the read tolerates any alignment.
        return unsafe { at.read_unaligned() };
    }

    #[inline(always)]
    fn store<T: Copy, const AT: usize>(&self, value: T) {
        const { assert!(AT + size_of::<T>() <= N, "write past the window") };
        // SAFETY: within the window by the assertion above.
        let at = unsafe { self.start.add(AT) }.cast::<T>();
        #[cfg(target_arch = "bpf")]
        // SAFETY: in bounds and writable by `new`'s contract; alignment as in `load`.
        unsafe {
            at.write(value);
        }
        #[cfg(not(target_arch = "bpf"))]
        // SAFETY: as above, and the write tolerates any alignment.
        unsafe {
            at.write_unaligned(value);
        }
    }

    /// The byte at `AT`.
    #[inline(always)]
    pub fn u8<const AT: usize>(&self) -> u8 {
        self.load::<u8, AT>()
    }

    /// The two bytes at `AT`, as they stand.
    #[inline(always)]
    pub fn u16<const AT: usize>(&self) -> u16 {
        self.load::<u16, AT>()
    }

    /// The four bytes at `AT`, as they stand.
    #[inline(always)]
    pub fn u32<const AT: usize>(&self) -> u32 {
        self.load::<u32, AT>()
    }

    /// The eight bytes at `AT`, as they stand.
    #[inline(always)]
    pub fn u64<const AT: usize>(&self) -> u64 {
        self.load::<u64, AT>()
    }

    /// Sets the byte at `AT`.
    #[inline(always)]
    pub fn set_u8<const AT: usize>(&self, value: u8) {
        self.store::<u8, AT>(value);
    }

    /// Sets the two bytes at `AT`, as they are to stand.
    #[inline(always)]
    pub fn set_u16<const AT: usize>(&self, value: u16) {
        self.store::<u16, AT>(value);
    }

    /// Sets the four bytes at `AT`, as they are to stand.
    #[inline(always)]
    pub fn set_u32<const AT: usize>(&self, value: u32) {
        self.store::<u32, AT>(value);
    }

    /// Sets the eight bytes at `AT`, as they are to stand.
    #[inline(always)]
    pub fn set_u64<const AT: usize>(&self, value: u64) {
        self.store::<u64, AT>(value);
    }
}

/// Declares a word of a map that other CPUs or the daemon may read or write at any moment.
macro_rules! shared_word {
    ($(#[$about:meta])* $name:ident: $value:ident, $atomic:ident) => {
        $(#[$about])*
        ///
        /// Reads and writes are single: a reader sees some value that was written, never a mix of two.
        /// A read is ordered before what follows it, a write after what precedes it (on BPF, whose plain
        /// accesses say nothing of order, by the data dependency and by the exchange that publishes). The
        /// read-modify-write operations are atomic and ordered both ways.
        #[repr(transparent)]
        #[derive(Default)]
        pub struct $name(UnsafeCell<$value>);

        // SAFETY: all access goes through the methods, which are single machine accesses or atomic.
        unsafe impl Sync for $name {}
        // SAFETY: it owns a plain integer.
        unsafe impl Send for $name {}

        impl $name {
            /// A word with this value.
            #[inline(always)]
            pub const fn new(value: $value) -> Self {
                Self(UnsafeCell::new(value))
            }

            #[cfg(not(target_arch = "bpf"))]
            #[inline(always)]
            fn atomic(&self) -> &$atomic {
                // SAFETY: valid and aligned by its type; every access is single or atomic.
                unsafe { $atomic::from_ptr(self.0.get()) }
            }

            /// Its value now.
            #[inline(always)]
            pub fn get(&self) -> $value {
                // LLVM 22 cannot select atomic loads for BPF, so there it is a volatile access, which is
                // the same machine instruction.
                #[cfg(target_arch = "bpf")]
                // SAFETY: the cell is valid and aligned by its type.
                return unsafe { self.0.get().read_volatile() };
                #[cfg(not(target_arch = "bpf"))]
                return self.atomic().load(Ordering::Acquire);
            }

            /// Replaces its value.
            #[inline(always)]
            pub fn set(&self, value: $value) {
                #[cfg(target_arch = "bpf")]
                // SAFETY: as in `get`.
                unsafe {
                    self.0.get().write_volatile(value);
                }
                #[cfg(not(target_arch = "bpf"))]
                self.atomic().store(value, Ordering::Release);
            }

            /// Replaces `current` by `new`; false, and nothing changed, where something else stood there.
            #[inline(always)]
            pub fn exchange(&self, current: $value, new: $value) -> bool {
                #[cfg(target_arch = "bpf")]
                // SAFETY: as in `get`.
                return unsafe {
                    intrinsics::atomic_cxchg::<$value, { SEQ_CST }, { SEQ_CST }>(
                        self.0.get(),
                        current,
                        new,
                    )
                    .1
                };
                #[cfg(not(target_arch = "bpf"))]
                return self
                    .atomic()
                    .compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok();
            }
        }

        impl Clone for $name {
            fn clone(&self) -> Self {
                Self::new(self.get())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.get().fmt(f)
            }
        }
    };
}

shared_word! {
    /// A shared 64-bit word.
    Shared: u64, AtomicU64
}
shared_word! {
    /// A shared 32-bit word.
    Shared32: u32, AtomicU32
}

/// Declares operations that read, change and write a word in one step.
macro_rules! read_modify_write {
    ($($(#[$about:meta])* $name:ident: $method:ident, $intrinsic:ident;)+) => {
        impl Shared {
            $(
                $(#[$about])*
                #[inline(always)]
                pub fn $name(&self, operand: u64) -> u64 {
                    #[cfg(target_arch = "bpf")]
                    // SAFETY: the cell is valid and aligned by its type.
                    return unsafe {
                        intrinsics::$intrinsic::<u64, u64, { SEQ_CST }>(self.0.get(), operand)
                    };
                    #[cfg(not(target_arch = "bpf"))]
                    return self.atomic().$method(operand, Ordering::SeqCst);
                }
            )+
        }
    };
}

read_modify_write! {
    /// Adds, wrapping; adding `n.wrapping_neg()` takes away. Returns the word as it was.
    add: fetch_add, atomic_xadd;
    /// Sets the bits that are set in `operand`. Returns the word as it was.
    set_bits: fetch_or, atomic_or;
    /// Keeps only the bits that are set in `operand`. Returns the word as it was.
    keep_bits: fetch_and, atomic_and;
}

/// A frame in ordinary memory, with room to grow at the start as a driver leaves it.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Frame {
    buffer: UnsafeCell<Vec<u8>>,
    start: usize,
}

#[cfg(feature = "std")]
impl Frame {
    /// Room before the first byte (XDP_PACKET_HEADROOM).
    pub const HEADROOM: usize = 256;

    /// A frame of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0; Self::HEADROOM];
        buffer.extend_from_slice(bytes);
        Self { buffer: UnsafeCell::new(buffer), start: Self::HEADROOM }
    }

    /// Its bytes now.
    pub fn into_bytes(self) -> Vec<u8> {
        self.buffer.into_inner().split_off(self.start)
    }
}

#[cfg(feature = "std")]
impl Packet for Frame {
    fn len(&self) -> usize {
        // SAFETY: the type is not Sync and no reference to the buffer outlives a call.
        unsafe { &*self.buffer.get() }.len() - self.start
    }

    fn window<const N: usize>(&self, offset: usize) -> Option<Window<'_, N>> {
        (offset + N <= self.len()).then(|| {
            // SAFETY: as in `len`; in bounds by the test above. The buffer is only resized through
            // `&mut self`, which no window outlives.
            unsafe { Window::new((*self.buffer.get()).as_mut_ptr().add(self.start + offset)) }
        })
    }

    fn chunk(&self, offset: usize, len: usize) -> Option<[u32; CHUNK / 4]> {
        let mut bytes = [0; CHUNK];
        // SAFETY: as in `len`.
        let frame = unsafe { &*self.buffer.get() }.get(self.start..)?;
        bytes.get_mut(..len)?.copy_from_slice(frame.get(offset..offset + len)?);
        let mut words = [0; CHUNK / 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Some(words)
    }

    fn move_start(&mut self, by: i32) -> bool {
        let len = self.len();
        match self.start.checked_add_signed(by as isize) {
            Some(start) if start <= self.start + len => {
                self.start = start;
                true
            }
            _ => false,
        }
    }

    fn truncate(&mut self, len: usize) -> bool {
        let fits = len <= self.len();
        if fits {
            self.buffer.get_mut().truncate(self.start + len);
        }
        fits
    }
}
