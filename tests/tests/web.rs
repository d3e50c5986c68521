//! The web page in a browser, against what the control API says. Needs root and Chromium.

#[path = "web/site.rs"]
mod site;

#[path = "web/pictures.rs"]
mod pictures;

use std::time::Duration;

use privatelink_tests::{Chromium, Daemon, ENDPOINT, wait_until};
use serde_json::{Value, json};

use self::site::{A, API, B, C, LISTEN, Site, WEB, configuration, lab};

const PATIENCE: Duration = Duration::from_secs(30);
const VIEWS: [&str; 4] = ["topology", "flows", "drops", "charts"];
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
        rows.iter().all(|row| row[7] == "0 B/s")
    });
    for (place, flow) in listed.as_array().unwrap().iter().enumerate() {
        let bytes =
            flow["bytes_to_target"].as_u64().unwrap() + flow["bytes_to_client"].as_u64().unwrap();
        let text = format!("import('/format.js').then((of) => of.bytes({bytes}))");
        let bytes = browser.evaluate(&text).unwrap();
        let expected = [&flow["client"], &flow["vpc"], &flow["endpoint"], &bytes];
        assert_eq!([0, 1, 2, 8].map(|column| &shown[place][column]), expected);
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
fn the_keyboard_alone_reaches_everything() {
    let site = Site::new();
    let _clients = [site.client("10.0.2.20", ENDPOINT, 10), site.client("10.0.2.21", ENDPOINT, 10)];
    let mut browser = site.browser("");
    browser.wait("the topology is there", &seen("cards().length"), |cards| *cards == 11).unwrap();
    let press_until = |browser: &mut Chromium, key: &str, focus: &str| {
        for _ in 0..40 {
            browser.press(key).unwrap();
            if see(browser, "focus()") == focus {
                return;
            }
        }
        panic!("no {key} reaches {focus}");
    };
    press_until(&mut browser, "Tab", "tab-topology");
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.evaluate(outline).unwrap(), "solid");
    for (key, view) in [
        ("ArrowRight", "flows"),
        ("ArrowRight", "drops"),
        ("ArrowRight", "charts"),
        ("ArrowRight", "topology"),
        ("ArrowLeft", "charts"),
        ("Home", "topology"),
        ("End", "charts"),
    ] {
        browser.press(key).unwrap();
        let shown = format!("view-{view}");
        browser
            .wait(&format!("{key} shows {view}"), &seen("view()"), |view| *view == shown)
            .unwrap();
        assert_eq!(see(&mut browser, "focus()"), format!("tab-{view}"));
    }
    browser.press("Home").unwrap();
    // An endpoint's card leads to its flows.
    press_until(&mut browser, "Tab", A);
    browser.press("Enter").unwrap();
    browser.wait("its flows are shown", &seen("view()"), |view| *view == "view-flows").unwrap();
    rows(&mut browser, "flow-table", "both flows are there", |rows| rows.len() == 2);
    press_until(&mut browser, "Tab", "client");
    browser.type_text("10.0.2.21").unwrap();
    browser.press("Enter").unwrap();
    rows(&mut browser, "flow-table", "one flow is left", |rows| rows.len() == 1);
    press_until(&mut browser, "Tab", "Age");
    for way in ["descending", "ascending"] {
        browser.press("Enter").unwrap();
        let sorted = "document.activeElement.closest('th').ariaSort";
        browser.wait("it is sorted", sorted, |sorted| *sorted == way).unwrap();
    }
    expect_quiet(&mut browser);
}

/// The names and roles of what takes the focus, by the browser's accessibility tree.
fn interactive(browser: &mut Chromium) -> Vec<(String, String)> {
    let tree = browser.call("Accessibility.getFullAXTree", &json!({})).unwrap();
    let nodes = tree["nodes"].as_array().unwrap().iter();
    let focusable = nodes.filter(|node| {
        let properties = node["properties"].as_array().into_iter().flatten();
        let mut properties = properties.filter(|of| of["name"] == "focusable");
        node["ignored"] == false && properties.any(|of| of["value"]["value"] == true)
    });
    let text = |of: &Value| of["value"].as_str().unwrap_or_default().to_owned();
    focusable.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
}

#[test]
fn for_everybody() {
    let site = Site::new();
    let _client = site.client("10.0.2.20", ENDPOINT, 10);
    site.drop_packets(1);
    let mut browser = site.browser("");
    for view in VIEWS {
        browser.open(&format!("http://{LISTEN}/#{view}")).unwrap();
        let filled = "document.querySelectorAll('#graph .card, #view-flows tbody tr, #view-drops tbody tr, .now:not(:empty)')\
                      .length && document.getElementById('link-text').textContent";
        browser.wait(&format!("{view} is filled"), filled, |live| *live == "live").unwrap();
        let named = interactive(&mut browser);
        assert!(named.len() > 5, "{view}: {named:?}");
        let nameless: Vec<_> = named.iter().filter(|(_, name)| name.trim().is_empty()).collect();
        assert!(nameless.is_empty(), "{view}: {nameless:?} of {named:?}");
        for scheme in ["light", "dark"] {
            browser.colours(scheme).unwrap();
            assert_eq!(see(&mut browser, "faint()"), json!([]), "{view}, {scheme}");
        }
        for width in [320, 500, 800, 1280, 1920] {
            browser.size(width, 800).unwrap();
            let wide = browser.evaluate("document.documentElement.scrollWidth").unwrap();
            assert_eq!(wide, width, "{view}");
        }
        expect_quiet(&mut browser);
    }
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

#[test]
fn only_readers_and_only_of_this_host() {
    let site = Site::new();
    let at = |path: &str| format!("http://{LISTEN}{path}");
    for (arguments, expected) in [
        (
            &["-H", "Host: evil.example"][..],
            "the page is for this host alone: open http://127.0.0.1:9481/\n421",
        ),
        (&["-X", "POST"], "POST is not possible here: the page only reads\n405"),
    ] {
        let page = at("/");
        assert_eq!(site.curl(&[arguments, &[&page]].concat()), expected);
    }
    for path in [
        "/v1/plan",
        "/v1/events",
        "/v1/connections",
        "/v1/reload",
        "/v1/status",
        "/metrics",
        "/v1/target-groups/web",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let said = site.curl(&["-X", method, &at(path)]);
            assert_eq!(said, format!("nothing is at {path}: the page is at /\n404"), "{method}");
        }
    }
    for path in ["/v1/services", "/v1/endpoints", "/v1/load-balancers"] {
        let said = site.curl(&["-X", "POST", "-d", "{}", &at(path)]);
        assert_eq!(said, "POST is not possible here: the page only reads\n405", "{path}");
    }
    assert_eq!(site.curl(&[&at("/v1/flows")]), "at most 200 flows here: add limit=200\n400");

    // The history is what is counted, and ends with the page.
    let before = site.totals();
    drop(site.client("10.0.2.20", ENDPOINT, 100_000));
    site.drop_packets(2);
    let history = |site: &Site| -> Value {
        let socket = site.daemon.home().socket().display().to_string();
        let asked = ["curl", "-sS", "--unix-socket", &socket, "http://localhost/v1/history"];
        serde_json::from_str(&site.lab.gateway().run(&asked).unwrap()).unwrap()
    };
    let sum = |history: &Value, of: &str| -> u64 {
        history["samples"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sample| sample[of].as_u64().unwrap())
            .sum()
    };
    wait_until(PATIENCE, "a sample has the drops", || sum(&history(&site), "packets_dropped") >= 2)
        .unwrap();
    let (after, history_then) = (site.totals(), history(&site));
    let counted = |totals: &Value, of: &str| -> u64 {
        totals["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["counts"][of].as_u64().unwrap())
            .sum()
    };
    for of in ["new_flows", "bytes_to_target", "packets_to_client"] {
        assert_eq!(sum(&history_then, of), counted(&after, of) - counted(&before, of), "{of}");
    }
    configuration(&site.lab, |text| text.replace("[web]\n", ""));
    site.daemon.cli_text(&["reload"]).unwrap();
    wait_until(PATIENCE, "the samples are gone", || history(&site)["samples"] == json!([]))
        .unwrap();
    let refused = site.lab.gateway().run(&["curl", "-sS", &at("/")]).unwrap_err();
    assert!(
        format!("{refused:#}").contains("Could not connect")
            || format!("{refused:#}").contains("Couldn't connect"),
        "{refused:#}"
    );

    // Elsewhere than on loopback names are as they are, and it is warned of.
    configuration(&site.lab, |text| text.replace("[web]\n", "[web]\nlisten = \"10.0.0.1:9481\"\n"));
    site.daemon.cli_text(&["reload"]).unwrap();
    site.daemon.wait_log("whoever reaches 10.0.0.1:9481 may read the web page", PATIENCE).unwrap();
    let elsewhere = ["-H", "Host: gateway.example", "-o", "/dev/null", "http://10.0.0.1:9481/"];
    assert_eq!(site.curl(&elsewhere), "200");
}

#[test]
fn addresses_that_cannot_be_had() {
    let lab = lab();
    let taken = lab.gateway().enter(|| std::net::TcpListener::bind(LISTEN)).unwrap().unwrap();
    for (listen, cause) in [
        (LISTEN, "Address already in use (os error 98)"),
        ("192.0.2.1:9481", "Cannot assign requested address (os error 99)"),
    ] {
        let config = configuration(&lab, |text| {
            text.replace("[web]\n", &format!("[web]\nlisten = \"{listen}\"\n"))
        });
        let error = format!("{:#}", Daemon::start(&lab, &config, &[]).unwrap_err());
        let line = format!(
            "privatelink: the web page cannot be served at {listen} ({cause}): choose another `listen` of [web]\n"
        );
        assert!(error.contains(&line), "{error}");
    }
    drop(taken);
}
