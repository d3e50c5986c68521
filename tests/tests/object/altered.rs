//! A daemon that brings another program for the kernel, of the same meaning.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _};

mod start;

/// `r = constant`, and the same for the lower half of the register, which clears the upper one.
const MOVE: u8 = 0xb7;
const MOVE_LOWER: u8 = 0xb4;
const INSTRUCTION: usize = 8;

/// Copies the executable `from` to `to`, but has one instruction of its XDP program say the same in another way: the
/// kernel sees another program, by its tag.
///
/// # Errors
/// When the program is not found, or has no such instruction.
pub(crate) fn alter(from: &Path, to: &Path) -> Result<()> {
    let mut bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let (start, object) = start::embedded(&bytes).context("no BPF object is embedded")?;
    let file = ElfFile64::<LittleEndian>::parse(&*object).context("the BPF object is damaged")?;
    let program = file.symbols().find(|symbol| symbol.name() == Ok("privatelink"));
    let program = program.context("the object has no program privatelink")?;
    let section = program.section_index().context("the program has no section")?;
    let (section, _) = file.section_by_index(section)?.file_range().context("without bytes")?;
    let first = start + (section + program.address()) as usize;
    let code = &mut bytes[first..first + program.size() as usize];
    // A constant that is not negative: the upper half is 0 in both. The operation may also be half of a wide
    // instruction's constant, whose other fields are 0 then: those of a move to r1 and on are not.
    let plain = |at: &[u8]| at[0] == MOVE && at[1] != 0 && at[1] < 10 && at[7] < 0x80;
    let found = code.chunks_exact_mut(INSTRUCTION).find(|at| plain(at));
    found.context("the program never sets a register to a constant")?[0] = MOVE_LOWER;
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
