//! Screens as they are seen.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::super::example::sample;
use super::super::lines::Sample;
use super::super::state::Top;
use super::*;
use crate::api::FlowRow;

/// The screen after these keys, with a minute of answers behind it.
fn drawn(width: u16, height: u16, keys: &str, in_colour: bool) -> Buffer {
    let mut top = Top::new(sample(10), Duration::from_secs(1));
    for second in 11..=70 {
        top.answer(Ok(sample(second)));
    }
    for key in keys.chars() {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        assert!(top.key(KeyEvent::from(code)).is_continue());
    }
    shot(&top, width, height, in_colour)
}

fn shot(top: &Top, width: u16, height: u16, in_colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, &top.screen(), Theme::new(in_colour))).unwrap();
    terminal.backend().buffer().clone()
}

/// The text alone, a line each, without the spaces at their ends.
fn text(buffer: &Buffer) -> String {
    let lines = buffer.content.chunks(buffer.area.width.into());
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    };
    lines.map(line).collect()
}

#[test]
fn endpoints_at_80_by_24() {
    assert_snapshot!(text(&drawn(80, 24, "", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ██████████       25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, max 1.2M    packets/s 1 min, max 2.1k   new/s 1 min, max 107
    █████████████████████████  ██████████████████████████  █████████████████████████
    █████████████████████████  ██████████████████████████  █████████████████████████
    endpoints: 3, by bytes
    endpoint                        to_target/s to_client/s packets/s  new/s   flows
    vpce-0a11111111111111a                 100k        1.0M      2.0k    100     200
    vpce-0b22222222222222b                 7.0k         70k       140      7     900
    vpce-0c33333333333333c                    0           0         0      0       0












    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn services_at_80_by_24() {
    assert_snapshot!(text(&drawn(80, 24, "2", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ██████████       25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, max 1.2M    packets/s 1 min, max 2.1k   new/s 1 min, max 107
    █████████████████████████  ██████████████████████████  █████████████████████████
    █████████████████████████  ██████████████████████████  █████████████████████████
    services: 2, by bytes
    service                         to_target/s to_client/s packets/s  new/s   flows
    vpce-svc-0e123abc123198abc             107k        1.1M      2.1k    107    1100
    vpce-svc-0f00000000000000f                0           0         0      0       0













    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn flows_at_80_by_24() {
    assert_snapshot!(text(&drawn(80, 24, "4", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ██████████       25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, max 1.2M    packets/s 1 min, max 2.1k   new/s 1 min, max 107
    █████████████████████████  ██████████████████████████  █████████████████████████
    █████████████████████████  ██████████████████████████  █████████████████████████
    flows: 2, by bytes
    client                   target                to_target/s to_client/s packets/s
    10.0.7.8:40001           10.0.1.11:8081                100        5.0k        51
    10.0.7.7:40000           10.0.1.10:8080                100         500         6













    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn endpoints_at_120_by_40() {
    assert_snapshot!(text(&drawn(120, 40, "", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ████████████████████                 25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, max 1.2M                  packets/s 1 min, max 2.1k               new/s 1 min, max 107
    ███████████████████████████████████████  ██████████████████████████████████████  ███████████████████████████████████████
    ███████████████████████████████████████  ██████████████████████████████████████  ███████████████████████████████████████
    endpoints: 3, by bytes
    endpoint                vpc                  service                    to_target/s to_client/s packets/s  new/s   flows
    vpce-0a11111111111111a  vpc-a                vpce-svc-0e123abc123198abc        100k        1.0M      2.0k    100     200
    vpce-0b22222222222222b  vpc-b                vpce-svc-0e123abc123198abc        7.0k         70k       140      7     900
    vpce-0c33333333333333c  vpc-c                vpce-svc-0f00000000000000f           0           0         0      0       0




























    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn flows_at_120_by_40() {
    assert_snapshot!(text(&drawn(120, 40, "4", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ████████████████████                 25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, max 1.2M                  packets/s 1 min, max 2.1k               new/s 1 min, max 107
    ███████████████████████████████████████  ██████████████████████████████████████  ███████████████████████████████████████
    ███████████████████████████████████████  ██████████████████████████████████████  ███████████████████████████████████████
    flows: 2, by bytes
    client               target                endpoint               state            age to_target/s to_client/s packets/s
    10.0.7.8:40001       10.0.1.11:8081        vpce-0b22222222222222b established   1m 10s         100        5.0k        51
    10.0.7.7:40000       10.0.1.10:8080        vpce-0a11111111111111a established   1m 10s         100         500         6





























    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn drops_at_120_by_40() {
    assert_snapshot!(text(&drawn(120, 40, "5", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ████████████████████                 25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, max 1.2M                  packets/s 1 min, max 2.1k               new/s 1 min, max 107
    ███████████████████████████████████████  ██████████████████████████████████████  ███████████████████████████████████████
    ███████████████████████████████████████  ██████████████████████████████████████  ███████████████████████████████████████
    drops: 2, by bytes
    reason                                              interface       vpc                              packets/s   packets
    NoListener                                          pl-consumer-a   vpc-a                                   40      2.8k
    SecurityGroup                                       pl-consumer-a   vpc-a                                    0         7





























    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn help_at_80_by_24() {
    assert_snapshot!(text(&drawn(80, 24, "?", true)), @r"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  ██████████       25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    bytes/s 1 min, ┌ keys ──────────────────────────────────────────┐n, max 107
    ███████████████│1 endpoints  2 services  3 targets  4 flows     │███████████████
    ███████████████│5 or d drop reasons     Tab the next of these   │███████████████
    endpoints: 3, b│                                                │
    endpoint       │Enter            what the line is made of       │  new/s   flows
    vpce-0a11111111│Esc, Backspace   back                           │    100     200
    vpce-0b22222222│Up, Down, PgUp, PgDn, Home, End                 │      7     900
    vpce-0c33333333│                                                │      0       0
                   │b bytes  p packets  n new flows  f flows  i id  │
                   │sort by it; the same again: reversed            │
                   │                                                │
                   │/ filter by a part of what a line says          │
                   │Space pause      ? help      q, Ctrl-C quit     │
                   │                                                │
                   │Bytes are those of IP packets. Flows are the    │
                   │1000 that have carried most.                    │
                   │                                                │
                   │Any key goes on.                                │
                   └────────────────────────────────────────────────┘

    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn a_small_screen_has_no_charts() {
    assert_snapshot!(text(&drawn(60, 12, "/0", true)), @r#"
    privatelink 0.1.0  up 1m 10s  every 1s
    262144 of 1048576 flows, 12 half-open  █████  25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s
    endpoints: 3, by bytes, with "0"
    endpoint    to_target/s to_client/s packets/s  new/s   flows
    vpc…111111a        100k        1.0M      2.0k    100     200
    vpc…222222b        7.0k         70k       140      7     900
    vpc…333333c           0           0         0      0       0



    /0_  Enter keeps it, Esc clears it
    "#);
}

#[test]
fn a_daemon_that_is_away_is_named_in_the_first_line() {
    let mut top = Top::new(sample(10), Duration::from_secs(1));
    top.answer(Err("no privatelink daemon answers at /run/x".into()));
    assert_snapshot!(text(&shot(&top, 80, 12, true)), @r"
    privatelink 0.1.0  up 10s  every 1s  no answer, trying again
    262144 of 1048576 flows, 12 half-open  ██████████       25.0 %
    no privatelink daemon answers at /run/x
    endpoints: 3, by bytes
    endpoint                        to_target/s to_client/s packets/s  new/s   flows
    vpce-0a11111111111111a                    -           -         -      -     200
    vpce-0b22222222222222b                    -           -         -      -     900
    vpce-0c33333333333333c                    -           -         -      -       0



    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn without_colour_it_says_the_same() {
    for (width, height) in [(80, 24), (120, 40)] {
        for keys in ["", "2\n", "4", "5", "?", " "] {
            let [with, without] = [true, false].map(|colour| drawn(width, height, keys, colour));
            assert_eq!(text(&with), text(&without), "{keys}");
            let coloured = |buffer: &Buffer| {
                let is_coloured = |cell: &&ratatui::buffer::Cell| {
                    (cell.fg, cell.bg) != (Color::Reset, Color::Reset)
                };
                buffer.content.iter().filter(is_coloured).count()
            };
            assert!(coloured(&with) > 0, "{keys}");
            assert_eq!(coloured(&without), 0, "{keys}");
        }
    }
}

#[test]
fn the_chosen_line_stands_out_without_colour() {
    let buffer = drawn(80, 24, "", false);
    let lines = buffer.content.chunks(80);
    let chosen = lines.filter(|line| line[0].modifier.contains(Modifier::REVERSED));
    let chosen: Vec<String> =
        chosen.map(|line| line[..22].iter().map(ratatui::buffer::Cell::symbol).collect()).collect();
    assert_eq!(chosen, ["vpce-0a11111111111111a"]);
}

#[test]
fn every_size_can_be_drawn() {
    let mut top = Top::new(sample(10), Duration::from_secs(1));
    top.answer(Ok(sample(20)));
    for keys in ["", "4", "5", "?"] {
        keys.chars()
            .for_each(|key| assert!(top.key(KeyEvent::from(KeyCode::Char(key))).is_continue()));
        for (width, height) in (1..45).flat_map(|width| (1..20).map(move |height| (width, height)))
        {
            let text = text(&shot(&top, width, height, true));
            let is_small = (width, height) != (width.max(LEAST.0), height.max(LEAST.1));
            assert!(!is_small || "too small: 40 x 10 at least".starts_with(text.trim()), "{text}");
        }
    }
}

#[test]
fn pages_of_lines_follow_the_choice() {
    let mut many = sample(10);
    let one = many.totals.endpoints[0].clone();
    many.totals.endpoints = (0..100)
        .map(|number| {
            let endpoint = format!("vpce-{number:03}");
            crate::api::EndpointTotals { endpoint, ..one.clone() }
        })
        .collect();
    let mut top = Top::new(many, Duration::from_secs(1));
    let first = |top: &Top| text(&shot(top, 80, 12, true)).lines().nth(5).unwrap()[..8].to_owned();
    // 6 lines at a time.
    for (key, expected) in [
        (KeyCode::Home, "vpce-000"),
        (KeyCode::Down, "vpce-000"),
        (KeyCode::PageDown, "vpce-006"),
        (KeyCode::End, "vpce-096"),
        (KeyCode::PageUp, "vpce-084"),
    ] {
        assert!(top.key(KeyEvent::from(key)).is_continue());
        assert_eq!(first(&top), expected, "{key:?}");
    }
}

/// Flows from each family to each, and targets of both, with the longest addresses there are.
fn of_both_families(seconds: u64) -> Sample {
    const CLIENTS: [&str; 2] =
        ["10.100.200.201:40000", "[fd00:1234:5678:9abc:def0:1234:5678:9abc]:40000"];
    const TARGETS: [&str; 2] =
        ["10.100.100.110:8080", "[fd00:1234:5678:9abc:def0:1234:5678:1111]:8080"];
    let mut sample = sample(seconds);
    let flow = sample.flows.remove(0);
    let mixes = CLIENTS.iter().flat_map(|client| TARGETS.map(|target| (client, target)));
    sample.flows = mixes
        .map(|(client, target)| FlowRow {
            client: client.parse().unwrap(),
            target: target.parse().unwrap(),
            ..flow.clone()
        })
        .collect();
    for (of, target) in sample.totals.targets.iter_mut().zip(TARGETS) {
        target.clone_into(&mut of.target);
    }
    sample
}

/// Its screen behind a key.
fn drawn_of_both_families(width: u16, key: char) -> String {
    let mut top = Top::new(of_both_families(10), Duration::from_secs(1));
    top.answer(Ok(of_both_families(11)));
    assert!(top.key(KeyEvent::from(KeyCode::Char(key))).is_continue());
    text(&shot(&top, width, 12, false))
}

#[test]
fn flows_of_both_families_at_80() {
    assert_snapshot!(drawn_of_both_families(80, '4'), @r"
    privatelink 0.1.0  up 11s  every 1s
    262144 of 1048576 flows, 12 half-open  ██████████       25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    flows: 4, by bytes
    client                  target                 to_target/s to_client/s packets/s
    10.100.200.201:40000    10.100.100.110:8080            100         500         6
    10.100.200.201:40000    [fd00:1…678:1111]:8080         100         500         6
    [fd00:1…678:9abc]:40000 10.100.100.110:8080            100         500         6
    [fd00:1…678:9abc]:40000 [fd00:1…678:1111]:8080         100         500         6


    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn flows_of_both_families_at_140() {
    assert_snapshot!(drawn_of_both_families(140, '4'), @r"
    privatelink 0.1.0  up 11s  every 1s
    262144 of 1048576 flows, 12 half-open  █████████████████████████                      25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    flows: 4, by bytes
    client                                          target                                         state       to_target/s to_client/s packets/s
    10.100.200.201:40000                            10.100.100.110:8080                            established         100         500         6
    10.100.200.201:40000                            [fd00:1234:5678:9abc:def0:1234:5678:1111]:8080 established         100         500         6
    [fd00:1234:5678:9abc:def0:1234:5678:9abc]:40000 10.100.100.110:8080                            established         100         500         6
    [fd00:1234:5678:9abc:def0:1234:5678:9abc]:40000 [fd00:1234:5678:9abc:def0:1234:5678:1111]:8080 established         100         500         6


    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}

#[test]
fn targets_of_both_families_at_120() {
    assert_snapshot!(drawn_of_both_families(120, '3'), @r"
    privatelink 0.1.0  up 11s  every 1s
    262144 of 1048576 flows, 12 half-open  ████████████████████                 25.0 %
    B/s 107k to targets, 1.1M to clients  packets/s 2.1k  new/s 107  drops/s 40
    targets: 2, by bytes
    target                                                        health    to_target/s to_client/s packets/s  new/s   flows
    10.100.100.110:8080                                           healthy          100k        1.0M      2.0k    100     600
    [fd00:1234:5678:9abc:def0:1234:5678:1111]:8080                unhealthy        7.0k         70k       140      7     500




    1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit
    ");
}
