//! The page by keyboard, for screen readers, in any colours and at any width.

use privatelink_tests::{Chromium, ENDPOINT};
use serde_json::{Value, json};

use crate::site::{A, LISTEN, Site};
use crate::{expect_quiet, rows, see, seen};

const VIEWS: [&str; 4] = ["topology", "flows", "drops", "charts"];

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
