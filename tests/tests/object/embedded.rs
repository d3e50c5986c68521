//! The BPF object that a program embeds, read instruction by instruction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use object::read::elf::ElfFile64;
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget,
    SectionKind, SymbolKind,
};

mod start;

/// Bytes of an instruction.
const INSTRUCTION: u64 = 8;
/// The frame pointer, r10.
const FRAME: usize = 10;

// linux/bpf_common.h and linux/bpf.h: classes, and whole operation codes.
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU: u8 = 4;
const ALU64: u8 = 7;
const LOAD_CONSTANT: u8 = 0x18;
const CALL: u8 = 0x85;
const MOVE: u8 = 0xbf;
const ADD_CONSTANT: u8 = 0x07;

/// Where a function is: its section, and its first byte there.
pub(crate) type Place = (usize, u64);

/// One function of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function {
    /// Its name, mangled if the compiler did.
    pub(crate) name: String,
    /// Whether the kernel enters here.
    pub(crate) is_program: bool,
    /// How far below the frame pointer it reaches, bytes.
    pub(crate) stack: u32,
    /// The functions it calls.
    pub(crate) calls: BTreeSet<Place>,
    /// The helpers it calls, by their numbers in `enum bpf_func_id`.
    pub(crate) helpers: BTreeSet<u32>,
}

/// All functions of the BPF object that the executable at `path` carries.
///
/// # Errors
/// When there is no such object, or it is none that a compiler makes.
pub(crate) fn functions(path: &Path) -> Result<BTreeMap<Place, Function>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (_, object) = start::embedded(&bytes)
        .with_context(|| format!("no BPF object is embedded in {}", path.display()))?;
    let file = ElfFile64::<LittleEndian>::parse(&*object).context("the BPF object is damaged")?;
    let mut functions = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let section = symbol.section_index().context("a function without a section")?;
        let code = Code::of(&file, section.0)?;
        let start = symbol.address();
        let mut function = code.function(start, start + symbol.size())?;
        symbol.name()?.clone_into(&mut function.name);
        functions.insert((section.0, start), function);
    }
    let unknown = |function: &Function| {
        function.calls.iter().find(|place| !functions.contains_key(place)).copied()
    };
    let lost = functions.values().find_map(unknown);
    ensure!(lost.is_none(), "a call leads to {lost:?}, where no function begins");
    ensure!(functions.values().any(|function| function.is_program), "the object has no program");
    Ok(functions)
}

/// A section with instructions.
struct Code {
    section: usize,
    is_program: bool,
    bytes: Vec<u8>,
    /// What the linker has to put in where: the function's section, and its place there before the instruction's own
    /// constant is added.
    relocations: BTreeMap<u64, Place>,
}

impl Code {
    fn of(file: &ElfFile64<'_, LittleEndian>, index: usize) -> Result<Self> {
        let section = file.section_by_index(object::SectionIndex(index))?;
        let mut relocations = BTreeMap::new();
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(symbol)?;
            // The others lead to maps and constants.
            if let Some(section) = symbol.section_index()
                && file.section_by_index(section)?.kind() == SectionKind::Text
            {
                relocations.insert(at, (section.0, symbol.address()));
            }
        }
        Ok(Self {
            section: index,
            // Functions that others call stand in .text, programs in sections named by their kind.
            is_program: section.name()? != ".text",
            bytes: section.data()?.to_vec(),
            relocations,
        })
    }

    fn function(&self, start: u64, end: u64) -> Result<Function> {
        let mut function = Function { is_program: self.is_program, ..Function::default() };
        // For each register, how far from the frame pointer it points, where it does.
        let mut offsets: [Option<i32>; 16] = [None; 16];
        offsets[FRAME] = Some(0);
        let mut at = start;
        while at < end {
            let code = self.bytes.get(at as usize..).context("a function ends outside")?;
            let &[operation, registers, low, high, a, b, c, d, ..] = code else {
                anyhow::bail!("half an instruction");
            };
            let [destination, source] = [registers & 15, registers >> 4].map(usize::from);
            let offset = i32::from(i16::from_le_bytes([low, high]));
            let constant = i32::from_le_bytes([a, b, c, d]);
            let class = operation & 7;

            let accessed = match class {
                LDX => offsets[source].map(|base| base + offset),
                ST | STX => offsets[destination].map(|base| base + offset),
                _ => None,
            };
            match operation {
                MOVE => offsets[destination] = offsets[source],
                ADD_CONSTANT => {
                    offsets[destination] = offsets[destination].map(|base| base + constant);
                }
                CALL => {
                    match source {
                        0 => drop(function.helpers.insert(constant as u32)),
                        // BPF_PSEUDO_CALL.
                        1 => drop(function.calls.insert(self.called(at, constant))),
                        _ => anyhow::bail!("a call of a kind that is not known"),
                    }
                    offsets[..6].fill(None);
                }
                LOAD_CONSTANT => {
                    // The address of a function, for a helper to call back.
                    if let Some((section, place)) = self.relocations.get(&at) {
                        function.calls.insert((*section, place + constant as u64));
                    }
                    offsets[destination] = None;
                    at += INSTRUCTION;
                }
                _ if matches!(class, LDX | ALU | ALU64) => offsets[destination] = None,
                _ => {}
            }
            let computed = if operation == ADD_CONSTANT { offsets[destination] } else { None };
            for reached in [accessed, computed].into_iter().flatten() {
                function.stack = function.stack.max(reached.min(0).unsigned_abs());
            }
            at += INSTRUCTION;
        }
        Ok(function)
    }

    /// Where a call leads: counted from the next instruction, or by the linker from a symbol's.
    fn called(&self, at: u64, constant: i32) -> Place {
        let (section, base) = match self.relocations.get(&at) {
            Some(&place) => place,
            None => (self.section, at),
        };
        let distance = (i64::from(constant) + 1) * INSTRUCTION as i64;
        (section, base.wrapping_add_signed(distance))
    }
}
