//! What an observer of leases can compute who knows the generator of `bpf_get_prandom_u32`: L'Ecuyer's LFSR113
//! (lib/random32.c), of which every bit is a sum modulo 2 of some of the 128 bits of its state at the beginning.

use std::array::from_fn;

/// A bit, by the bits of the first state that it is the sum of.
type Bit = u128;
/// A word, its lowest bit first.
type Word = [Bit; 32];

/// Shifts and mask of each of the four parts of the state: `((s & c) << d) ^ (((s << a) ^ s) >> b)`.
const STEPS: [(usize, usize, u32, usize); 4] = [
    (6, 13, u32::MAX << 1, 18),
    (2, 27, u32::MAX << 3, 2),
    (13, 21, u32::MAX << 4, 7),
    (3, 12, u32::MAX << 7, 13),
];

fn up(word: Word, by: usize) -> Word {
    from_fn(|bit| bit.checked_sub(by).map_or(0, |bit| word[bit]))
}

fn down(word: Word, by: usize) -> Word {
    from_fn(|bit| word.get(bit + by).copied().unwrap_or(0))
}

fn sum(a: Word, b: Word) -> Word {
    from_fn(|bit| a[bit] ^ b[bit])
}

/// The words that the generator gives, one after the other.
fn words() -> impl Iterator<Item = Word> {
    let mut state: [Word; 4] = from_fn(|part| from_fn(|bit| 1 << (32 * part + bit)));
    std::iter::repeat_with(move || {
        for (part, (a, b, c, d)) in state.iter_mut().zip(STEPS) {
            let kept = from_fn(|bit| if c >> bit & 1 == 1 { part[bit] } else { 0 });
            *part = sum(up(kept, d), down(sum(up(*part, a), *part), b));
        }
        sum(sum(state[0], state[1]), sum(state[2], state[3]))
    })
}

/// Equations in the bits of the state, each led by another bit.
#[derive(Default)]
struct Equations(Vec<(Bit, bool)>);

impl Equations {
    /// What is left of a sum when the equations have been put in: nothing, if they determine it.
    fn reduce(&self, mut bit: Bit, mut value: bool) -> (Bit, bool) {
        for (known, its_value) in &self.0 {
            if bit & 1 << known.ilog2() != 0 {
                bit ^= known;
                value ^= its_value;
            }
        }
        (bit, value)
    }

    fn add(&mut self, bit: Bit, value: bool) {
        let (bit, value) = self.reduce(bit, value);
        if bit != 0 {
            self.0.push((bit, value));
        }
    }
}

/// The upper bits of a random word, highest first, that an offset into `range` ports was scaled from.
fn upper_bits(offset: u32, range: u32) -> Vec<bool> {
    let [low, high] =
        [offset, offset + 1].map(|offset| (u64::from(offset) << 32).div_ceil(u64::from(range)));
    let bits = (0..32).rev().map(|bit| [low, high - 1].map(|word| word >> bit & 1 == 1));
    bits.take_while(|[low, high]| low == high).map(|[bit, _]| bit).collect()
}

/// How many of the upper bits of later leases' ports are computed right from the first `learnt` ones, and of how many.
///
/// `offsets` are those of their ports in the range; for each lease `words_each` words were drawn. Which of them made the
/// port is no matter: it only shifts the beginning.
pub(crate) fn predict(
    offsets: &[u32],
    range: u32,
    learnt: usize,
    words_each: usize,
) -> (usize, usize) {
    const BITS: usize = 12;
    let mut equations = Equations::default();
    let (mut right, mut all) = (0, 0);
    for (number, (offset, word)) in offsets.iter().zip(words().step_by(words_each)).enumerate() {
        let bits = upper_bits(*offset, range);
        let bits = word.into_iter().rev().zip(bits);
        if number < learnt {
            bits.for_each(|(bit, value)| equations.add(bit, value));
            continue;
        }
        for (bit, value) in bits.take(BITS) {
            let (unknown, wrong) = equations.reduce(bit, value);
            if unknown == 0 {
                all += 1;
                right += usize::from(!wrong);
            }
        }
    }
    (right, all)
}
