//! What is written of a flow's life, line by line.

use privatelink_common::drop_reason::DropReason;
use privatelink_common::ethernet::Tags;
use privatelink_common::flow_event::{Ended, Refused, What};
use privatelink_common::flow_table::note::Note;
use privatelink_common::flow_table::record::Phase;
use privatelink_common::flow_table::{Flow, Half, PacketKey};
use privatelink_common::records::NextHop;
use privatelink_common::state::State;
use privatelink_common::tcp::{ACK, FIN, SYN};
use privatelink_common::ticks::Tick;

use super::{Connection, DEFAULT, Field, Interval, Line, Lines, Moments, Names, parse_format};
use crate::config;
use crate::datapath::Clock;
use crate::model::LogForm;
use crate::numbers::Numbering;
use crate::snapshot::Snapshot;

/// What was written.
struct Written {
    fields: Vec<Field>,
    form: LogForm,
    lines: String,
}

impl Written {
    fn with(fields: &[Field]) -> Self {
        Self { fields: fields.to_vec(), form: LogForm::Text, lines: String::new() }
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.lines)
    }
}

impl Lines for Written {
    fn flow(&mut self, line: &Line<'_>) {
        line.write(&mut self.lines, self.form, &self.fields, "us-east-1");
    }

    fn connection(&mut self, connection: &Connection<'_>) {
        connection.write(&mut self.lines, self.form);
    }
}

fn names() -> Names {
    let text = include_str!("../../../examples/overlap.toml");
    let model = config::parse("overlap.toml", text).unwrap();
    let numbering = Numbering::in_order(&model).unwrap();
    Names::of(&Snapshot::new(model, numbering))
}

/// So many seconds after the beginning, which is second 1 000 000 of the epoch.
fn second(seconds: u64) -> Moments {
    let clock = Clock { jiffies: (1 << 20) + seconds * 1000, per_second: 1000 };
    Moments::at(clock, (1_000_000 + seconds) * 1000)
}

fn tick(seconds: u64) -> Tick {
    Tick::from_jiffies((1 << 20) + seconds * 1000)
}

fn key(from: [u8; 4], source: u16, to: [u8; 4], destination: u16, vpc: u16) -> PacketKey {
    PacketKey {
        source: from.into(),
        destination: to.into(),
        source_port: source,
        destination_port: destination,
        vpc,
        protocol: 6,
    }
}

/// A flow of vpc A's client that was opened in the first second, after packets of 100 bytes each way.
fn flow(packets: [u64; 2], flags: [u8; 2], last: u64) -> Flow {
    let half = |key, packets: u64, flags| Half {
        key,
        packets,
        bytes: packets * 100,
        flags,
        stamp: tick(last).stamp(),
        next: 0,
        note: Note::NONE,
    };
    Flow {
        number: 42,
        phase: Phase::Established,
        state: State::Established,
        endpoint: 0,
        target: 0,
        opened: tick(1).coarse(),
        client: NextHop::UNKNOWN,
        client_tags: Tags::default(),
        forward: half(key([10, 0, 2, 20], 40_000, [10, 0, 1, 10], 80, 2), packets[0], flags[0]),
        reverse: half(key([10, 0, 1, 10], 8080, [10, 0, 0, 10], 20_000, 1), packets[1], flags[1]),
    }
}

#[test]
fn a_flow_over_two_intervals_and_its_end() {
    let (names, mut written) = (names(), Written::with(&DEFAULT));
    let mut interval = Interval::begin(std::iter::empty(), second(0));
    interval.live(&flow([4, 3], [SYN | ACK, SYN | ACK], 59), &names, second(60), &mut written);
    interval.end(false, &names, second(60), &mut written);
    insta::assert_snapshot!(written.take(), @r"
    2 222222222222 eni-3678b5e00a8f64167 10.0.2.20 10.0.1.10 40000 80 6 4 400 1000000 1000058 ACCEPT OK
    2 222222222222 eni-3678b5e00a8f64167 10.0.1.10 10.0.2.20 80 40000 6 3 300 1000000 1000058 ACCEPT OK
    ");
    interval.live(&flow([4, 3], [SYN | ACK, SYN | ACK], 59), &names, second(120), &mut written);
    interval.end(false, &names, second(120), &mut written);
    assert_eq!(written.take(), "", "nothing was carried");

    let all = SYN | ACK | FIN;
    let ended = Ended { flow: flow([10, 3], [all, SYN | ACK], 130), at: tick(135) };
    interval.ended(&ended, &[&names].into_iter(), second(135), &mut written);
    insta::assert_snapshot!(written.take(), @r"
    2 222222222222 eni-3678b5e00a8f64167 10.0.2.20 10.0.1.10 40000 80 6 6 600 1000120 1000130 ACCEPT OK
    tcp 2.0 1970-01-12T13:48:50.008 web-nlb tcp:80 10.0.2.20:40000 10.0.1.10:80 129040 - 1000 300 - - - - - - - - - - 1970-01-12T13:46:40.968 vpce-0a11111111111111a vpce-svc-0e123abc123198abc 10.0.0.10:20000 10.0.1.10:8080 established - -
    ");
    interval.live(&flow([10, 3], [all, SYN | ACK], 130), &names, second(180), &mut written);
    assert!(written.take().contains(" 10 1000 "), "a number that another flow has is told whole");
}

#[test]
fn both_sides_of_the_translation_in_one_record() {
    let format = "${flow-direction} ${srcaddr} ${srcport} ${nat} ${target} ${pkt-srcaddr} \
                  ${pkt-srcport} ${pkt-dstaddr} ${pkt-dstport} ${tcp-flags} ${version} ${subnet-id}";
    let (names, mut written) = (names(), Written::with(&parse_format(format).unwrap()));
    let mut interval = Interval::begin(std::iter::empty(), second(0));
    interval.live(&flow([1, 1], [SYN | ACK, SYN | ACK], 59), &names, second(60), &mut written);
    insta::assert_snapshot!(written.take(), @r"
    ingress 10.0.2.20 40000 10.0.0.10:20000 10.0.1.10:8080 10.0.0.10 20000 10.0.1.10 8080 2 5 -
    egress 10.0.1.10 80 10.0.0.10:20000 10.0.1.10:8080 10.0.1.10 8080 10.0.0.10 20000 18 5 -
    ");
}

#[test]
fn a_flow_of_udp_has_nothing_of_tcp() {
    let format = "${protocol} ${bytes} ${tcp-flags} ${consumer-rtt-us} ${retransmissions}";
    let (names, mut written) = (names(), Written::with(&parse_format(format).unwrap()));
    let mut interval = Interval::begin(std::iter::empty(), second(0));
    let mut flow = flow([2, 1], [SYN, SYN], 59);
    flow.state = State::Replied;
    for half in [&mut flow.forward, &mut flow.reverse] {
        half.key.protocol = 17;
    }
    let ended = Ended { flow, at: tick(60) };
    interval.ended(&ended, &[&names].into_iter(), second(60), &mut written);
    insta::assert_snapshot!(written.take(), @r"
    17 200 0 - -
    17 100 0 - -
    udp 2.0 1970-01-12T13:47:38.992 web-nlb udp:80 10.0.2.20:40000 10.0.1.10:80 58032 - 200 100 - - - - - - - - - - 1970-01-12T13:46:40.960 vpce-0a11111111111111a vpce-svc-0e123abc123198abc 10.0.0.10:20000 10.0.1.10:8080 replied - -
    ");
}

#[test]
fn what_was_there_before_and_what_is_missing() {
    let (names, mut written) = (names(), Written::with(&DEFAULT));
    let before = flow([100, 100], [ACK, ACK], 0);
    let mut interval = Interval::begin([before].into_iter(), second(0));
    interval.live(&flow([101, 100], [ACK, ACK], 30), &names, second(60), &mut written);
    interval.end(true, &names, second(60), &mut written);
    insta::assert_snapshot!(written.take(), @r"
    2 222222222222 eni-3678b5e00a8f64167 10.0.2.20 10.0.1.10 40000 80 6 1 100 1000000 1000030 ACCEPT OK
    2 - - - - - - - - - 1000000 1000060 - SKIPDATA
    ");
}

#[test]
fn what_is_refused_once_in_an_interval() {
    let fields = parse_format(
        "${srcport} ${dstport} ${packets} ${bytes} ${action} ${reject-reason} ${endpoint-id}",
    );
    let (names, mut written) = (names(), Written::with(&fields.unwrap()));
    written.form = LogForm::Json;
    let mut interval = Interval::begin(std::iter::empty(), second(0));
    let refused = |port, at| Refused {
        at: tick(at),
        key: key([10, 0, 2, 20], 5555, [10, 0, 1, 10], port, 2),
        what: What::new(3, DropReason::NoListener, 60, SYN),
    };
    for (port, at) in [(81, 3), (82, 4), (81, 9)] {
        interval.refused(&refused(port, at), second(10));
    }
    interval.end(false, &names, second(60), &mut written);
    insta::assert_snapshot!(written.take(), @r#"
    {"srcport":5555,"dstport":81,"packets":2,"bytes":120,"action":"REJECT","reject-reason":"NoListener","endpoint-id":"vpce-0a11111111111111a"}
    {"srcport":5555,"dstport":82,"packets":1,"bytes":60,"action":"REJECT","reject-reason":"NoListener","endpoint-id":"vpce-0a11111111111111a"}
    "#);
    interval.end(false, &names, second(120), &mut written);
    assert_eq!(written.take(), "");
}
