//! What is posted to servers of every kind, over TCP and TLS of this host's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::model;

fn what(number: u64) -> What {
    What::Lost { events: number }
}

fn settings(url: &str) -> model::Webhook {
    model::Webhook {
        url: url.parse().unwrap(),
        secret_file: None,
        kinds: EventKinds::default(),
        timeout: Duration::from_secs(20),
    }
}

/// Reads a request and answers with a status; its body, and the status.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    status: impl Fn() -> u16,
) -> Option<(String, u16)> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() == length.parse::<usize>().ok()? {
                let status = status();
                let answer = format!("HTTP/1.1 {status} As told\r\ncontent-length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.ok()?;
                return Some((body.to_owned(), status));
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// A server that answers its first requests with these statuses, and all others with 200; what it is sent, and how it
/// answers.
async fn server(statuses: Vec<u16>) -> (String, mpsc::UnboundedReceiver<(u64, u16)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    let statuses = Arc::new(Mutex::new(statuses.into_iter()));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (sender, statuses) = (sender.clone(), statuses.clone());
            tokio::spawn(async move {
                let next = || statuses.lock().unwrap().next().unwrap_or(200);
                while let Some((body, status)) = answer(&mut stream, next).await {
                    let event: Event = serde_json::from_str(&body).unwrap();
                    let What::Lost { events: number } = event.what else { panic!("{event:?}") };
                    // An error means that the test is over.
                    let _ = sender.send((number, status));
                }
            });
        }
    });
    (url, received)
}

#[tokio::test]
async fn in_order_again_if_it_may_be_taken_later_and_passed_over_if_not() {
    let (url, mut received) = server(vec![200, 404, 302, 503, 200]).await;
    let events = Events::default();
    let _webhook = Webhook::start(&events, Some(settings(&url)));
    (1..=5).for_each(|number| events.tell(what(number)));
    let mut found = Vec::new();
    while found.len() < 6 {
        found.push(received.recv().await.unwrap());
    }
    assert_eq!(found, [(1, 200), (2, 404), (3, 302), (4, 503), (4, 200), (5, 200)]);
}

/// Waits until a server is sent this one; what it is sent before that.
async fn before(received: &mut mpsc::UnboundedReceiver<(u64, u16)>, wanted: u64) -> Vec<u64> {
    let mut before = Vec::new();
    loop {
        match received.recv().await.unwrap() {
            (number, _) if number == wanted => return before,
            (number, _) => before.push(number),
        }
    }
}

#[tokio::test]
async fn settings_that_change_lose_nothing_and_without_any_nothing_is_posted() {
    let ((first, mut to_first), (second, mut to_second)) =
        (server(vec![]).await, server(vec![]).await);
    let events = Events::default();
    let webhook = Webhook::start(&events, Some(settings(&first)));
    events.tell(what(1));
    assert_eq!(before(&mut to_first, 1).await, [0; 0]);
    webhook.set(Some(settings(&second)));
    events.tell(what(2));
    // The first may have been under way still.
    assert!(before(&mut to_second, 2).await.iter().all(|&number| number == 1));
    webhook.set(None);
    events.tell(what(3));
    // The one thread of this runtime goes to the task now, which passes it over.
    tokio::task::yield_now().await;
    webhook.set(Some(settings(&second)));
    events.tell(what(4));
    assert_eq!(before(&mut to_second, 4).await, [0; 0]);
    assert!(to_first.try_recv().is_err());
}

#[tokio::test]
async fn over_tls_to_whom_the_roots_vouch_for() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answer(&mut stream, || 200).await;
            }
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let event = Event { id: 1, time: "t".into(), what: what(1) };
    let trusted = Poster::trusting(settings(&url), roots);
    assert_eq!(trusted.post(&event).await, Ok(()));
    let stranger = Poster::trusting(settings(&url), RootCertStore::empty());
    let Err(Failure::Passing(why)) = stranger.post(&event).await else { panic!("it was trusted") };
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/", listener.local_addr().unwrap());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let event = Event { id: 1, time: "t".into(), what: what(1) };
    let hurried = model::Webhook { timeout: Duration::from_millis(50), ..settings(&silent) };
    let unsigned = model::Webhook { secret_file: Some("/nonexistent".into()), ..settings(&silent) };
    for (webhook, says) in [
        (settings(&refused), "Connection refused"),
        (hurried, "no answer within 0.05 s"),
        (unsigned, "its secret in /nonexistent cannot be read (No such file"),
    ] {
        let Err(Failure::Passing(why)) = Poster::new(webhook).post(&event).await else {
            panic!("{says}: it was taken")
        };
        assert!(why.starts_with(says), "{why}");
    }
}
