//! The loaded object: its programs and its maps.

use aya::maps::{Array, DevMap, HashMap, Map, PerCpuArray};
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, TracePoint, Xdp, xdp::XdpError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use privatelink_common::drop_reason::DROP_COUNTERS;
use privatelink_common::maglev;
use privatelink_common::records::{Clock as ClockRecord, Drops, Endpoint, Interface, Target};

use super::attach::ensure_tracefs;
use super::clock::{Clock, jiffies_per_second};
use super::error::DatapathError;
use super::flow_table::FlowTable;
use super::records::Record;
use crate::contents::Contents;

static OBJECT: &[u8] = include_bytes_aligned!(env!("PRIVATELINK_EBPF_OBJECT"));

/// The XDP programs of the object.
const PROGRAMS: [&str; 2] = ["privatelink", "clock"];

/// What the program decided about a test frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// XDP_ABORTED: never wanted.
    Aborted,
    /// XDP_DROP.
    Drop,
    /// XDP_PASS.
    Pass,
    /// XDP_TX.
    Tx,
    /// XDP_REDIRECT.
    Redirect,
}

/// Result of running a program on a test frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// What the program decided.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean nanoseconds per run, the harness' own cost included.
    pub nanoseconds: u64,
}

/// The programs, loaded, and their maps.
pub struct Datapath {
    ebpf: Ebpf,
    jiffies_per_second: u64,
}

impl Datapath {
    /// Loads the object with tables large enough for these contents; nothing is attached yet, and the tables are
    /// empty.
    pub fn load(contents: &Contents) -> Result<Self, DatapathError> {
        const FEWEST_GROUPS: usize = 64;
        let groups = contents.maglev.len().next_power_of_two().max(FEWEST_GROUPS) as u32;
        let flow_table = contents.flow_table;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("MAGLEV", groups)
            .map_max_entries("FLOWS", flow_table.halves)
            .map_max_entries("FLOW_INDEX", flow_table.buckets)
            .map_max_entries("FLOW_FREE", flow_table.free_words)
            .map_max_entries("FLOW_STRAYS", flow_table.stray_words)
            .load(OBJECT)
            .map_err(|error| match error {
                aya::EbpfError::ProgramError(error) => DatapathError::load(error),
                error => DatapathError::load_object(error),
            })?;
        for name in PROGRAMS {
            xdp(&mut ebpf, name)?.load().map_err(DatapathError::load)?;
        }
        Ok(Self { ebpf, jiffies_per_second: jiffies_per_second() })
    }

    /// Writes what the model asks for into the maps, which no program may read yet; returns the flow table.
    pub fn install(&mut self, contents: &Contents) -> Result<FlowTable, DatapathError> {
        self.set("SETTINGS", 0, &contents.settings)?;
        for (index, endpoint) in contents.endpoints.iter().enumerate() {
            self.set_endpoint(index as u32, endpoint)?;
        }
        for (index, balancer) in contents.load_balancers.iter().enumerate() {
            self.set("BALANCERS", index as u32, balancer)?;
        }
        for (index, target) in contents.targets.iter().enumerate() {
            self.set_target(index as u32, target)?;
        }
        for (index, table) in contents.maglev.iter().enumerate() {
            self.set_maglev(index as u32, table)?;
        }
        for (key, value) in &contents.target_keys {
            self.insert_raw("TARGET_KEYS", key.to_words(), *value)?;
        }
        for (key, value) in &contents.listeners {
            self.insert_raw("LISTENERS", key.to_words(), value.to_words())?;
        }
        for (key, value) in &contents.addresses {
            self.insert_raw("ADDRESSES", key.to_words(), value.to_words())?;
        }
        for (slot, interface) in &contents.interfaces {
            self.set_interface(*slot, interface)?;
        }
        FlowTable::new(&self.ebpf, contents)
    }

    /// Marks the ports (host order) that no lease may have, one bit each, the lowest port in the lowest bit.
    pub fn set_reserved_ports(&mut self, words: &[(u32, u64)]) -> Result<(), DatapathError> {
        const MAP: &str = "RESERVED_PORTS";
        let mut map: Array<_, u64> =
            Array::try_from(self.map(MAP)?).map_err(|e| map_error(MAP, e))?;
        for &(index, word) in words {
            map.set(index, word, 0).map_err(|e| map_error(MAP, e))?;
        }
        Ok(())
    }

    /// Makes an interface known, or changed: first as a device to send by, then as one to receive from.
    pub fn set_interface(&mut self, slot: u32, interface: &Interface) -> Result<(), DatapathError> {
        let mut devices =
            DevMap::try_from(self.map("DEVICES")?).map_err(|e| map_error("DEVICES", e))?;
        devices.set(slot, interface.ifindex, None, 0).map_err(|e| DatapathError::Program {
            program: "privatelink",
            cause: format!("map DEVICES: {e}"),
        })?;
        self.set("INTERFACES", slot, interface)
    }

    /// Frees an interface's slot. The kernel has removed a deleted device from the device map itself.
    pub fn clear_interface(&mut self, slot: u32) -> Result<(), DatapathError> {
        self.set("INTERFACES", slot, &Interface::default())
    }

    /// Replaces an endpoint's record.
    pub fn set_endpoint(&mut self, index: u32, endpoint: &Endpoint) -> Result<(), DatapathError> {
        self.set("ENDPOINTS", index, endpoint)
    }

    /// Replaces a target's record.
    pub fn set_target(&mut self, index: u32, target: &Target) -> Result<(), DatapathError> {
        self.set("TARGETS", index, target)
    }

    /// Replaces a target group's Maglev table.
    pub fn set_maglev(
        &mut self,
        target_group: u32,
        table: &maglev::Table,
    ) -> Result<(), DatapathError> {
        self.set("MAGLEV", target_group, table)
    }

    /// Packets dropped on the interface in a slot, by the number of the reason, over all CPUs.
    pub fn drops(&self, slot: u32) -> Result<[u64; DROP_COUNTERS], DatapathError> {
        let map = self.ebpf.map("DROPS").ok_or(DatapathError::Object("map DROPS"))?;
        let map: PerCpuArray<_, <Drops as Record>::Words> =
            PerCpuArray::try_from(map).map_err(|e| map_error("DROPS", e))?;
        let per_cpu = map.get(&slot, 0).map_err(|e| map_error("DROPS", e))?;
        let mut sums = [0; DROP_COUNTERS];
        for words in per_cpu.iter() {
            for (sum, count) in sums.iter_mut().zip(Drops::from_words(words).0) {
                *sum += count;
            }
        }
        Ok(sums)
    }

    /// The moment on the clock that records are stamped by.
    pub fn clock(&mut self) -> Result<Clock, DatapathError> {
        self.run_program("clock", &[0; 64], 0, 1)?;
        let map: Array<_, <ClockRecord as Record>::Words> =
            Array::try_from(self.map("CLOCK")?).map_err(|e| map_error("CLOCK", e))?;
        let words = map.get(&0, 0).map_err(|e| map_error("CLOCK", e))?;
        Ok(Clock {
            jiffies: ClockRecord::from_words(&words).jiffies,
            per_second: self.jiffies_per_second,
        })
    }

    /// Counts frames that interfaces refuse after a redirect, from now on.
    pub fn watch_transmissions(&mut self) -> Result<(), DatapathError> {
        ensure_tracefs().map_err(|error| DatapathError::Program {
            program: "xmit",
            cause: error.to_string(),
        })?;
        self.watch("xmit", "xdp_devmap_xmit")?;
        self.watch("redirect_err", "xdp_redirect_err")
    }

    fn watch(&mut self, name: &'static str, tracepoint: &str) -> Result<(), DatapathError> {
        let failed = |error: ProgramError| DatapathError::Program {
            program: name,
            cause: error.to_string(),
        };
        let program: &mut TracePoint = self
            .ebpf
            .program_mut(name)
            .ok_or(DatapathError::Object("a tracepoint program"))?
            .try_into()
            .map_err(failed)?;
        program.load().map_err(failed)?;
        program.attach("xdp", tracepoint).map(drop).map_err(failed)
    }

    /// Instructions the verifier walked through to accept the program (kernel 5.16).
    pub fn verified_instructions(&mut self) -> Result<Option<u32>, DatapathError> {
        let info = self.program()?.info().map_err(|e| program_error("privatelink", &e))?;
        Ok(info.verified_instruction_count())
    }

    /// Runs the data path on a frame as if it had arrived on an interface (BPF_PROG_TEST_RUN).
    pub fn test_run(
        &mut self,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<TestRun, DatapathError> {
        self.run_program("privatelink", frame, ifindex, repeat)
    }

    pub(super) fn program(&mut self) -> Result<&mut Xdp, DatapathError> {
        xdp(&mut self.ebpf, "privatelink")
    }

    fn run_program(
        &mut self,
        name: &'static str,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<TestRun, DatapathError> {
        let mut frame_out = vec![0; frame.len() + 64];
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut frame_out),
            ctx_in: (ifindex != 0).then_some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        let result =
            xdp(&mut self.ebpf, name)?.test_run(options).map_err(|e| program_error(name, &e))?;
        frame_out.truncate(result.data_size_out as usize);
        let verdict = match result.return_value {
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Tx,
            4 => Verdict::Redirect,
            _ => Verdict::Aborted,
        };
        Ok(TestRun { verdict, frame: frame_out, nanoseconds: result.duration.as_nanos() as u64 })
    }

    fn map(&mut self, name: &'static str) -> Result<&mut Map, DatapathError> {
        self.ebpf.map_mut(name).ok_or(DatapathError::Object(name))
    }

    fn set<R: Record>(
        &mut self,
        name: &'static str,
        index: u32,
        record: &R,
    ) -> Result<(), DatapathError> {
        let mut map: Array<_, R::Words> =
            Array::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        map.set(index, record.to_words(), 0).map_err(|e| map_error(name, e))
    }

    fn insert_raw<K: aya::Pod, V: aya::Pod>(
        &mut self,
        name: &'static str,
        key: K,
        value: V,
    ) -> Result<(), DatapathError> {
        let mut map: HashMap<_, K, V> =
            HashMap::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        map.insert(key, value, 0).map_err(|e| map_error(name, e))
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, DatapathError> {
    ebpf.program_mut(name)
        .ok_or(DatapathError::Object(name))?
        .try_into()
        .map_err(|error: ProgramError| program_error(name, &error))
}

const fn map_error(map: &'static str, source: aya::maps::MapError) -> DatapathError {
    DatapathError::Map { map, source }
}

pub(super) fn program_error(program: &'static str, error: &ProgramError) -> DatapathError {
    let cause = match (error, super::error::errno(error)) {
        (ProgramError::XdpError(XdpError::NetlinkError(error)), _) => error.to_string(),
        (_, Some(errno)) => format!("{error}: {}", std::io::Error::from_raw_os_error(errno)),
        _ => error.to_string(),
    };
    DatapathError::Program { program, cause }
}
