//! Keys and answers in, lines out.

use super::super::example::sample;
use super::*;
use crate::api::CountsBody;

const A: &str = "vpce-0a11111111111111a";
const B: &str = "vpce-0b22222222222222b";
const C: &str = "vpce-0c33333333333333c";
const WEB: &str = "vpce-svc-0e123abc123198abc";
const API: &str = "vpce-svc-0f00000000000000f";

/// One that has had answers at these seconds.
fn top(seconds: &[u64]) -> Top {
    let mut top = Top::new(sample(seconds[0]), Duration::from_secs(1));
    seconds[1..].iter().for_each(|&at| top.answer(Ok(sample(at))));
    top
}

/// Presses keys: characters, or names in angle brackets.
fn press(top: &mut Top, keys: &str) -> ControlFlow<()> {
    let mut rest = keys;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (code, after) = match named {
            Some((name, after)) => (code(name), after),
            None => (KeyCode::Char(first), &rest[first.len_utf8()..]),
        };
        rest = after;
        top.key(KeyEvent::new(code, KeyModifiers::NONE))?;
    }
    ControlFlow::Continue(())
}

fn code(name: &str) -> KeyCode {
    match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "back" => KeyCode::Backspace,
        "tab" => KeyCode::Tab,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        other => panic!("no key {other}"),
    }
}

/// What lines are called, in their order, and which is chosen.
fn seen(top: &Top) -> (Vec<String>, Option<usize>) {
    let screen = top.screen();
    (screen.lines.iter().map(|line| line.cells[0].clone()).collect(), screen.chosen)
}

#[test]
fn keys_choose_what_is_listed() {
    for (keys, title, lines, chosen) in [
        ("", "endpoints: 3, by bytes", &[A, B, C][..], 0),
        ("2", "services: 2, by bytes", &[WEB, API], 0),
        ("<tab>", "services: 2, by bytes", &[WEB, API], 0),
        ("3", "targets: 2, by bytes", &["10.0.1.10:8080", "10.0.1.11:8081"], 0),
        ("4", "flows: 2, by bytes", &["10.0.7.8:40001", "10.0.7.7:40000"], 0),
        ("5", "drops: 2, by bytes", &["NoListener", "SecurityGroup"], 0),
        ("d", "drops: 2, by bytes", &["NoListener", "SecurityGroup"], 0),
        ("5<tab>", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("2<enter>", &format!("endpoints of {WEB}: 2, by bytes"), &[A, B], 0),
        ("2<down><enter>", &format!("endpoints of {API}: 1, by bytes"), &[C], 0),
        ("2<enter><down><enter>", &format!("flows of {B}: 1, by bytes"), &["10.0.7.8:40001"], 0),
        ("<down><enter><enter>", &format!("flows of {B}: 1, by bytes"), &["10.0.7.8:40001"], 0),
        ("3<enter>", "flows of 10.0.1.10:8080: 1, by bytes", &["10.0.7.7:40000"], 0),
        ("2<enter><down><enter><esc>", &format!("endpoints of {WEB}: 2, by bytes"), &[A, B], 1),
        ("2<down><enter><enter><esc><back>", "services: 2, by bytes", &[WEB, API], 1),
        ("<esc><back>", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("2<enter>3<esc>", "targets: 2, by bytes", &["10.0.1.10:8080", "10.0.1.11:8081"], 0),
        ("bb", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("b", "endpoints: 3, by bytes, reversed", &[C, B, A], 0),
        ("p", "endpoints: 3, by packets", &[A, B, C], 0),
        ("n", "endpoints: 3, by new flows", &[A, B, C], 0),
        ("nn", "endpoints: 3, by new flows, reversed", &[C, B, A], 0),
        ("f", "endpoints: 3, by flows", &[B, A, C], 0),
        ("i", "endpoints: 3, by id", &[A, B, C], 0),
        ("ii", "endpoints: 3, by id, reversed", &[C, B, A], 0),
        ("iip", "endpoints: 3, by packets", &[A, B, C], 0),
        ("<down>", "endpoints: 3, by bytes", &[A, B, C], 1),
        ("<down>f", "endpoints: 3, by flows", &[B, A, C], 0),
        ("<end>", "endpoints: 3, by bytes", &[A, B, C], 2),
        ("<pgdn>", "endpoints: 3, by bytes", &[A, B, C], 2),
        ("<end><up>", "endpoints: 3, by bytes", &[A, B, C], 1),
        ("<end><home>", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("<end><pgup>", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("/0b2<enter>", "endpoints: 1, by bytes, with \"0b2\"", &[B], 0),
        ("/vpc-c", "endpoints: 1, by bytes, with \"vpc-c\"", &[C], 0),
        ("/0bx<back>", "endpoints: 1, by bytes, with \"0b\"", &[B], 0),
        ("/0b<esc>", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("/0b<enter><esc>", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("/0b<enter>2", "services: 2, by bytes", &[WEB, API], 0),
        ("?", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("?2", "endpoints: 3, by bytes", &[A, B, C], 0),
        ("?<esc>2", "services: 2, by bytes", &[WEB, API], 0),
    ] {
        let mut top = top(&[10, 20]);
        assert_eq!(press(&mut top, keys), ControlFlow::Continue(()), "{keys}");
        assert_eq!(top.screen().title, title, "{keys}");
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(seen(&top), (lines, Some(chosen)), "{keys}");
    }
}

#[test]
fn a_filter_that_nothing_passes_leaves_nothing_to_choose() {
    let mut top = top(&[10, 20]);
    assert!(press(&mut top, "/nothing<enter><down><enter>").is_continue());
    assert_eq!(seen(&top), (vec![], None));
}

#[test]
fn q_and_control_c_end_it_but_a_filter_may_have_a_q() {
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for (keys, ends) in [("q", true), ("?q", true), ("/q", false), ("/q<enter>q", true)] {
        let mut top = top(&[10]);
        assert_eq!(press(&mut top, keys).is_break(), ends, "{keys}");
        assert!(top.key(control_c).is_break(), "{keys}");
    }
    let mut top = top(&[10]);
    assert!(top.key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL)).is_continue());
}

#[test]
fn flows_are_asked_for_where_they_are_listed() {
    let flows = |scope| Wanted::Sample(Page::new(View::Flows, scope).flow_query());
    for (keys, wanted) in [
        ("", Wanted::Sample(None)),
        ("4", flows(Scope::All)),
        ("<enter>", flows(Scope::Endpoint(A.into()))),
        ("<enter><esc>", Wanted::Sample(None)),
        ("3<enter>", flows(Scope::Target("10.0.1.10:8080".into()))),
        (" ", Wanted::Nothing),
        ("4 ", Wanted::Nothing),
        ("  ", Wanted::Sample(None)),
    ] {
        let mut top = top(&[10, 20]);
        assert!(press(&mut top, keys).is_continue());
        assert_eq!(top.wanted(), wanted, "{keys:?}");
    }
}

/// Bytes per second of the first endpoint, as they are shown.
fn shown(top: &Top) -> String {
    let screen = top.screen();
    screen.lines.iter().find(|line| line.key == A).unwrap().cells[3].clone()
}

#[test]
fn rates_come_with_the_second_answer_and_end_with_another_daemon() {
    let mut top = top(&[10]);
    assert_eq!((shown(&top).as_str(), top.screen().rates), ("-", None));
    top.answer(Ok(sample(20)));
    assert_eq!(shown(&top), "100k");
    let rates = top.screen().rates.unwrap();
    assert_eq!((rates.new_flows, rates.to_client), (107.0, 1_070_000.0));
    assert_eq!(top.screen().drops, Some(40.0));

    let mut another = sample(21);
    another.totals.pid += 1;
    top.answer(Ok(another));
    assert_eq!((shown(&top).as_str(), top.screen().rates, top.screen().drops), ("-", None, None));
    assert_eq!(top.screen().history.columns(1, |rates| rates.new_flows), [0]);
}

#[test]
fn an_uptime_that_went_back_is_another_daemons() {
    let mut top = top(&[10, 20]);
    top.answer(Ok(sample(5)));
    assert_eq!(shown(&top), "-");
    top.answer(Ok(sample(6)));
    assert_eq!(shown(&top), "100k");
}

#[test]
fn an_answer_right_after_another_is_compared_with_the_one_before() {
    let mut top = top(&[10, 20]);
    let mut soon = sample(20);
    soon.totals.uptime_ms += 99;
    top.answer(Ok(soon));
    assert_eq!(
        top.screen().rates.map(|rates| rates.new_flows.round()),
        Some(106.0),
        "over 10.099 s"
    );
}

#[test]
fn a_daemon_that_is_away_leaves_its_last_words() {
    let mut top = top(&[10, 20]);
    top.answer(Err("nobody answers".into()));
    assert_eq!(
        (top.screen().notice(), top.screen().fault),
        (Some("no answer, trying again"), Some("nobody answers"))
    );
    assert_eq!(shown(&top), "100k");
    top.answer(Ok(sample(30)));
    assert_eq!(top.screen().notice(), None);
}

#[test]
fn an_endpoint_made_anew_has_no_rate() {
    let mut top = top(&[10]);
    let mut now = sample(20);
    now.totals.endpoints[0].counts = CountsBody::default();
    now.totals.endpoints[1].endpoint = "vpce-0d".into();
    top.answer(Ok(now));
    assert_eq!(shown(&top), "-");
    let (names, _) = seen(&top);
    assert_eq!(names, [C, A, "vpce-0d"], "those with a rate first");
}

#[test]
fn a_reason_that_is_new_counts_from_nothing() {
    let mut before = sample(10);
    before.totals.drops.clear();
    let mut top = Top::new(before, Duration::from_secs(1));
    top.answer(Ok(sample(20)));
    assert!(press(&mut top, "5").is_continue());
    let screen = top.screen();
    let cells: Vec<&[String]> = screen.lines.iter().map(|line| &line.cells[3..]).collect();
    assert_eq!(cells, [["80", "800"], ["0.7", "7"]]);
}
