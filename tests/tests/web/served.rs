//! What is served, to whom, and where.

use privatelink_tests::{Daemon, ENDPOINT, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::site::{LISTEN, Site, configuration, lab};

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
