//! Who is let in, what may be asked, and what is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;

const LOOPBACK: &str = "127.0.0.1:9481";

/// The page, with questions that count how often they are answered.
fn page(address: &str) -> (Router, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = answered.clone();
    let answer = get(async move || counted.fetch_add(1, Ordering::Relaxed).to_string());
    let api = Router::new().route("/v1/totals", answer.clone()).route("/v1/flows", answer);
    (router(api, address.parse().unwrap()), answered)
}

async fn ask(page: &Router, method: &str, target: &str, hosts: &[&str]) -> (u16, Response) {
    let mut request = Request::builder().method(method).uri(target);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = TowerToHyperService::new(page.clone()).call(request).await.unwrap();
    (response.status().as_u16(), response)
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn get_text(page: &Router, target: &str) -> (u16, String) {
    let (status, response) = ask(page, "GET", target, &["localhost"]).await;
    (status, text(response).await)
}

#[tokio::test]
async fn on_loopback_only_this_host_is_served() {
    for (hosts, expected) in [
        (&["127.0.0.1:9481"][..], 200),
        (&["127.0.0.1"], 200),
        (&["127.8.9.1:1"], 200),
        (&["localhost:8080"], 200),
        (&["LOCALHOST"], 200),
        (&["[::1]:9481"], 200),
        (&["[::1]"], 200),
        (&[], 421),
        (&[""], 421),
        (&["evil.example"], 421),
        (&["evil.example:9481"], 421),
        (&["localhost.evil.example"], 421),
        (&["127.0.0.1.evil.example:9481"], 421),
        (&["10.0.0.1:9481"], 421),
        (&["0.0.0.0:9481"], 421),
        (&["localhost@evil.example"], 421),
        (&["evil.example@localhost"], 421),
        (&["localhost", "evil.example"], 421),
        (&["127.0.0.1:9481:80"], 421),
    ] {
        for target in ["/", "/v1/totals", "/nothing"] {
            let (status, _) = ask(&page(LOOPBACK).0, "GET", target, hosts).await;
            let expected = if expected == 200 && target == "/nothing" { 404 } else { expected };
            assert_eq!(status, expected, "{hosts:?} {target}");
        }
    }
    let (_, refused) = ask(&page(LOOPBACK).0, "GET", "/", &["evil.example"]).await;
    let said = text(refused).await;
    assert_eq!(said, "the page is for this host alone: open http://127.0.0.1:9481/\n");
    let (status, _) = ask(&page("10.0.0.1:80").0, "GET", "/", &["gateway.example"]).await;
    assert_eq!(status, 200, "elsewhere names are as they are");
}

#[tokio::test]
async fn every_answer_says_what_browsers_may_do() {
    for (method, target, host) in [
        ("GET", "/", "localhost"),
        ("GET", "/app.js", "localhost"),
        ("GET", "/v1/totals", "localhost"),
        ("GET", "/nothing", "localhost"),
        ("POST", "/", "localhost"),
        ("GET", "/", "evil.example"),
    ] {
        let (_, response) = ask(&page(LOOPBACK).0, method, target, &[host]).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn nothing_can_be_changed() {
    for target in ["/", "/v1/totals", "/v1/flows"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let (status, response) = ask(&page(LOOPBACK).0, method, target, &["localhost"]).await;
            assert_eq!(status, 405, "{method} {target}");
            assert_eq!(
                text(response).await,
                format!("{method} is not possible here: the page only reads\n")
            );
        }
    }
    let (status, response) = ask(&page(LOOPBACK).0, "HEAD", "/", &["localhost"]).await;
    assert_eq!((status, text(response).await), (200, String::new()));
}

#[tokio::test]
async fn files_are_complete_and_of_their_kind() {
    let (page, _) = page(LOOPBACK);
    for (path, kind, content) in ASSETS {
        let (status, response) = ask(&page, "GET", path, &["localhost"]).await;
        assert_eq!((status, response.headers()[CONTENT_TYPE].to_str().unwrap()), (200, kind));
        let text = text(response).await;
        assert_eq!(text.as_bytes(), content);
        // What a file asks for is there, and nothing else is asked for.
        for (start, end) in [("from \"./", '"'), ("src=\"/", '"'), ("href=\"/", '"')] {
            for rest in text.split(start).skip(1) {
                let asked = format!("/{}", rest.split(end).next().unwrap());
                assert!(ASSETS.iter().any(|(path, ..)| *path == asked), "{path} wants {asked}");
            }
        }
        for foreign in
            ["https://", "innerHTML", "eval(", "insertAdjacentHTML", "style=\"", "onclick="]
        {
            assert!(!text.contains(foreign), "{path} has {foreign}");
        }
    }
    let (status, said) = get_text(&page, "/../etc/passwd").await;
    assert_eq!((status, &*said), (404, "nothing is at /../etc/passwd: the page is at /\n"));
}

#[tokio::test]
async fn an_answer_is_worked_out_once_a_second() {
    let (page, answered) = page(LOOPBACK);
    for _ in 0..20 {
        assert_eq!(get_text(&page, "/v1/totals").await, (200, "0".into()));
    }
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let page = page.clone();
        asking.spawn(async move { get_text(&page, "/v1/flows?limit=5").await });
    }
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|answer| *answer == (200, "1".into())), "{answers:?}");
    assert_eq!(get_text(&page, "/v1/flows?limit=6").await, (200, "2".into()));
    assert_eq!(answered.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn no_more_flows_are_asked_for_than_a_page_shows() {
    let (page, _) = page(LOOPBACK);
    for (query, expected) in [
        ("?limit=200", 200),
        ("?limit=1&sort=bytes&client=10.0.0.0/8&min_bytes=5", 200),
        ("", 400),
        ("?limit=201", 400),
        ("?limit=5&rate_ms=60000", 400),
        ("?limit=5&sort=rate", 400),
    ] {
        let (status, said) = get_text(&page, &format!("/v1/flows{query}")).await;
        assert_eq!(status, expected, "{query}: {said}");
    }
    let (_, said) = get_text(&page, "/v1/flows").await;
    assert_eq!(said, "at most 200 flows here: add limit=200\n");
}
