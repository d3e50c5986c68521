//! The benchmark's own eBPF object.
#![expect(unsafe_code, reason = "records are moved to and from the bytes that the kernel stores")]

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, DevMap, HashMap, PerCpuArray, ProgramArray};
use aya::programs::{
    ProgramFd, SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs, TestRunOptions, Xdp,
    XdpMode,
};
use aya::{Ebpf, EbpfLoader, Pod, include_bytes_aligned};

use crate::records::{Drive, Rewrite, Tuple};

static OBJECT: &[u8] = include_bytes_aligned!(env!("BENCH_EBPF_OBJECT"));

/// Its programs.
const PROGRAMS: [&str; 9] = [
    "forward",
    "reverse",
    "open",
    "nothing",
    "redirect",
    "hash_nat",
    "generate",
    "generate_new",
    "sink",
];

/// Frames in a batch of live ones: a quarter of a veth's ring.
const BATCH: u32 = 64;

// SAFETY: integers only, no padding, valid for every bit pattern.
unsafe impl Pod for Tuple {}
// SAFETY: as for `Tuple`.
unsafe impl Pod for Drive {}
// SAFETY: as for `Tuple`.
unsafe impl Pod for Rewrite {}

/// Result of running a program again and again.
pub(crate) struct Run {
    /// Mean nanoseconds of a run.
    pub(crate) nanoseconds: f64,
    /// What the program returned the last time.
    pub(crate) verdict: u32,
    /// The frame as it was left the last time.
    pub(crate) frame: Vec<u8>,
}

/// The loaded object.
pub(crate) struct Object {
    ebpf: Ebpf,
}

impl Object {
    /// Loads it with room for so many tuples in each direction, and so many entries of the NAT compared with.
    pub(crate) fn load(tuples: u32, nat: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("FORWARD", tuples).map_max_entries("REVERSE", tuples);
        loader.map_max_entries("NAT", nat);
        let mut ebpf = loader.load(OBJECT).context("the benchmark's object does not load")?;
        for name in PROGRAMS {
            let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load().with_context(|| format!("program {name} does not load"))?;
        }
        Ok(Self { ebpf })
    }

    fn program(&self, name: &'static str) -> Result<&Xdp> {
        Ok(self.ebpf.program(name).context(name)?.try_into()?)
    }

    /// Makes a program of its own the one to drive, under a number.
    pub(crate) fn set_own_program(&mut self, number: u32, name: &'static str) -> Result<()> {
        let program = self.program(name)?.fd()?.try_clone()?;
        self.set_program(number, &program)
    }

    /// Makes a program one that can be driven, under a number.
    pub(crate) fn set_program(&mut self, number: u32, program: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut("PROGRAMS").context("PROGRAMS")?;
        Ok(ProgramArray::try_from(map)?.set(number, program, 0)?)
    }

    /// Makes an interface of this thread's network namespace one to send by.
    pub(crate) fn set_device(&mut self, slot: u32, ifindex: u32) -> Result<()> {
        let map = self.ebpf.map_mut("DEVICES").context("DEVICES")?;
        Ok(DevMap::try_from(map)?.set(slot, ifindex, None, 0)?)
    }

    /// Attaches a program to an interface of this thread's network namespace, until the object is dropped.
    pub(crate) fn attach(&mut self, name: &'static str, ifindex: u32) -> Result<()> {
        let program: &mut Xdp = self.ebpf.program_mut(name).context(name)?.try_into()?;
        program.attach_to_if_index(ifindex, XdpMode::Driver)?;
        Ok(())
    }

    /// Has two interfaces of this thread's network namespace hand over to each other what arrives, at tc ingress, until the
    /// object is dropped.
    pub(crate) fn join(&mut self, interfaces: [(&str, u32); 2]) -> Result<()> {
        let [(_, one), (_, other)] = interfaces;
        let mut map = HashMap::try_from(self.ebpf.map_mut("BESIDE").context("BESIDE")?)?;
        map.insert(one, other, 0)?;
        map.insert(other, one, 0)?;
        let program: &mut SchedClassifier =
            self.ebpf.program_mut("beside").context("beside")?.try_into()?;
        program.load().context("program beside does not load")?;
        for (interface, _) in interfaces {
            program.attach(interface, TcAttachType::Ingress)?;
        }
        Ok(())
    }

    /// Sets where the programs that make frames stand, and what they make.
    pub(crate) fn set_drive(&mut self, drive: Drive) -> Result<()> {
        let map = self.ebpf.map_mut("DRIVE").context("DRIVE")?;
        Ok(Array::try_from(map)?.set(0, drive, 0)?)
    }

    /// Where they stand.
    pub(crate) fn drive(&self) -> Result<Drive> {
        let map = self.ebpf.map("DRIVE").context("DRIVE")?;
        Ok(Array::<_, Drive>::try_from(map)?.get(&0, 0)?)
    }

    /// Sets a direction's tuples.
    pub(crate) fn set_tuples(&mut self, map: &'static str, tuples: &[Tuple]) -> Result<()> {
        let mut map: Array<_, Tuple> = Array::try_from(self.ebpf.map_mut(map).context(map)?)?;
        for (index, tuple) in (0..).zip(tuples) {
            map.set(index, tuple, 0)?;
        }
        Ok(())
    }

    /// A direction's tuples.
    pub(crate) fn tuples(&self, map: &'static str) -> Result<Vec<Tuple>> {
        let map: Array<_, Tuple> = Array::try_from(self.ebpf.map(map).context(map)?)?;
        map.iter().map(|tuple| tuple.map_err(Into::into)).collect()
    }

    /// Fills the NAT compared with.
    pub(crate) fn set_nat(
        &mut self,
        entries: impl Iterator<Item = (Tuple, Rewrite)>,
    ) -> Result<()> {
        let mut map = HashMap::try_from(self.ebpf.map_mut("NAT").context("NAT")?)?;
        for (key, rewrite) in entries {
            map.insert(key, rewrite, 0)?;
        }
        Ok(())
    }

    /// How many frames have arrived where they should.
    pub(crate) fn arrived(&self) -> Result<u64> {
        let map = self.ebpf.map("ARRIVED").context("ARRIVED")?;
        let counts = PerCpuArray::<_, u64>::try_from(map)?.get(&0, 0)?;
        Ok(counts.iter().sum())
    }

    /// Runs a program on one buffer of so many bytes again and again, as if the frames had arrived on an interface.
    pub(crate) fn run(
        &self,
        name: &'static str,
        ifindex: u32,
        length: usize,
        repeat: u32,
    ) -> Result<Run> {
        let (before, mut frame) = (vec![0; length], vec![0; 128]);
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, length as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions {
            data_in: Some(&before),
            data_out: Some(&mut frame),
            ctx_in: Some(&context),
            repeat,
            ..TestRunOptions::default()
        };
        let result = self.program(name)?.test_run(options)?;
        frame.truncate(result.data_size_out as usize);
        let nanoseconds = result.duration.as_nanos() as f64;
        Ok(Run { nanoseconds, verdict: result.return_value, frame })
    }

    /// Sends live frames from this thread's network namespace, as fast as this CPU can.
    pub(crate) fn send(&self, name: &'static str, frames: u32) -> Result<()> {
        let options = TestRunOptions {
            data_in: Some(&FRAME),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        self.program(name)?.test_run(options)?;
        ensure!(self.drive()?.count > 0, "there is nothing to send");
        Ok(())
    }
}

/// What the programs write their frames over.
const FRAME: [u8; 60] = [0; 60];
