//! Where the BPF object is that a program embeds.

use object::LittleEndian;
use object::elf::{ELFMAG, EM_BPF, FileHeader64};
use object::read::elf::FileHeader as _;

/// The object within an executable, an ELF file for the kernel's BPF machine, with what follows it; and where it begins.
/// A copy, because it must be aligned.
pub(crate) fn embedded(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let starts = (0..bytes.len().saturating_sub(64)).filter(|at| bytes[*at..].starts_with(&ELFMAG));
    starts.map(|at| (at, bytes[at..].to_vec())).find(|(_, candidate)| {
        FileHeader64::<LittleEndian>::parse(&**candidate)
            .is_ok_and(|header| header.e_machine.get(LittleEndian) == EM_BPF)
    })
}
