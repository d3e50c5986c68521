//! The maps. Userspace sets the sizes of those that grow with the number of flows.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMap, HashMap, PerCpuArray, ProgramArray};

use crate::records::{Drive, Rewrite, Tuple};

/// What the frames of the clients are addressed by, in the order in which they are sent.
#[map]
pub(crate) static FORWARD: Array<Tuple> = Array::with_max_entries(1, 0);
/// What the targets' answers are addressed by, in the same order.
#[map]
pub(crate) static REVERSE: Array<Tuple> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static DRIVE: Array<Drive> = Array::with_max_entries(1, 0);
/// The programs under test.
#[map]
pub(crate) static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(4, 0);
/// The flows of the NAT compared with.
#[map]
pub(crate) static NAT: HashMap<Tuple, Rewrite> = HashMap::with_max_entries(1, 0);
#[map]
pub(crate) static DEVICES: DevMap = DevMap::with_max_entries(2, 0);
/// The interface by which frames leave that arrive by another, by their indexes.
#[map]
pub(crate) static BESIDE: HashMap<u32, u32> = HashMap::with_max_entries(2, 0);
/// Frames that arrived where they should.
#[map]
pub(crate) static ARRIVED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
