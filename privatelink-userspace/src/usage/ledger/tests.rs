//! What is written is there again, once.

use super::*;
use crate::usage::{Amounts, CountedAddress};

const HOUR: u32 = 500_000;

fn subject(number: u32) -> Arc<Subject> {
    let [account, service, zone] = ["222222222222", "vpce-svc-a", "a"].map(str::to_owned);
    Arc::new(Subject { account, endpoint: format!("vpce-{number:04}"), service, zone })
}

fn amounts(bytes: u64) -> Amounts {
    Amounts { seconds: 60, flows: 1, to_target: bytes, to_client: 0 }
}

fn address(text: &str) -> CountedAddress {
    CountedAddress { address: text.parse().unwrap(), vpc: 2, endpoint: 5 }
}

/// One row for each of these subjects, and what is known of the first, by two addresses.
fn batch(hour: u32, subjects: std::ops::Range<u32>, bytes: u64) -> Batch {
    let known = Known {
        subject: subject(subjects.start),
        counted: Counted { flows: 1, to_target: bytes, to_client: 2 },
        is_available: true,
        gone: None,
    };
    Batch {
        rows: subjects.map(|number| ((hour, subject(number)), amounts(bytes))).collect(),
        known: ["10.0.1.10", "fd00::a"].map(address).map(|of| (of, known.clone())).into(),
        since_boot: Duration::from_secs(77),
    }
}

/// The rows: hour, endpoint and bytes.
fn rows(ledger: &Ledger, from: u32, to: u32) -> Vec<(u32, String, u64)> {
    let mut reading = ledger.rows(from, to).unwrap();
    let mut rows = Vec::new();
    while let Some(read) = reading.next() {
        let (hour, piece) = read.unwrap();
        rows.extend(piece.into_iter().map(|(number, amounts)| {
            (hour, reading.subject(number).unwrap().endpoint.clone(), amounts.to_target)
        }));
    }
    rows.sort();
    rows
}

#[test]
fn what_is_written_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    let written = batch(HOUR, 0..300, 10);
    ledger.write(written.clone(), 400).unwrap();
    ledger.write(Batch { rows: batch(HOUR, 0..1, 5).rows, ..written.clone() }, 400).unwrap();
    ledger
        .write(Batch { rows: batch(HOUR + 1, 299..301, 7).rows, ..written.clone() }, 400)
        .unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(directory.path()).unwrap();
    let found = rows(&ledger, HOUR, HOUR + 1);
    assert_eq!(found.len(), 300);
    assert_eq!(found[..2], [(HOUR, "vpce-0000".into(), 15), (HOUR, "vpce-0001".into(), 10)]);
    let next = [299, 300].map(|number| (HOUR + 1, format!("vpce-{number:04}"), 7));
    assert_eq!(rows(&ledger, HOUR + 1, u32::MAX), next);

    let mut resumed = ledger.accountant(false).unwrap();
    let mut expected = Accountant::resume(written.known, Some(written.since_boot));
    let now = crate::usage::Moment { wall: 0, since_boot: Duration::ZERO };
    assert_eq!(resumed.batch(now), expected.batch(now));
    // The maps are new: so are their counters.
    let new = ledger.accountant(true).unwrap().batch(now);
    assert!(new.known.is_empty() && ledger.known.is_empty());
    drop(ledger);
    assert!(Ledger::open(directory.path()).unwrap().known.is_empty());
}

#[test]
fn a_batch_that_failed_is_written_once() {
    for was_written in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        ledger.write(batch(HOUR, 0..2, 1), 400).unwrap();
        if was_written {
            ledger.write(batch(HOUR, 0..2, 10), 400).unwrap();
            ledger.serial -= 1;
        }
        // As after a failure, of which nobody knows how far it went.
        ledger.unsure = Some((ledger.serial + 1, batch(HOUR, 0..2, 10).rows));
        ledger.waiting = batch(HOUR, 0..1, 100).rows;
        ledger.write(batch(HOUR, 0..1, 1000), 400).unwrap();
        let expected = [(HOUR, "vpce-0000".into(), 1111), (HOUR, "vpce-0001".into(), 11)];
        assert_eq!(rows(&ledger, 0, u32::MAX), expected, "{was_written}");
        assert!(ledger.unsure.is_none() && ledger.waiting.is_empty());
    }
}

#[test]
fn while_it_cannot_be_opened_everything_waits() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    ledger.write(batch(HOUR, 0..1, 1), 400).unwrap();
    ledger.unsure = Some((ledger.serial + 1, batch(HOUR, 0..1, 10).rows));
    let real = std::mem::replace(&mut ledger.path, directory.path().join("no/such/directory"));
    ledger.write(batch(HOUR, 0..1, 100), 400).unwrap_err();
    assert!(matches!(ledger.rows(0, 1), Err(LedgerError::Closed)));
    ledger.write(batch(HOUR, 0..1, 1000), 400).unwrap_err();
    ledger.path = real;
    ledger.write(batch(HOUR, 0..1, 10_000), 400).unwrap();
    assert_eq!(rows(&ledger, 0, u32::MAX), [(HOUR, "vpce-0000".into(), 11_111)]);
}

#[test]
fn old_hours_go_and_who_was_in_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    for hour in 0..40 {
        ledger.write(batch(HOUR + hour, hour..hour + 2, 1), 400).unwrap();
    }
    // A day is kept, and a day of hours goes with each that begins.
    ledger.write(batch(HOUR + 100, 100..101, 1), 1).unwrap();
    assert_eq!(rows(&ledger, 0, u32::MAX)[0].0, HOUR + 24);
    assert_eq!(ledger.subjects.len(), 41 - 24 + 1);
    ledger.write(batch(HOUR + 100, 100..101, 1), 1).unwrap();
    assert_eq!(rows(&ledger, 0, u32::MAX)[0].0, HOUR + 24, "the same hour");
    ledger.write(batch(HOUR + 101, 100..101, 1), 1).unwrap();
    let left = [(HOUR + 100, "vpce-0100".to_owned(), 2), (HOUR + 101, "vpce-0100".to_owned(), 1)];
    assert_eq!(rows(&ledger, 0, u32::MAX), left);
    assert_eq!(ledger.subjects.len(), 1);
    drop(ledger);
    assert_eq!(rows(&Ledger::open(directory.path()).unwrap(), 0, u32::MAX), left);
}

#[test]
fn a_clock_that_is_wrong_for_a_while_empties_no_books() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path()).unwrap();
    for hour in 0..40 {
        ledger.write(batch(HOUR + hour, 0..1, 1), 2).unwrap();
    }
    ledger.write(batch(HOUR + 1_000_000, 0..1, 1), 2).unwrap();
    assert_eq!(rows(&ledger, 0, u32::MAX)[0].0, HOUR + 24, "a day is gone");
    // What is old goes again once it is right.
    for hour in 40..80 {
        ledger.write(batch(HOUR + hour, 0..1, 1), 2).unwrap();
    }
    assert_eq!(rows(&ledger, 0, u32::MAX)[0].0, HOUR + 79 - 48);
}

#[test]
fn damaged_books_are_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), "no database, whatever its name says").unwrap();
    let ledger = Ledger::open(directory.path()).unwrap();
    assert_eq!(rows(&ledger, 0, u32::MAX), []);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

/// What 10 000 endpoints take: printed for the documentation, and within a bound that only a mistake would break.
#[test]
fn ten_thousand_endpoints() {
    const HOURS: u32 = 8;
    for (what, bytes) in [("busy", 12_345_678_901), ("idle", 0)] {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(directory.path()).unwrap();
        let subjects: Vec<_> = (0..10_000).map(subject).collect();
        let written = |hour: u32| {
            let counted =
                Counted { flows: bytes, to_target: bytes * u64::from(hour), to_client: bytes };
            let known = |(number, subject): (u32, &Arc<Subject>)| {
                let (subject, address) = (subject.clone(), number.to_ne_bytes().into());
                let of = CountedAddress { address, vpc: 2, endpoint: 0 };
                (of, Known { subject, counted, is_available: true, gone: None })
            };
            let amounts = Amounts {
                seconds: 3600,
                flows: bytes / 1_000_000,
                to_target: bytes,
                to_client: bytes,
            };
            Batch {
                rows: subjects.iter().map(|of| ((HOUR + hour, of.clone()), amounts)).collect(),
                known: (0..).zip(&subjects).map(known).collect(),
                since_boot: Duration::ZERO,
            }
        };
        let taken = |ledger: &Ledger| {
            let transaction = ledger.database().unwrap().begin_write().unwrap();
            let stats = transaction.stats().unwrap();
            stats.allocated_pages() * stats.page_size() as u64
        };
        ledger.write(written(0), 400).unwrap();
        let (before, mut took) = (taken(&ledger), Duration::ZERO);
        for hour in 1..=HOURS {
            let batch = written(hour);
            let began = std::time::Instant::now();
            ledger.write(batch, 400).unwrap();
            took += began.elapsed();
        }
        let (of_hour, took) = ((taken(&ledger) - before) / u64::from(HOURS), took / HOURS);
        println!("{what}: {before} bytes, {of_hour} more for an hour; a batch took {took:?}");
        assert!(of_hour < 1_000_000, "{what}: {of_hour}");
    }
}
