//! The pictures of the documentation.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use privatelink_tests::{Namespace, connect, exchange};

use crate::site::{LISTEN, Site};

/// For how many seconds the gateway has carried something before, if it is to be another time.
const AFTER: &str = "PRIVATELINK_PICTURES_AFTER";
/// Larger pictures are not kept in the repository.
const LARGEST: u64 = 200_000;

/// A client that sends more and less in turn.
fn carry(from: &Namespace, to: SocketAddr, size: usize, period: f64, stop: &AtomicBool) {
    let mut stream = connect(from, None, to).unwrap();
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        exchange(&mut stream, &vec![b'x'; size]).unwrap();
        let wave = 1.2 + (began.elapsed().as_secs_f64() / period).sin();
        std::thread::sleep(Duration::from_secs_f64(0.02 * wave));
    }
}

/// Clients that come and go, and what they ask for that is not there.
fn come_and_go(site: &Site, from: &Namespace, to: SocketAddr, stop: &AtomicBool) {
    for turn in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        exchange(&mut connect(from, None, to).unwrap(), b"hello").unwrap();
        if turn % 23 == 0 {
            site.drop_packets(1 + turn % 5);
        }
        std::thread::sleep(Duration::from_millis(150 + 60 * (turn / 200 % 5) as u64));
    }
}

fn save(name: &str, picture: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let file = std::fs::File::create(&path).unwrap();
    let mut decode =
        Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    decode.stdin.take().unwrap().write_all(picture.as_bytes()).unwrap();
    assert!(decode.wait().unwrap().success());
    assert!(path.metadata().unwrap().len() < LARGEST, "{name} is too large");
}

#[test]
#[ignore = "makes the pictures in docs/images: takes a minute, or as many seconds as PRIVATELINK_PICTURES_AFTER says"]
fn pictures() {
    let after = std::env::var(AFTER).map_or(60, |seconds| seconds.parse().unwrap());
    let (site, stop) = (Site::of_both_families(), AtomicBool::new(false));
    let [a, b] = ["consumer-a", "consumer-b"].map(|name| site.lab.network(name).unwrap());
    let [web, web6, web_by_six, web6_by_six, api] =
        ["10.0.1.10:80", "10.0.1.10:81", "[fd00::1:10]:80", "[fd00::1:10]:81", "10.0.1.20:443"]
            .map(|at| at.parse::<SocketAddr>().unwrap());
    std::thread::scope(|scope| {
        let stop = &stop;
        for (from, to, size, period) in [
            (a, web, 60_000, 300.0),
            (a, web6_by_six, 24_000, 170.0),
            (a, api, 8_000, 90.0),
            (a, api, 2_000, 400.0),
            (b, web_by_six, 12_000, 230.0),
        ] {
            scope.spawn(move || carry(from, to, size, period, stop));
        }
        for (from, to) in [(a, web6), (b, web6_by_six), (a, api)] {
            let site = &site;
            scope.spawn(move || come_and_go(site, from, to, stop));
        }
        std::thread::sleep(Duration::from_secs(after));
        let mut browser = site.browser("");
        for (view, rates) in [
            ("topology", ".figure .value"),
            ("flows", "#flow-table td"),
            ("charts", ".figure .value"),
        ] {
            browser.open(&format!("http://{LISTEN}/#{view}")).unwrap();
            let rates = format!(
                "[...document.querySelectorAll('{rates}')].some((rate) => rate.textContent.includes('MB/s'))"
            );
            browser.wait("rates are there", &rates, |there| *there == true).unwrap();
            save(&format!("web-{view}.png"), &browser.picture().unwrap());
        }
        stop.store(true, Ordering::Relaxed);
    });
}
