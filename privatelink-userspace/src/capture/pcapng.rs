//! The pcapng format (draft-ietf-opsawg-pcapng), as far as captures need it. Written in the machine's byte order.

use std::collections::HashMap;

use super::names::Names;
use super::{Packet, Writer};
use crate::api::CaptureSummary;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
/// A section's length that is not told.
const UNKNOWN_LENGTH: u64 = u64::MAX;

// Options; 1 is a comment in every block.
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;
const ISB_USRDELIV: u16 = 8;
/// Times are nanoseconds.
const NANOSECONDS: u8 = 9;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Bytes of a block beside its body: type, and its length twice.
const FRAME: usize = 12;

/// Writes blocks.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    /// The numbers of the interfaces that are described so far, by their kernel's.
    interfaces: HashMap<u32, u32>,
}

impl Writer for Pcapng {
    fn begin(&mut self, out: &mut Vec<u8>) {
        block(out, SECTION_HEADER, |body| {
            body.extend(BYTE_ORDER.to_ne_bytes());
            body.extend([1_u16, 0].map(u16::to_ne_bytes).as_flattened());
            body.extend(UNKNOWN_LENGTH.to_ne_bytes());
            option(
                body,
                SHB_USERAPPL,
                concat!("privatelink ", env!("CARGO_PKG_VERSION")).as_bytes(),
            );
            option(body, 0, &[]);
        });
    }

    fn packet(&mut self, names: &mut Names, packet: &Packet<'_>, out: &mut Vec<u8>) {
        let captured = &packet.captured;
        let comment = names.comment(captured);
        let arrived = self.interface(names, captured.ingress, out);
        let (time, length) = (packet.time, captured.length_before);
        enhanced_packet(out, arrived, time, packet.before, length, INBOUND, &comment.before);
        if !packet.after.is_empty() {
            let left = self.interface(names, captured.egress, out);
            let length = captured.length_after;
            enhanced_packet(out, left, time, packet.after, length, OUTBOUND, &comment.after);
        }
    }

    fn summary(
        &mut self,
        names: &mut Names,
        by_interface: &[(u32, CaptureSummary)],
        time: u64,
        out: &mut Vec<u8>,
    ) {
        for (ifindex, CaptureSummary { packets, left_out, lost }) in by_interface {
            let interface = self.interface(names, *ifindex, out);
            block(out, INTERFACE_STATISTICS, |body| {
                body.extend(interface.to_ne_bytes());
                body.extend(halves(time));
                option(body, ISB_IFDROP, &left_out.to_ne_bytes());
                option(body, ISB_OSDROP, &lost.to_ne_bytes());
                option(body, ISB_USRDELIV, &packets.to_ne_bytes());
                option(body, 0, &[]);
            });
        }
    }
}

impl Pcapng {
    /// The number of an interface, which is described where it was not yet.
    fn interface(&mut self, names: &mut Names, ifindex: u32, out: &mut Vec<u8>) -> u32 {
        let next = self.interfaces.len() as u32;
        *self.interfaces.entry(ifindex).or_insert_with(|| {
            let (name, description) = names.interface(ifindex);
            block(out, INTERFACE_DESCRIPTION, |body| {
                body.extend([ETHERNET, 0].map(u16::to_ne_bytes).as_flattened());
                // No limit: each packet tells how long it was.
                body.extend(0_u32.to_ne_bytes());
                option(body, IF_NAME, name.as_bytes());
                option(body, IF_DESCRIPTION, description.as_bytes());
                option(body, IF_TSRESOL, &[NANOSECONDS]);
                option(body, 0, &[]);
            });
            next
        })
    }
}

fn enhanced_packet(
    out: &mut Vec<u8>,
    interface: u32,
    time: u64,
    bytes: &[u8],
    length: u32,
    direction: u32,
    comment: &str,
) {
    block(out, ENHANCED_PACKET, |body| {
        body.extend(interface.to_ne_bytes());
        body.extend(halves(time));
        body.extend((bytes.len() as u32).to_ne_bytes());
        body.extend(length.to_ne_bytes());
        body.extend(bytes);
        pad(body);
        option(body, COMMENT, comment.as_bytes());
        option(body, EPB_FLAGS, &direction.to_ne_bytes());
        option(body, 0, &[]);
    });
}

/// A time as two words, the upper first.
fn halves(time: u64) -> [u8; 8] {
    let [upper, lower] = [(time >> 32) as u32, time as u32].map(u32::to_ne_bytes);
    let mut halves = [0; 8];
    halves[..4].copy_from_slice(&upper);
    halves[4..].copy_from_slice(&lower);
    halves
}

fn block(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_ne_bytes());
    out.extend([0; 4]);
    write(out);
    let length = ((out.len() - start + 4) as u32).to_ne_bytes();
    out.extend(length);
    out[start + 4..start + 8].copy_from_slice(&length);
}

/// An option; code 0 ends the options.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Comments are short; what is cut off here would be beyond 64 KiB.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    body.extend(value);
    pad(body);
}

/// Blocks begin at a multiple of four bytes, and so does what is in them.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// What interface statistics blocks say.
#[derive(Debug, Default)]
pub struct Statistics(HashMap<u32, CaptureSummary>);

impl Statistics {
    /// Over all interfaces, by the last block of each.
    pub fn sum(&self) -> CaptureSummary {
        self.0.values().copied().sum()
    }

    fn read(&mut self, body: &[u8]) {
        let Some((interface, mut rest)) = body
            .split_first_chunk()
            .and_then(|(interface, rest)| Some((u32::from_ne_bytes(*interface), rest.get(8..)?)))
        else {
            return;
        };
        let summary = self.0.entry(interface).or_default();
        while let Some((head, after)) = rest.split_first_chunk::<4>() {
            let [a, b, c, d] = *head;
            let (code, length) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
            let count = after.first_chunk().map_or(0, |count| u64::from_ne_bytes(*count));
            match code {
                ISB_IFDROP => summary.left_out = count,
                ISB_OSDROP => summary.lost = count,
                ISB_USRDELIV => summary.packets = count,
                _ => {}
            }
            rest = after.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Cuts what arrives into whole blocks, so that a file ends with one whenever the capture does.
#[derive(Debug, Default)]
pub struct Blocks {
    unread: Vec<u8>,
    statistics: Statistics,
}

impl Blocks {
    /// Takes what has arrived, and gives the whole blocks there are.
    pub fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        self.unread.extend_from_slice(piece);
        let mut end = 0;
        while let Some(block) = whole(&self.unread[end..]) {
            if block.first_chunk() == Some(&INTERFACE_STATISTICS.to_ne_bytes()) {
                self.statistics.read(&block[8..block.len() - 4]);
            }
            end += block.len();
        }
        self.unread.drain(..end).collect()
    }

    /// What the blocks have said.
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }
}

/// The block that the bytes begin with, if it is all there.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_ne_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    bytes.get(..length.max(FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn a_packet_is_a_block_of_whole_words() {
        let block = written(|out| {
            enhanced_packet(out, 1, 0x1_0000_0002, b"abcde", 60, OUTBOUND, "why");
        });
        let words: Vec<u32> =
            block.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word)).collect();
        let text = |text: &[u8; 4]| u32::from_ne_bytes(*text);
        let expected = [
            6,
            64,
            1,
            1,
            2,
            5,
            60,
            text(b"abcd"),
            text(b"e\0\0\0"),
            1 | 3 << 16,
            text(b"why\0"),
            2 | 4 << 16,
            2,
            0,
            64,
        ];
        let length = expected.len() as u32 * 4;
        assert_eq!(words, expected.map(|word| if word == 64 { length } else { word }));
    }

    #[test]
    fn only_whole_blocks_go_on_however_they_arrive() {
        let blocks = written(|out| {
            for left_out in [7_u64, 9] {
                block(out, INTERFACE_STATISTICS, |body| {
                    body.extend([0; 12]);
                    option(body, COMMENT, b"skipped");
                    option(body, ISB_IFDROP, &left_out.to_ne_bytes());
                    option(body, ISB_USRDELIV, &3_u64.to_ne_bytes());
                });
            }
            block(out, 99, |body| body.extend([1; 8]));
        });
        for size in [1, 3, 16, blocks.len()] {
            let mut reader = Blocks::default();
            let mut whole = Vec::new();
            for piece in blocks.chunks(size) {
                whole.extend(reader.take(piece));
            }
            assert_eq!(whole, blocks, "pieces of {size}");
            assert!(reader.take(&blocks[..20]).is_empty());
            let expected = CaptureSummary { packets: 3, left_out: 9, lost: 0 };
            assert_eq!(reader.statistics().sum(), expected, "pieces of {size}");
        }
    }
}
