//! The web page in a browser, against what the control API says. Needs root and Chromium.

#[path = "web/everybody.rs"]
mod everybody;
#[path = "web/families.rs"]
mod families;
#[path = "web/pictures.rs"]
mod pictures;
#[path = "web/served.rs"]
mod served;
#[path = "web/site.rs"]
mod site;

use std::time::Duration;

use privatelink_tests::{Chromium, Daemon, ENDPOINT};
use serde_json::{Value, json};

use self::site::{A, API, B, C, LISTEN, Site, WEB};

const PATIENCE: Duration = Duration::from_secs(30);
const HELPERS: &str = include_str!("web/page.js");

/// What one of the helpers sees.
fn seen(call: &str) -> String {
    format!("{HELPERS}.{call}")
}

fn see(browser: &mut Chromium, call: &str) -> Value {
    browser.evaluate(&seen(call)).unwrap()
}

/// Waits for rows of a table.
fn rows(browser: &mut Chromium, table: &str, what: &str, is: impl Fn(&[Value]) -> bool) -> Value {
    let call = seen(&format!("rows('{table}')"));
    browser.wait(what, &call, |rows| rows.as_array().is_some_and(|rows| is(rows))).unwrap()
}

/// Expects the page to have done without complaint and without anybody else.
fn expect_quiet(browser: &mut Chromium) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let origin = format!("http://{LISTEN}/");
    let requests = browser.requests();
    assert!(requests.len() > 10, "{requests:?}");
    assert!(requests.iter().all(|url| url.starts_with(&origin)), "{requests:?}");
}

fn card<'c>(cards: &'c Value, title: &str, facts: &str) -> &'c Value {
    let mut found =
        cards.as_array().unwrap().iter().filter(|card| {
            card["title"] == title && card["facts"].as_str().unwrap().contains(facts)
        });
    found.next().unwrap_or_else(|| panic!("no {title} in {cards:#}"))
}

#[test]
fn the_topology_with_health_and_rates() {
    let site = Site::new();
    let mut client = site.client("10.0.2.20", ENDPOINT, 1000);
    let mut browser = site.browser("");
    let unhealthy = |cards: &Value| {
        cards.as_array().is_some_and(|cards| cards.iter().any(|card| card["tone"] == "bad"))
    };
    let cards = browser.wait("the dead target is unhealthy", &seen("cards()"), unhealthy).unwrap();
    for (title, facts, column, state, tone, leads) in [
        (
            "vpc-consumer-a",
            "2 endpoints · 1 flow",
            "vpcs",
            "",
            "none",
            format!("leads to {A}, {C}"),
        ),
        ("vpc-consumer-b", "1 endpoint · 0 flows", "vpcs", "", "none", format!("leads to {B}")),
        (A, "10.0.1.10 · 1 flow", "endpoints", "✓available", "good", format!("leads to {WEB}")),
        (B, "10.0.1.10 · 0 flows", "endpoints", "✓available", "good", format!("leads to {WEB}")),
        (C, "10.0.1.20 · 0 flows", "endpoints", "✓available", "good", format!("leads to {API}")),
        (
            WEB,
            "tcp/80 · web-nlb · 1 flow",
            "services",
            "✓2 of 2 targets healthy",
            "good",
            "leads to 10.0.1.10:8080, 10.0.1.11:8081".into(),
        ),
        (
            API,
            "tcp/443 · api-nlb · 0 flows",
            "services",
            "…1 of 2 targets healthy",
            "wait",
            "leads to 10.0.1.10:8080, 10.0.1.11:9090".into(),
        ),
        ("10.0.1.10:8080", "web · vpc-provider", "targets", "✓healthy", "good", String::new()),
        ("10.0.1.11:8081", "web · vpc-provider", "targets", "✓healthy", "good", String::new()),
        ("10.0.1.10:8080", "api · vpc-provider", "targets", "✓healthy", "good", String::new()),
        ("10.0.1.11:9090", "api · vpc-provider", "targets", "✕unhealthy", "bad", String::new()),
    ] {
        let card = card(&cards, title, facts);
        let is = ["column", "state", "tone", "leads"].map(|of| card[of].as_str().unwrap());
        assert_eq!(is, [column, state, tone, &leads], "{title}");
    }
    assert_eq!(card(&cards, "10.0.1.11:9090", "")["why"], "connection refused");
    let figures = see(&mut browser, "figures()");
    assert_eq!(
        (&figures["Live flows"], &figures["Healthy targets"]),
        (&json!("1"), &json!("3 of 4"))
    );

    // A line for each pair, and while something is carried they say so.
    assert_eq!(see(&mut browser, "cards().length"), 11);
    assert_eq!(browser.evaluate("document.querySelectorAll('.lines path').length").unwrap(), 10);
    let busy = "document.querySelectorAll('.lines .busy').length";
    let idle = |cards: &Value| {
        let quiet = |card: &Value| card["rates"] == "→to targets 0 B/s←, to clients 0 B/s";
        cards.as_array().is_some_and(|cards| !cards.is_empty() && cards.iter().all(quiet))
    };
    browser.wait("nothing is carried", &seen("cards()"), idle).unwrap();
    assert_eq!(browser.evaluate(busy).unwrap(), 0);
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                privatelink_tests::exchange(&mut client, &[b'x'; 1000]).unwrap();
            }
        });
        let lines = browser.wait("three lines are busy", busy, |lines| *lines == 3);
        drop(stop);
        lines.unwrap();
    });
    browser.wait("nothing is carried any more", &seen("cards()"), idle).unwrap();

    browser.evaluate("document.getElementById('find').focus()").unwrap();
    browser.type_text("9090").unwrap();
    browser
        .wait("only what leads there is shown", &seen("cards().length"), |cards| *cards == 4)
        .unwrap();
    expect_quiet(&mut browser);
}

#[test]
fn rates_and_numbers_are_worked_out_right() {
    let site = Site::new();
    let mut browser = site.browser("");
    let mut check = |expression: &str, expected: Value| {
        assert_eq!(browser.evaluate(expression).unwrap(), expected, "{expression}");
    };
    for (number, expected) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (1_000_000_000, "1 GB"),
    ] {
        check(&format!("import('/format.js').then((of) => of.bytes({number}))"), json!(expected));
    }
    for (ms, expected) in
        [(5, "5ms"), (1000, "1s"), (61_000, "1m 1s"), (90_061_000, "1d 1h"), (86_400_000, "1d")]
    {
        check(&format!("import('/format.js').then((of) => of.duration({ms}))"), json!(expected));
    }
    let rates = |before: &Value, now: &Value| {
        format!(
            "import('/rates.js').then(({{ Rates }}) => {{ const rates = new Rates(); \
             for (const totals of [{before}, {now}]) rates.take(totals); \
             return [rates.of('endpoints', 'e'), rates.all, rates.dropped]; }})"
        )
    };
    let totals = |pid: u32, uptime_ms: u64, bytes: u64, dropped: u64| {
        let counts = json!({ "bytes_to_target": bytes, "bytes_to_client": 7, "packets_to_target": bytes / 100,
            "packets_to_client": 0, "new_flows": 1 });
        json!({ "pid": pid, "uptime_ms": uptime_ms, "services": [], "targets": [],
            "endpoints": [{ "endpoint": "e", "counts": counts }], "drops": [{ "packets": dropped }] })
    };
    let of = |to_target: Option<u64>, packets: Option<u64>, other: Option<u64>| json!({ "toTarget": to_target, "toClient": other, "packets": packets, "opened": other });
    let known = of(Some(500), Some(5), Some(0));
    let before = totals(1, 10_000, 1000, 3);
    check(&rates(&before, &totals(1, 12_000, 2000, 7)), json!([known, known, 2]));
    let none = of(None, None, None);
    check(&rates(&before, &totals(2, 12_000, 2000, 7)), json!([none, none, null]));
    let back = of(None, None, Some(0));
    check(&rates(&before, &totals(1, 12_000, 0, 3)), json!([back, back, 0]));
}

#[test]
fn flows_are_searched_and_drops_have_reasons() {
    let site = Site::new();
    let api = "10.0.1.20:443".parse().unwrap();
    let clients = [
        site.client("10.0.2.20", ENDPOINT, 5000),
        site.client("10.0.2.20", api, 1000),
        site.client("10.0.2.21", ENDPOINT, 100),
    ];
    site.drop_packets(3);
    let mut browser = site.browser("#flows");
    rows(&mut browser, "flow-table", "all flows are there", |rows| rows.len() == 3);

    // The bytes are those that the control API tells.
    let listed = site.daemon.cli(&["flows", "-o", "json", "--sort", "bytes"]).unwrap();
    let shown = rows(&mut browser, "flow-table", "all flows have rates", |rows| {
        rows.iter().all(|row| row[8] == "0 B/s")
    });
    for (place, flow) in listed.as_array().unwrap().iter().enumerate() {
        let bytes =
            flow["bytes_to_target"].as_u64().unwrap() + flow["bytes_to_client"].as_u64().unwrap();
        let text = format!("import('/format.js').then((of) => of.bytes({bytes}))");
        let bytes = browser.evaluate(&text).unwrap();
        let expected = [&flow["client"], &flow["vpc"], &flow["endpoint"], &bytes];
        assert_eq!([0, 1, 2, 9].map(|column| &shown[place][column]), expected);
    }

    let second = clients[2].local_addr().unwrap().to_string();
    for (field, text, client) in [
        ("client", "10.0.2.21", &*second),
        ("client", "10.0.2.21/32", &second),
        ("endpoint", C, &clients[1].local_addr().unwrap().to_string()),
        ("min_bytes", "9000", &clients[0].local_addr().unwrap().to_string()),
    ] {
        browser.evaluate(&format!("document.querySelector('[name={field}]').focus()")).unwrap();
        browser.type_text(text).unwrap();
        browser.press("Enter").unwrap();
        let only = |rows: &[Value]| rows.len() == 1 && rows[0][0] == *client;
        rows(&mut browser, "flow-table", &format!("{field} {text} finds one flow"), only);
        let hash = browser.evaluate("decodeURIComponent(location.hash)").unwrap();
        assert_eq!(hash, format!("#flows?{field}={text}"));
        browser.evaluate("document.querySelector('[type=reset]').click()").unwrap();
        rows(&mut browser, "flow-table", "all flows are there again", |rows| rows.len() == 3);
    }
    browser.evaluate("document.querySelector('[name=client]').focus()").unwrap();
    browser.type_text("nobody").unwrap();
    browser.press("Enter").unwrap();
    let fault = "document.getElementById('flow-fault').textContent";
    let said =
        |fault: &Value| fault.as_str().is_some_and(|fault| fault.contains("write e.g. 10.0.2.20"));
    browser.wait("the mistake is named", fault, said).unwrap();

    browser.open(&format!("http://{LISTEN}/#drops")).unwrap();
    let counted = site.daemon.drops("pl-consumer-b", "NoListener").unwrap();
    let dropped = rows(&mut browser, "drop-table", "the drops are there", |rows| rows.len() == 1);
    let expected = [
        json!("NoListener"),
        json!(counted.to_string()),
        json!("pl-consumer-b"),
        json!("vpc-consumer-b"),
        json!("no listener publishes this port"),
    ];
    assert_eq!([0, 1, 3, 4, 5].map(|column| &dropped[0][column]), expected.each_ref());
    expect_quiet(&mut browser);
}

#[test]
fn a_daemon_that_goes_away_is_told_once() {
    let mut site = Site::new();
    let mut browser = site.browser("");
    browser.wait("the topology is there", &seen("cards().length"), |cards| *cards == 11).unwrap();
    let alert = "document.getElementById('alert').hidden ? '' : document.getElementById('alert').textContent";
    assert_eq!(browser.evaluate(alert).unwrap(), "");
    let home = site.daemon.home();
    site.daemon.kill().unwrap();
    let gone = browser.wait("it is told", alert, |alert| *alert != "").unwrap();
    assert!(gone.as_str().unwrap().starts_with("The daemon does not answer since"), "{gone}");
    assert_eq!(see(&mut browser, "cards().length"), 11);
    let changes = "new Promise((done) => { let changes = 0; \
                   new MutationObserver(() => { changes += 1; }).observe(document.getElementById('alert'), \
                   { attributes: true, childList: true, characterData: true, subtree: true }); \
                   setTimeout(() => done(changes), 5000); })";
    assert_eq!(browser.evaluate(changes).unwrap(), 0, "it is not told again and again");
    let config = site.lab.folder().join("web.toml");
    site.daemon = Daemon::start_in(home, &site.lab, &config, &[]).unwrap();
    browser.wait("it is back", alert, |alert| *alert == "").unwrap();
}
