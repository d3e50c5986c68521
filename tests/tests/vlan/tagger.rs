//! VLANs of a host whose kernel has no VLAN devices: programs at its interface put tags on what leaves, as a VLAN device would, and take
//! them off what arrives; what arrives with other tags, or none, is dropped.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::programs::{SchedClassifier, TcAttachType};
use privatelink_tests::Namespace;

/// TPID and VLAN id.
pub(crate) type Tag = (u16, u16);

/// The programs of an interface, which goes untagged again when they are dropped.
#[derive(Debug)]
pub(crate) struct Tagger {
    _programs: [Ebpf; 2],
}

impl Tagger {
    /// Puts an interface behind these tags, outer first.
    pub(crate) fn attach(namespace: &Namespace, interface: &str, tags: &[Tag]) -> Result<Self> {
        let attach = |code: &[[u8; 8]], way: TcAttachType| -> Result<Ebpf> {
            let mut object = Ebpf::load(&elf(&code.concat()))?;
            let program = object.program_mut(NAME).context("the object has no program")?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            namespace.enter(|| program.attach(interface, way))??;
            Ok(object)
        };
        let programs = [
            attach(&taken_off(tags), TcAttachType::Ingress)?,
            attach(&put_on(tags), TcAttachType::Egress)?,
        ];
        Ok(Self { _programs: programs })
    }
}

/// TC_ACT_UNSPEC and TC_ACT_SHOT.
const GO_ON: i32 = -1;
const DROP: i32 = 2;
/// Helpers' numbers (linux/bpf.h).
const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;
/// Fields of `__sk_buff`.
const VLAN_PRESENT: u8 = 20;
const VLAN_TCI: u8 = 24;
const VLAN_PROTO: u8 = 28;
/// The id within a TCI.
const ID: i32 = 0xfff;

/// Instructions (linux/bpf_common.h and linux/bpf.h).
const COPY: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const LOAD_WORD: u8 = 0x61;
const SKIP_IF_EQUAL: u8 = 0x15;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// An instruction of these registers, offset and constant.
fn instruction(code: u8, to: u8, from: u8, offset: u8, constant: i32) -> [u8; 8] {
    let [a, b, c, d] = constant.to_le_bytes();
    [code, to | from << 4, offset, 0, a, b, c, d]
}

fn return_with(action: i32) -> [[u8; 8]; 2] {
    [instruction(SET, 0, 0, 0, action), instruction(EXIT, 0, 0, 0, 0)]
}

/// Goes on if r0 is the constant, else drops the frame.
fn require(constant: i32) -> Vec<[u8; 8]> {
    let mut code = vec![instruction(SKIP_IF_EQUAL, 0, 0, 2, constant)];
    code.extend(return_with(DROP));
    code
}

/// A TPID as the kernel has it in a register.
fn tpid(tag: Tag) -> i32 {
    tag.0.to_be().into()
}

/// The program that tags what leaves, the inner tag first.
fn put_on(tags: &[Tag]) -> Vec<[u8; 8]> {
    let mut code = vec![instruction(COPY, 6, 1, 0, 0)];
    for tag in tags.iter().rev() {
        code.push(instruction(COPY, 1, 6, 0, 0));
        code.push(instruction(SET, 2, 0, 0, tpid(*tag)));
        code.push(instruction(SET, 3, 0, 0, tag.1.into()));
        code.push(instruction(CALL, 0, 0, 0, VLAN_PUSH));
        code.extend(require(0));
    }
    code.extend(return_with(GO_ON));
    code
}

/// The program that untags what arrives, the outer tag first.
fn taken_off(tags: &[Tag]) -> Vec<[u8; 8]> {
    let mut code = vec![instruction(COPY, 6, 1, 0, 0)];
    for tag in tags {
        code.push(instruction(LOAD_WORD, 0, 6, VLAN_PRESENT, 0));
        code.extend(require(1));
        code.push(instruction(LOAD_WORD, 0, 6, VLAN_PROTO, 0));
        code.extend(require(tpid(*tag)));
        code.push(instruction(LOAD_WORD, 0, 6, VLAN_TCI, 0));
        code.push(instruction(AND, 0, 0, 0, ID));
        code.extend(require(tag.1.into()));
        code.push(instruction(COPY, 1, 6, 0, 0));
        code.push(instruction(CALL, 0, 0, 0, VLAN_POP));
        code.extend(require(0));
    }
    code.extend(return_with(GO_ON));
    code
}

/// Name of the program, and of the section that has it, which says what it is.
const NAME: &str = "tagger";
const SECTION: &str = "classifier";

/// Of an ELF header, a section's header and a symbol.
const HEADER: usize = 64;
const SYMBOL: usize = 24;

/// An object with this program alone (elf(5)).
fn elf(code: &[u8]) -> Vec<u8> {
    let names = format!("\0{NAME}\0{SECTION}\0license\0");
    let name = |of: &str| names.find(&format!("\0{of}\0")).expect("it is there") as u32 + 1;
    let license = b"GPL\0";
    let mut symbols = vec![0; SYMBOL];
    symbols.extend(name(NAME).to_le_bytes());
    // A global function in section 1, at 0.
    symbols.extend([0x12, 0, 1, 0]);
    symbols.extend(0_u64.to_le_bytes());
    symbols.extend((code.len() as u64).to_le_bytes());

    // Name, type, flags, and contents of each section; the code comes first, where it is aligned.
    let sections: [(u32, u32, u64, &[u8]); 4] = [
        (name(SECTION), 1, 6, code),
        (0, 2, 0, &symbols),
        (0, 3, 0, names.as_bytes()),
        (name("license"), 1, 0, license),
    ];
    let (mut contents, mut table) = (Vec::new(), vec![0; HEADER]);
    for (name, kind, flags, content) in sections {
        let offset = (HEADER + contents.len()) as u64;
        // Of the symbols: their names are in section 3, and the first of them that is global.
        let (link, info, entry) = if kind == 2 { (3_u32, 1_u32, SYMBOL as u64) } else { (0, 0, 0) };
        table.extend([name, kind].map(u32::to_le_bytes).concat());
        table.extend([flags, 0, offset, content.len() as u64].map(u64::to_le_bytes).concat());
        table.extend([link, info].map(u32::to_le_bytes).concat());
        table.extend([8, entry].map(u64::to_le_bytes).concat());
        contents.extend(content);
        contents.resize(contents.len().next_multiple_of(8), 0);
    }

    // 64 bits, little endian; a relocatable file for EM_BPF.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([1_u16, 247].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([0, 0, (HEADER + contents.len()) as u64].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    // Five sections with the empty one; the third has the names.
    file.extend([64_u16, 0, 0, 64, 5, 3].map(u16::to_le_bytes).concat());
    file.extend(contents);
    file.extend(table);
    file
}
