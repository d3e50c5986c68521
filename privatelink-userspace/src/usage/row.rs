//! How rows are stored: those of an hour in pieces, each of up to [`SUBJECTS`] subjects, as variable-length integers.
//!
//! A subject that was there and idle takes 6 bytes.

use integer_encoding::VarInt;

use super::Amounts;

/// Subjects of a piece: those whose numbers are the same but for the remainder.
pub(super) const SUBJECTS: u32 = 128;

/// Rows of a piece by the number of their subject, in rising order.
pub(super) type Piece = Vec<(u32, Amounts)>;

/// The bytes of a piece.
pub(super) fn encode(rows: &Piece) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * 8);
    for (subject, Amounts { seconds, flows, to_target, to_client }) in rows {
        for word in [u64::from(subject % SUBJECTS), *seconds, *flows, *to_target, *to_client] {
            bytes.extend_from_slice(&word.encode_var_vec());
        }
    }
    bytes
}

/// The piece with a number; `None` if that is not what the bytes are.
pub(super) fn decode(piece: u32, mut bytes: &[u8]) -> Option<Piece> {
    let mut rows = Piece::new();
    while !bytes.is_empty() {
        let mut word = || {
            let (word, taken) = u64::decode_var(bytes)?;
            bytes = bytes.get(taken..)?;
            Some(word)
        };
        let subject = u32::try_from(word()?).ok().filter(|subject| *subject < SUBJECTS)?;
        let (seconds, flows) = (word()?, word()?);
        let (to_target, to_client) = (word()?, word()?);
        let amounts = Amounts { seconds, flows, to_target, to_client };
        rows.push((piece * SUBJECTS + subject, amounts));
    }
    Some(rows)
}

/// Adds to the row of a subject.
pub(super) fn add(rows: &mut Piece, subject: u32, amounts: &Amounts) {
    match rows.binary_search_by_key(&subject, |(of, _)| *of) {
        Ok(at) => rows[at].1.add(amounts),
        Err(at) => rows.insert(at, (subject, *amounts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read() {
        let idle = Amounts { seconds: 3600, ..Amounts::default() };
        let most =
            Amounts { seconds: u64::MAX, flows: u64::MAX, to_target: u64::MAX, to_client: 1 };
        let mut rows = Piece::new();
        for (subject, amounts) in [(2 * SUBJECTS + 127, most), (2 * SUBJECTS, idle)] {
            add(&mut rows, subject, &amounts);
        }
        let bytes = encode(&rows);
        assert_eq!(decode(2, &bytes), Some(rows.clone()));
        assert_eq!(encode(&vec![rows[0]]).len(), 6);
        add(&mut rows, 2 * SUBJECTS, &idle);
        assert_eq!(rows[0].1.seconds, 7200);
        for cut in 1..bytes.len() {
            assert_ne!(decode(2, &bytes[..cut]).map(|rows| rows.len()), Some(2), "{cut}");
        }
        assert_eq!(decode(0, &[200, 1, 0, 0, 0, 0]), None, "no subject of a piece");
    }
}
