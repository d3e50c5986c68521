//! The loaded object: its programs and its maps.

use aya::maps::{Array, Map, MapError, PerCpuArray, ProgramArray};
use aya::programs::{
    ProgramError, TestRun as _, TestRunOptions, TestRunResult, TracePoint, Xdp, xdp::XdpError,
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
use super::records::Record;
use super::write::unless_missing;

static OBJECT: &[u8] = include_bytes_aligned!(env!("PRIVATELINK_EBPF_OBJECT"));

/// Programs of the data path: the one that is attached, and its stages.
const PARTS: usize = 1 + Stage::ALL.len();
/// The data path: the program that is attached, and those that it calls, in the order of [`Stage::ALL`].
const DATA_PATH: [&str; PARTS] = [
    "privatelink",
    "other",
    "fragments",
    "wide",
    "wide_new",
    "wide_other",
    "refused",
    "wide_fragments",
];
/// The same while packets are captured.
const WATCHED: [&str; PARTS] = [
    "watched",
    "watched_other",
    "watched_fragments",
    "watched_wide",
    "watched_new",
    "watched_wother",
    "watched_refused",
    "watched_wfrags",
];
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
    pub(super) tables: TableNumbers,
    pub(super) most_pools: usize,
    jiffies_per_second: u64,
}

impl Datapath {
    /// Loads the object with tables of these sizes, but for the wide table's programs; nothing is attached yet. With `pins`,
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
            most_pools: sizes.most_pools(),
            tables: TableNumbers::new(sizes.tables()),
            jiffies_per_second: jiffies_per_second(),
        };
        datapath.load_parts(DATA_PATH)?;
        datapath.set("MAGLEV", NO_TABLE, &maglev::Table::EMPTY)?;
        // An earlier daemon's program is to call its own until ours is swapped in.
        if !adopted {
            datapath.join_stages()?;
        }
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
        self.run_program("clock", &[0; 64], None, 0, 1)?;
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

    /// Loads the wide table's programs, unless they are loaded: to be done before the maps hold any IPv6 address. They are
    /// called once the program is attached anew, or by `join_stages`.
    pub fn load_wide(&mut self) -> Result<(), DatapathError> {
        let before = std::mem::replace(&mut self.wide, true);
        let loaded = self.load_parts(self.program_names());
        self.wide = before || loaded.is_ok();
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
        let names = self.wanted(self.program_names());
        let verified = |name| {
            let info = xdp(&mut self.ebpf, name)?.info().map_err(|e| program_error(name, &e))?;
            Ok((name, info.verified_instruction_count()))
        };
        names.map(verified).collect()
    }

    /// Runs the data path on a frame as if it had arrived on an interface (BPF_PROG_TEST_RUN).
    pub fn test_run(
        &mut self,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<TestRun, DatapathError> {
        let mut frame_out = vec![0; frame.len() + 64];
        let name = self.program_name();
        let result = self.run_program(name, frame, Some(&mut frame_out), ifindex, repeat)?;
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
        let result = self.run_program("end_flows", &frame, None, 0, 1)?;
        Ok(result.return_value as usize)
    }

    const fn program_names(&self) -> [&'static str; PARTS] {
        if self.watched { WATCHED } else { DATA_PATH }
    }

    /// Of the programs of a data path, those that are to be loaded.
    fn wanted(&self, names: [&'static str; PARTS]) -> impl Iterator<Item = &'static str> + use<> {
        let stages = [None].into_iter().chain(Stage::ALL.map(Some));
        let wide = self.wide;
        let wanted = move |stage: Option<Stage>| wide || !stage.is_some_and(Stage::is_wide);
        names.into_iter().zip(stages).filter(move |(_, stage)| wanted(*stage)).map(|(name, _)| name)
    }

    /// Loads those of a data path that are wanted, unless they are loaded.
    fn load_parts(&mut self, names: [&'static str; PARTS]) -> Result<(), DatapathError> {
        self.wanted(names).try_for_each(|name| load(&mut self.ebpf, name))
    }

    pub(super) const fn program_name(&self) -> &'static str {
        let [name, ..] = self.program_names();
        name
    }

    pub(super) fn program(&mut self) -> Result<&mut Xdp, DatapathError> {
        let name = self.program_name();
        xdp(&mut self.ebpf, name)
    }

    /// Has the program that is to be attached call the stages of this object. One that is attached does so too from now
    /// on: the maps are to be filled before. While nothing is captured the watched stages' places have the usual ones, so
    /// that no earlier daemon's is kept.
    pub(super) fn join_stages(&mut self) -> Result<(), DatapathError> {
        const MAP: &str = "STAGES";
        let [_, names @ ..] = self.program_names();
        let usual = (!self.watched).then_some(false);
        for (stage, name) in Stage::ALL.into_iter().zip(names) {
            let failed = |error: ProgramError| program_error(name, &error);
            let program = match self.wide || !stage.is_wide() {
                true => Some(xdp(&mut self.ebpf, name)?.fd().map_err(failed)?.try_clone()),
                false => None,
            };
            let program = program.transpose().map_err(|error| failed(error.into()))?;
            let map = self.map(MAP)?;
            let mut stages = ProgramArray::try_from(map).map_err(|e| map_error(MAP, e))?;
            for place in usual.into_iter().chain([true]).map(|watched| stage.place(watched)) {
                let done = match &program {
                    Some(program) => stages.set(place, program, 0),
                    None => unless_missing(stages.clear_index(&place)),
                };
                done.map_err(|e| map_error(MAP, e))?;
            }
        }
        Ok(())
    }

    /// Loads the watched programs, unless they are loaded.
    pub fn load_watched(&mut self) -> Result<(), DatapathError> {
        self.load_parts(WATCHED)
    }

    fn run_program(
        &mut self,
        name: &'static str,
        frame: &[u8],
        frame_out: Option<&mut [u8]>,
        ifindex: u32,
        repeat: u32,
    ) -> Result<TestRunResult, DatapathError> {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: frame_out,
            ctx_in: (ifindex != 0).then_some(&context),
            repeat,
            ..TestRunOptions::default()
        };
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

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Xdp, DatapathError> {
    ebpf.program_mut(name)
        .ok_or(DatapathError::Object(name))?
        .try_into()
        .map_err(|error: ProgramError| program_error(name, &error))
}

/// Loads a program, unless it is loaded.
fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), DatapathError> {
    match xdp(ebpf, name)?.load() {
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
