//! What streams carry: frames that only the right place of the right stream can have.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

/// Longest payload of a frame: three segments and a bit.
const LONGEST: u64 = 4500;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    Client = b'c',
    Target = b't',
}

/// One direction of a stream: numbered frames, each with a digest of all that came before it.
///
/// What a frame holds follows from the stream, the side and its number, so that its receiver knows every byte of it.
pub(crate) struct Script {
    stream: u64,
    side: Side,
    number: u64,
    digest: [u8; 32],
}

impl Script {
    pub(crate) fn new(stream: u64, side: Side) -> Self {
        Self { stream, side, number: 0, digest: [0; 32] }
    }

    /// The next frame.
    fn next(&mut self) -> Vec<u8> {
        let mut frame = vec![self.side as u8];
        frame.extend(self.stream.to_be_bytes());
        frame.extend(self.number.to_be_bytes());
        let seed = self.stream << 33 ^ self.number << 1 ^ u64::from(self.side == Side::Client);
        let mut words = Words(seed);
        let length = words.next() % LONGEST;
        for _ in 0..length / 8 {
            frame.extend(words.next().to_be_bytes());
        }
        let digest = Sha256::new().chain_update(self.digest).chain_update(&frame).finalize();
        self.digest.copy_from_slice(&digest);
        frame.extend(self.digest);
        self.number += 1;
        frame
    }

    /// Sends the next frame.
    pub(crate) fn send(&mut self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.next())
    }

    /// Takes the next frame; false where the stream ends before it. Any other byte than the right one is an error.
    pub(crate) fn receive(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let expected = self.next();
        let mut frame = vec![0; expected.len()];
        match from.read_exact(&mut frame[..1]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            begun => begun?,
        }
        from.read_exact(&mut frame[1..])?;
        if frame == expected {
            return Ok(true);
        }
        let at = frame.iter().zip(&expected).position(|(got, right)| got != right);
        let (stream, number) = (self.stream, self.number - 1);
        let what = format!("stream {stream}, frame {number}: other bytes from {at:?} on");
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// SplitMix64.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
