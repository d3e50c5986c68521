//! What has addresses of both families, the longest among them.

use std::net::SocketAddr;

use privatelink_tests::{
    Chromium, DualStack, Family, Flow, LONG_CLIENT, LONG_ENDPOINT, LONG_NETWORK,
};

use crate::site::{A, LISTEN, WEB};
use crate::{card, expect_quiet, rows, see, seen};

const PAGE: (&str, &str) = ("region = \"us-east-1\"\n", "region = \"us-east-1\"\n[web]\n");
const OFTEN: (&str, &str) = (
    "health_check = { port = 7 }",
    "health_check = { port = 7, interval = \"5s\", timeout = \"2s\", healthy_threshold = 2 }",
);

struct Site {
    browser: Chromium,
    _dual_stack: DualStack,
}

impl Site {
    /// With flows from each family to each, those that have carried most first, as the API lists them.
    fn new() -> (Self, Vec<Flow<SocketAddr>>) {
        let dual_stack = DualStack::with_long_addresses(&[PAGE, OFTEN]).unwrap();
        let _targets = dual_stack.echoes().unwrap();
        let of_four = [Family::Four, Family::Six].map(|target| Family::Four.endpoint(target));
        let of_six = of_four.map(|of| SocketAddr::new(LONG_ENDPOINT.into(), of.port()));
        for (endpoint, count) in of_four.into_iter().chain(of_six).zip(1..) {
            dual_stack.echoed(endpoint, 10 * count, 1000).unwrap();
        }
        let flows = dual_stack.daemon.flows_of(&["--sort", "bytes"]).unwrap();
        let mut browser = Chromium::start(dual_stack.lab.gateway()).unwrap();
        browser.open(&format!("http://{LISTEN}/")).unwrap();
        (Self { browser, _dual_stack: dual_stack }, flows)
    }

    /// The whole page is as wide as the window, however long an address is.
    fn expect_to_fit(&mut self) {
        for width in [320, 800, 1280] {
            self.browser.size(width, 800).unwrap();
            let wide = self.browser.evaluate("document.documentElement.scrollWidth").unwrap();
            assert_eq!(wide, width);
        }
    }
}

#[test]
fn the_topology_of_both() {
    let (mut site, _) = Site::new();
    let healthy = |cards: &serde_json::Value| {
        let cards = cards.as_array();
        cards.is_some_and(|all| all.iter().filter(|card| card["state"] == "✓healthy").count() == 2)
    };
    let cards = site.browser.wait("both are healthy", &seen("cards()"), healthy).unwrap();
    let [four, six] = [Family::Four, Family::Six].map(|of| of.target().to_string());
    for (title, facts, leads) in [
        ("vpc-consumer-a", "1 endpoint · 4 flows".to_owned(), format!("leads to {A}")),
        (A, format!("10.0.1.10, {LONG_ENDPOINT} · 4 flows"), format!("leads to {WEB}")),
        (WEB, "tcp_udp/80, tcp_udp/81 · nlb · 4 flows".into(), format!("leads to {four}, {six}")),
        (&*four, "four · vpc-provider · 2 flows".into(), String::new()),
        (&*six, "six · vpc-provider · 2 flows".into(), String::new()),
    ] {
        let card = card(&cards, title, "");
        assert_eq!((&card["facts"], &card["leads"]), (&facts.into(), &leads.into()), "{title}");
    }
    site.expect_to_fit();

    // A target's card leads to its flows.
    let link = format!("document.querySelector('[aria-label=\"{six}: its flows\"]')");
    site.browser.evaluate(&format!("{link}.click()")).unwrap();
    let its = |rows: &[serde_json::Value]| rows.len() == 2 && rows.iter().all(|row| row[5] == *six);
    rows(&mut site.browser, "flow-table", "its flows are there", its);
    assert_eq!(see(&mut site.browser, "view()"), "view-flows");
    let hash = site.browser.evaluate("decodeURIComponent(location.hash)").unwrap();
    assert_eq!(hash, format!("#flows?target={six}"));
    expect_quiet(&mut site.browser);
}

#[test]
fn flows_of_both() {
    let (mut site, flows) = Site::new();
    site.browser.open(&format!("http://{LISTEN}/#flows")).unwrap();
    let shown = rows(&mut site.browser, "flow-table", "all are there", |rows| rows.len() == 4);
    let ends = |flow: &Flow<SocketAddr>| {
        [flow.client, flow.endpoint_address, flow.nat, flow.target].map(|end| end.to_string())
    };
    for (row, flow) in shown.as_array().unwrap().iter().zip(&flows) {
        assert_eq!([0, 3, 4, 5].map(|column| row[column].as_str().unwrap()), ends(flow));
    }
    assert_eq!(
        (flows[0].client.ip(), flows[3].client.ip()),
        (LONG_CLIENT.into(), Family::Four.client())
    );
    site.expect_to_fit();

    let [client, target] = [flows[0].client, Family::Six.target()];
    for (field, text, found) in [
        ("client", LONG_CLIENT.to_string(), 2),
        ("client", LONG_NETWORK.to_owned(), 2),
        ("client", client.to_string(), 1),
        ("client", "::/0".to_owned(), 2),
        ("client", "10.0.0.0/16".to_owned(), 2),
        ("target", target.to_string(), 2),
        ("target", target.ip().to_string(), 2),
        ("target", Family::Four.target().to_string(), 2),
    ] {
        let browser = &mut site.browser;
        browser.evaluate(&format!("document.querySelector('[name={field}]').focus()")).unwrap();
        browser.type_text(&text).unwrap();
        browser.press("Enter").unwrap();
        rows(browser, "flow-table", &format!("{field} {text}"), |rows| rows.len() == found);
        browser.evaluate("document.querySelector('[type=reset]').click()").unwrap();
        rows(browser, "flow-table", "all are there again", |rows| rows.len() == 4);
    }
    expect_quiet(&mut site.browser);
}
