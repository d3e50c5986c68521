//! What belongs to which hour, by clocks that the test sets.

use super::*;

/// The turn of some hour, seconds since 1970.
const TURN: u64 = 500_000 * 3600;
const HOUR: u32 = 500_000;

fn at(wall: u64, since_boot: u64) -> Moment {
    Moment { wall, since_boot: Duration::from_secs(since_boot) }
}

fn key(endpoint: u16, address: u8) -> CountedAddress {
    CountedAddress { address: [10, 0, 0, address].into(), vpc: 2, endpoint }
}

fn present(name: &str, number: u16, is_available: bool) -> Present {
    let [account, service, zone] = ["222222222222", "vpce-svc-a", "a"].map(str::to_owned);
    let subject = Subject { account, endpoint: name.to_owned(), service, zone };
    Present { key: key(number, 1), subject, is_available }
}

fn counts(bytes: u64) -> HashMap<CountedAddress, Counted> {
    HashMap::from([(key(0, 1), Counted { flows: 1, to_target: bytes, to_client: 0 })])
}

/// Seconds and bytes of each row by the hour and the endpoint.
fn rows(accountant: &mut Accountant) -> Vec<(u32, String, u64, u64)> {
    let rows = accountant.batch(at(0, 0)).rows.into_iter();
    rows.map(|((hour, of), is)| (hour, of.endpoint.clone(), is.seconds, is.to_target)).collect()
}

fn row(hour: u32, name: &str, seconds: u64, bytes: u64) -> (u32, String, u64, u64) {
    (hour, name.to_owned(), seconds, bytes)
}

#[test]
fn an_hour_turns() {
    let mut of = Accountant::default();
    let here = [present("e", 0, true)];
    of.count(at(TURN - 90, 1000), &here, &counts(100));
    of.count(at(TURN - 60, 1030), &here, &counts(150));
    assert_eq!(rows(&mut of), [row(HOUR - 1, "e", 30, 150)]);
    // Read as the hour has turned: it is what was used before. From now on the endpoint is there in the next one.
    of.count(at(TURN, 1090), &here, &counts(200));
    assert_eq!(rows(&mut of), [row(HOUR - 1, "e", 60, 50), row(HOUR, "e", 0, 0)]);
    of.count(at(TURN + 60, 1150), &here, &counts(201));
    assert_eq!(rows(&mut of), [row(HOUR, "e", 60, 1)]);
    // Late: time is of the hour it was in, bytes of that with most of the time.
    of.count(at(TURN + 3600 + 10, 1150 + 3550), &here, &counts(301));
    assert_eq!(rows(&mut of), [row(HOUR, "e", 3540, 100), row(HOUR + 1, "e", 10, 0)]);
}

#[test]
fn the_clock_is_set() {
    let mut of = Accountant::default();
    let here = [present("e", 0, true)];
    of.count(at(TURN + 600, 1000), &here, &counts(100));
    // Back by an hour, and on: nothing is lost and nothing doubled.
    of.count(at(TURN + 660 - 3600, 1060), &here, &counts(110));
    of.count(at(TURN + 720 - 3600, 1120), &here, &counts(120));
    // Ahead by a day.
    of.count(at(TURN + 780 + 86_400, 1180), &here, &counts(125));
    assert_eq!(
        rows(&mut of),
        [row(HOUR - 1, "e", 120, 20), row(HOUR, "e", 0, 100), row(HOUR + 24, "e", 60, 5)]
    );
    // To before 1970's second hour.
    of.count(at(5, 1240), &here, &counts(126));
    assert_eq!(rows(&mut of), [row(0, "e", 5, 1)]);
}

#[test]
fn an_endpoint_that_was_there_for_a_moment_was_there() {
    let mut of = Accountant::default();
    of.note(at(TURN + 10, 10), &[present("e", 0, false)]);
    of.note(at(TURN + 12, 12), &[present("e", 0, true)]);
    of.note(at(TURN + 15, 15), &[present("e", 0, false)]);
    of.note(at(TURN + 16, 16), &[]);
    of.note(at(TURN + 7300, 7300), &[]);
    assert_eq!(rows(&mut of), [row(HOUR, "e", 3, 0)]);
}

#[test]
fn seconds_are_whole_and_none_is_lost() {
    let mut of = Accountant::default();
    let here = [present("e", 0, true)];
    for tenths in 0..=100 {
        let since_boot = Duration::from_millis(tenths * 900);
        of.note(Moment { wall: TURN + since_boot.as_secs(), since_boot }, &here);
    }
    assert_eq!(rows(&mut of), [row(HOUR, "e", 90, 0)]);
}

#[test]
fn what_counters_say_less_is_not_said_twice() {
    let mut of = Accountant::default();
    let here = [present("e", 0, true)];
    // A flow of 400 ends while they are read.
    for (time, said, news) in [(0, 1000, 1000), (1, 600, 0), (2, 1010, 10), (3, 1010, 0)] {
        of.count(at(TURN + time, time), &here, &counts(said));
        let found = rows(&mut of);
        assert_eq!(found.iter().map(|(.., bytes)| bytes).sum::<u64>(), news, "{found:?}");
    }
}

#[test]
fn another_endpoint_may_get_the_number() {
    let mut of = Accountant::default();
    of.count(at(TURN, 0), &[present("e", 0, true)], &counts(1000));
    of.note(at(TURN + 1, 1), &[]);
    // What the flows that were cut had carried.
    of.close(at(TURN + 4, 4), &[key(0, 1)], &counts(1500));
    assert_eq!(rows(&mut of), [row(HOUR, "e", 1, 1500)]);
    of.count(at(TURN + 5, 5), &[present("f", 0, true)], &counts(70));
    of.count(at(TURN + 6, 6), &[present("f", 0, true)], &counts(80));
    assert_eq!(rows(&mut of), [row(HOUR, "f", 1, 80)]);
    // Without anybody having said that the first is gone: a daemon was killed.
    of.count(at(TURN + 7, 7), &[present("g", 0, true)], &counts(5));
    assert_eq!(rows(&mut of), [row(HOUR, "f", 1, 0), row(HOUR, "g", 0, 5)]);
}

#[test]
fn an_endpoint_keeps_its_counters_when_its_account_is_another() {
    let mut of = Accountant::default();
    let mut moved = present("e", 0, true);
    moved.subject.account = "333333333333".into();
    of.count(at(TURN, 0), &[present("e", 0, true)], &counts(1000));
    of.count(at(TURN + 9, 9), &[moved], &counts(1001));
    let batch = of.batch(at(TURN + 9, 9));
    let rows: Vec<_> =
        batch.rows.iter().map(|((_, of), is)| (&*of.account, is.to_target)).collect();
    assert_eq!(rows, [("222222222222", 1000), ("333333333333", 1)]);
}

#[test]
fn a_daemon_goes_on_where_another_ended() {
    let mut first = Accountant::default();
    first.count(at(TURN + 3000, 3000), &[present("e", 0, true)], &counts(1000));
    let Batch { known, since_boot, .. } = first.batch(at(TURN + 3000, 3000));
    // It was away for an hour. Time is of the hours it was in; what was carried, of the present one.
    let mut next = Accountant::resume(known, Some(since_boot));
    next.count(at(TURN + 6600, 6600), &[present("e", 0, true)], &counts(1800));
    assert_eq!(rows(&mut next), [row(HOUR, "e", 600, 0), row(HOUR + 1, "e", 3000, 800)]);
}

#[test]
fn an_address_is_forgotten_once_it_has_rested_and_has_no_flow() {
    let mut of = Accountant::default();
    of.note(at(TURN, 0), &[present("e", 0, true)]);
    of.note(at(TURN + 10, 10), &[]);
    let stale = |seconds, used| of.stale(at(TURN, seconds), |_| used);
    assert_eq!(stale(69, false), []);
    assert_eq!(stale(70, true), []);
    assert_eq!(stale(70, false), [key(0, 1)]);
    of.note(at(TURN + 80, 80), &[present("e", 0, true)]);
    assert_eq!(of.stale(at(TURN, 1000), |_| false), []);
}
