//! The loaded object: its programs and its maps.

use std::fs;

use aya::maps::{Array, DevMap, HashMap, Map, MapError, MapInfo, PerCpuArray};
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, TracePoint, Xdp, xdp::XdpError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use privatelink_common::drop_reason::DROP_COUNTERS;
use privatelink_common::flow_table::Measures;
use privatelink_common::limits::{INTERFACE_SLOTS, MAX_TARGETS};
use privatelink_common::maglev;
use privatelink_common::records::{
    Address, AddressKey, Clock as ClockRecord, Drops, Endpoint, Interface, Listener, ListenerKey,
    Target, TargetKey,
};

use super::clock::{Clock, jiffies_per_second};
use super::error::DatapathError;
use super::flow_table::FlowTable;
use super::pins::{Pins, ensure_tracefs, pin_error};
use super::records::Record;
use crate::contents::{Contents, TargetWay, flow_table};
use crate::model::Model;
use crate::reconcile::{Change, Maps};

static OBJECT: &[u8] = include_bytes_aligned!(env!("PRIVATELINK_EBPF_OBJECT"));

/// The XDP programs of the object.
const PROGRAMS: [&str; 2] = ["privatelink", "clock"];

/// The maps that outlive the daemon.
const PINNED: [&str; 18] = [
    "ADDRESSES",
    "BALANCERS",
    "DEVICES",
    "DROPS",
    "ENDPOINTS",
    "FLOWS",
    "FLOW_FREE",
    "FLOW_INDEX",
    "FLOW_STRAYS",
    "FLOW_USAGE",
    "ICMP_BUDGETS",
    "INTERFACES",
    "LISTENERS",
    "MAGLEV",
    "RESERVED_PORTS",
    "SETTINGS",
    "TARGETS",
    "TARGET_KEYS",
];

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

/// How large the maps are to be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of the flow table.
    pub flow_table: Measures,
    /// How many Maglev tables.
    pub pools: usize,
}

impl Sizes {
    /// For a model.
    pub fn of(model: &Model) -> Self {
        Self { flow_table: flow_table(model), pools: model.target_groups.len() }
    }

    fn by_map(self) -> [(&'static str, u32); 5] {
        const FEWEST_POOLS: usize = 64;
        let Measures { halves, buckets, free_words, stray_words } = self.flow_table;
        [
            ("MAGLEV", self.pools.next_power_of_two().max(FEWEST_POOLS) as u32),
            ("FLOWS", halves),
            ("FLOW_INDEX", buckets),
            ("FLOW_FREE", free_words),
            ("FLOW_STRAYS", stray_words),
        ]
    }
}

/// Whether an earlier daemon left all maps, in the sizes wanted.
fn are_adoptable(pins: &Pins, wanted: &[(&'static str, u32)]) -> Result<bool, DatapathError> {
    // Some without the others: a daemon that died while it made them, before anything was attached.
    if !PINNED.iter().all(|name| pins.map(name).exists()) {
        for path in PINNED.iter().map(|name| pins.map(name)).filter(|path| path.exists()) {
            fs::remove_file(&path).map_err(|error| pin_error(&path, &error.to_string()))?;
        }
        return Ok(false);
    }
    for &(map, wanted) in wanted {
        let info = MapInfo::from_pin(pins.map(map)).map_err(|e| map_error(map, e))?;
        let found = info.max_entries();
        if found != wanted {
            return Err(DatapathError::OtherSize { map, found, wanted });
        }
    }
    Ok(true)
}

/// The programs, loaded, and their maps.
pub struct Datapath {
    ebpf: Ebpf,
    adopted: bool,
    jiffies_per_second: u64,
}

impl Datapath {
    /// Loads the object with tables of these sizes; nothing is attached yet. With `pins`, maps that an earlier daemon
    /// left there go on with all they hold, and others are pinned there.
    pub fn load(sizes: Sizes, pins: Option<&Pins>) -> Result<(Self, FlowTable), DatapathError> {
        let wanted = sizes.by_map();
        let mut loader = EbpfLoader::new();
        for (name, elements) in wanted {
            loader.map_max_entries(name, elements);
        }
        let adopted = match pins {
            Some(pins) => {
                for name in PINNED {
                    loader.map_pin_path(name, pins.map(name));
                }
                are_adoptable(pins, &wanted)?
            }
            None => false,
        };
        let mut ebpf = loader.load(OBJECT).map_err(|error| match error {
            aya::EbpfError::ProgramError(error) => DatapathError::load(error),
            error => DatapathError::load_object(error),
        })?;
        for name in PROGRAMS {
            xdp(&mut ebpf, name)?.load().map_err(DatapathError::load)?;
        }
        let flow_table = FlowTable::new(&ebpf, sizes.flow_table, adopted)?;
        Ok((Self { ebpf, adopted, jiffies_per_second: jiffies_per_second() }, flow_table))
    }

    /// What maps hold that an earlier daemon left, as far as it is needed to go on from there; `None` where they are new.
    /// Endpoints, load balancers and pools are left out, and so written anew.
    pub fn adopted(&mut self) -> Result<Option<Contents>, DatapathError> {
        if !self.adopted {
            return Ok(None);
        }
        let mut contents = Contents {
            settings: self.get("SETTINGS", 0)?,
            addresses: self.elements::<AddressKey, Address>("ADDRESSES")?,
            listeners: self.elements::<ListenerKey, Listener>("LISTENERS")?,
            ..Contents::default()
        };
        for slot in 0..INTERFACE_SLOTS {
            let interface: Interface = self.get("INTERFACES", slot)?;
            if interface.ifindex != 0 {
                contents.interfaces.insert(slot, interface);
            }
        }
        let keys: HashMap<_, <TargetKey as Record>::Words, u32> =
            HashMap::try_from(self.map("TARGET_KEYS")?).map_err(|e| map_error("TARGET_KEYS", e))?;
        let keys = keys.iter().collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|e| map_error("TARGET_KEYS", e))?.into_iter();
        contents.target_keys =
            keys.map(|(key, number)| (TargetKey::from_words(&key), number)).collect();
        for number in 0..MAX_TARGETS as u32 {
            let target: Target = self.get("TARGETS", number)?;
            if target.vpc != 0 {
                contents.targets.insert(number, TargetWay::of(&target));
            }
        }
        Ok(Some(contents))
    }

    fn elements<K: Record + Eq + std::hash::Hash, V: Record>(
        &mut self,
        name: &'static str,
    ) -> Result<std::collections::HashMap<K, V>, DatapathError> {
        let map: HashMap<_, K::Words, V::Words> =
            HashMap::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        let element = |element| {
            let (key, value) = element?;
            Ok((K::from_words(&key), V::from_words(&value)))
        };
        map.iter().map(element).collect::<Result<_, _>>().map_err(|e| map_error(name, e))
    }

    fn get<R: Record>(&mut self, name: &'static str, index: u32) -> Result<R, DatapathError> {
        let map: Array<_, R::Words> =
            Array::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        map.get(&index, 0).map(|words| R::from_words(&words)).map_err(|e| map_error(name, e))
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

    /// Makes an interface known, or changed: first as a device to send by, then as one to receive from. The kernel
    /// has removed a deleted device from the device map itself.
    fn set_interface(
        &mut self,
        slot: u32,
        interface: Option<&Interface>,
    ) -> Result<(), DatapathError> {
        if let Some(interface) = interface {
            let mut devices =
                DevMap::try_from(self.map("DEVICES")?).map_err(|e| map_error("DEVICES", e))?;
            devices.set(slot, interface.ifindex, None, 0).map_err(|e| DatapathError::Program {
                program: "privatelink",
                cause: format!("map DEVICES: {e}"),
            })?;
        }
        self.set("INTERFACES", slot, interface.unwrap_or(&Interface::default()))
    }

    /// Replaces an endpoint's record.
    pub fn set_endpoint(&mut self, number: u32, endpoint: &Endpoint) -> Result<(), DatapathError> {
        self.set("ENDPOINTS", number, endpoint)
    }

    /// Replaces a target's record.
    pub fn set_target(&mut self, number: u32, target: &Target) -> Result<(), DatapathError> {
        self.set("TARGETS", number, target)
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

    /// Puts an element into a hash map, or takes it out.
    fn put<K: aya::Pod, V: aya::Pod>(
        &mut self,
        name: &'static str,
        key: K,
        value: Option<V>,
    ) -> Result<(), DatapathError> {
        let mut map: HashMap<_, K, V> =
            HashMap::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        let done = match value {
            Some(value) => map.insert(key, value, 0),
            None => match map.remove(&key) {
                Err(MapError::KeyNotFound) => Ok(()),
                removed => removed,
            },
        };
        done.map_err(|e| map_error(name, e))
    }
}

impl Maps for Datapath {
    type Error = DatapathError;

    fn write(&mut self, change: &Change) -> Result<(), DatapathError> {
        match change {
            Change::Settings(settings) => self.set("SETTINGS", 0, settings),
            Change::Interface(slot, record) => self.set_interface(*slot, record.as_ref()),
            Change::Target(number, target) => self
                .set_target(*number, &target.as_ref().map(TargetWay::record).unwrap_or_default()),
            Change::TargetKey(key, number) => self.put("TARGET_KEYS", key.to_words(), *number),
            Change::Pool(number, pool) => {
                self.set_maglev(*number, &maglev::Table::build(pool.as_deref().unwrap_or_default()))
            }
            Change::LoadBalancer(number, record) => {
                self.set("BALANCERS", *number, &record.unwrap_or_default())
            }
            Change::Endpoint(number, record) => {
                self.set_endpoint(*number, record.as_deref().unwrap_or(&Endpoint::default()))
            }
            Change::Listener(key, record) => {
                self.put("LISTENERS", key.to_words(), record.as_ref().map(Record::to_words))
            }
            Change::Address(key, record) => {
                self.put("ADDRESSES", key.to_words(), record.as_ref().map(Record::to_words))
            }
        }
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, DatapathError> {
    ebpf.program_mut(name)
        .ok_or(DatapathError::Object(name))?
        .try_into()
        .map_err(|error: ProgramError| program_error(name, &error))
}

const fn map_error(map: &'static str, source: MapError) -> DatapathError {
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
