//! The loaded object: its programs and its maps.

use aya::maps::{Array, Map, MapError, PerCpuArray, ProgramArray};
use aya::programs::{
    Program, ProgramError, ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, TestRunResult,
    TracePoint, Xdp, xdp::XdpError,
};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use privatelink_common::drop_reason::DROP_COUNTERS;
use privatelink_common::flow_table::ending::{self, Ending};
use privatelink_common::maglev;
use privatelink_common::records::{Clock as ClockRecord, Drops};
use privatelink_common::stages::Stage;
use privatelink_common::ticks::Tick;

use super::adopt::{PINNED, Sizes, are_adoptable};
use super::clock::{Clock, jiffies_per_second};
use super::error::DatapathError;
use super::flow_table::FlowTable;
use super::pins::{Pins, ensure_tracefs};
use super::pools::{NO_TABLE, TableNumbers};
use super::program_kind::ProgramKind;
use super::records::Record;
use super::write::unless_missing;

static OBJECT: &[u8] = include_bytes_aligned!(env!("PRIVATELINK_EBPF_OBJECT"));

/// What else is always loaded.
const TOOLS: [&str; 2] = ["clock", "end_flows"];

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
    pub(super) ebpf: Ebpf,
    pub(super) adopted: bool,
    pub(super) watched: bool,
    /// Whether the wide table's programs are loaded.
    wide: bool,
    /// Of which kinds the programs are loaded.
    kinds: Vec<ProgramKind>,
    pub(super) tables: TableNumbers,
    pub(super) most_pools: usize,
    jiffies_per_second: u64,
}

impl Datapath {
    /// Loads the object with tables of these sizes, and none of the data path's programs yet. With `pins`,
    /// maps that an earlier daemon left there go on with all they hold, and others are pinned there.
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
        for name in TOOLS {
            load(&mut ebpf, name)?;
        }
        let flow_table = FlowTable::new(&ebpf, sizes, adopted)?;
        let mut datapath = Self {
            ebpf,
            adopted,
            watched: false,
            wide: false,
            kinds: Vec::new(),
            most_pools: sizes.most_pools(),
            tables: TableNumbers::new(sizes.tables()),
            jiffies_per_second: jiffies_per_second(),
        };
        datapath.set("MAGLEV", NO_TABLE, &maglev::Table::EMPTY)?;
        Ok((datapath, flow_table))
    }

    /// Whether there is room for so many pools of targets.
    ///
    /// # Errors
    ///
    /// There is not.
    pub const fn has_room_for(&self, pools: usize) -> Result<(), DatapathError> {
        if pools > self.most_pools {
            return Err(DatapathError::TooManyPools { most: self.most_pools });
        }
        Ok(())
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
        self.run_tool("clock", &[0; 64])?;
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

    /// Loads the wide table's programs too, now and of kinds that are loaded later: to be done before the maps hold any IPv6
    /// address. They are called once the program is attached anew, or by `join_stages`.
    pub fn load_wide(&mut self) -> Result<(), DatapathError> {
        let before = std::mem::replace(&mut self.wide, true);
        let loaded = self.load_parts();
        self.wide = before || loaded.is_ok();
        loaded
    }

    /// Loads the programs of a kind, unless they are loaded: to be done before one is attached.
    pub fn load_kind(&mut self, kind: ProgramKind) -> Result<(), DatapathError> {
        if self.kinds.contains(&kind) {
            return Ok(());
        }
        self.kinds.push(kind);
        let loaded = self.load_parts();
        if loaded.is_err() {
            self.kinds.pop();
        }
        loaded
    }

    /// Has the program that is attached call the wide table's too, which are loaded if they are not.
    pub fn call_wide(&mut self) -> Result<(), DatapathError> {
        if self.wide {
            return Ok(());
        }
        self.load_wide()?;
        let joined = self.join_stages();
        self.wide = joined.is_ok();
        joined
    }

    /// The programs of the data path, with the instructions the verifier walked through to accept each (kernel 5.16).
    pub fn verified_instructions(
        &mut self,
    ) -> Result<Vec<(&'static str, Option<u32>)>, DatapathError> {
        let names = self.wanted(self.watched);
        let verified = |name| {
            let info =
                program(&mut self.ebpf, name)?.info().map_err(|e| program_error(name, &e))?;
            Ok((name, info.verified_instruction_count()))
        };
        names.into_iter().map(verified).collect()
    }

    /// Runs the XDP programs on a frame as if it had arrived on an interface (BPF_PROG_TEST_RUN).
    pub fn test_run(
        &mut self,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<TestRun, DatapathError> {
        let mut frame_out = vec![0; frame.len() + 128];
        let [name, ..] = ProgramKind::Xdp.programs(self.watched);
        let context = xdp_context(frame, ifindex);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut frame_out),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        let result = xdp(&mut self.ebpf, name)?.test_run(options);
        let result = result.map_err(|e| program_error(name, &e))?;
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

    /// Ends flows, [`ending::MOST`] at most; how many.
    pub fn end(&mut self, endings: &[Ending], now: Tick) -> Result<usize, DatapathError> {
        let frame = ending::frame(endings, now);
        let result = self.run_tool("end_flows", &frame)?;
        Ok(result.return_value as usize)
    }

    /// The programs that are to be loaded, the usual ones or those of captures.
    fn wanted(&self, watched: bool) -> Vec<&'static str> {
        let stages = || [None].into_iter().chain(Stage::ALL.map(Some));
        let of_kinds =
            self.kinds.iter().flat_map(|kind| kind.programs(watched).into_iter().zip(stages()));
        of_kinds
            .filter(|(_, stage)| self.wide || !stage.is_some_and(Stage::is_wide))
            .map(|(name, _)| name)
            .collect()
    }

    /// Loads what is wanted, unless it is loaded: the usual programs also while others run, which go when the capture ends.
    fn load_parts(&mut self) -> Result<(), DatapathError> {
        self.load_programs(false)?;
        if self.watched { self.load_programs(true) } else { Ok(()) }
    }

    /// Loads the usual programs or those of captures, unless they are loaded.
    pub(super) fn load_programs(&mut self, watched: bool) -> Result<(), DatapathError> {
        self.wanted(watched).into_iter().try_for_each(|name| load(&mut self.ebpf, name))
    }

    /// The program to attach by XDP.
    pub(super) fn program(&mut self) -> Result<&mut Xdp, DatapathError> {
        let [name, ..] = ProgramKind::Xdp.programs(self.watched);
        xdp(&mut self.ebpf, name)
    }

    /// The program to attach as a classifier.
    pub(super) fn classifier(&mut self) -> Result<&mut SchedClassifier, DatapathError> {
        let [name, ..] = ProgramKind::Classifier.programs(self.watched);
        program(&mut self.ebpf, name)?
            .try_into()
            .map_err(|error: ProgramError| program_error(name, &error))
    }

    /// Has the programs that are loaded call the stages of this object. One that is attached does so too from now
    /// on: the maps are to be filled before. While nothing is captured the watched stages' places have the usual ones, so
    /// that no earlier daemon's is kept.
    pub(super) fn join_stages(&mut self) -> Result<(), DatapathError> {
        for kind in self.kinds.clone() {
            for watched in [false, true] {
                let [_, names @ ..] = kind.programs(watched && self.watched);
                for (stage, name) in Stage::ALL.into_iter().zip(names) {
                    self.join(kind, stage, watched, name)?;
                }
            }
        }
        Ok(())
    }

    /// Has a stage, or its watched twin, be a program, unless that is not wanted.
    fn join(
        &mut self,
        kind: ProgramKind,
        stage: Stage,
        watched: bool,
        name: &'static str,
    ) -> Result<(), DatapathError> {
        let failed = |error| map_error(kind.stages(), error);
        let wanted = self.wide || !stage.is_wide();
        let program = wanted.then(|| descriptor(&mut self.ebpf, name)).transpose()?;
        let mut stages = ProgramArray::try_from(self.map(kind.stages())?).map_err(failed)?;
        let place = stage.place(watched);
        let done = match program {
            Some(program) => stages.set(place, &program, 0),
            None => unless_missing(stages.clear_index(&place)),
        };
        done.map_err(failed)
    }

    fn run_tool(
        &mut self,
        name: &'static str,
        frame: &[u8],
    ) -> Result<TestRunResult, DatapathError> {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        xdp(&mut self.ebpf, name)?.test_run(options).map_err(|e| program_error(name, &e))
    }

    pub(super) fn map(&mut self, name: &'static str) -> Result<&mut Map, DatapathError> {
        self.ebpf.map_mut(name).ok_or(DatapathError::Object(name))
    }

    pub(super) fn get<R: Record>(
        &mut self,
        name: &'static str,
        index: u32,
    ) -> Result<R, DatapathError> {
        let map: Array<_, R::Words> =
            Array::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        map.get(&index, 0).map(|words| R::from_words(&words)).map_err(|e| map_error(name, e))
    }

    pub(super) fn set<R: Record>(
        &mut self,
        name: &'static str,
        index: u32,
        record: &R,
    ) -> Result<(), DatapathError> {
        let mut map: Array<_, R::Words> =
            Array::try_from(self.map(name)?).map_err(|e| map_error(name, e))?;
        map.set(index, record.to_words(), 0).map_err(|e| map_error(name, e))
    }
}

/// A `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn xdp_context(frame: &[u8], ifindex: u32) -> Vec<u8> {
    [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat()
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Program, DatapathError> {
    ebpf.program_mut(name).ok_or(DatapathError::Object(name))
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, DatapathError> {
    program(ebpf, name)?.try_into().map_err(|error: ProgramError| program_error(name, &error))
}

/// A descriptor of a loaded program.
fn descriptor(ebpf: &mut Ebpf, name: &'static str) -> Result<ProgramFd, DatapathError> {
    let failed = |error: ProgramError| program_error(name, &error);
    let descriptor = program(ebpf, name)?.fd().map_err(failed)?;
    descriptor.try_clone().map_err(|error| failed(error.into()))
}

/// Loads a program, unless it is loaded.
fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), DatapathError> {
    let loaded = match program(ebpf, name)? {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => return Err(DatapathError::Object(name)),
    };
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(DatapathError::load(error)),
    }
}

pub(super) const fn map_error(map: &'static str, source: MapError) -> DatapathError {
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
