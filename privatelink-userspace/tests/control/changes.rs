//! Requests that change something: what is refused, and what is put on record.

use privatelink_userspace::api::{ConnectionQuery, Order, RejectOrder};
use privatelink_userspace::audit::Entry;
use privatelink_userspace::control::{Client, GatewayError, Peer, Question};
use serde_json::{Value, json};

use crate::fake::{Fake, Running};
use crate::server::raw_with;

const ACCEPT: &str = "/v1/services/vpce-svc-a/accept";
const REVOKE: &str = "/v1/services/vpce-svc-a/revoke";

/// The last entry of the record.
fn recorded(running: &Running) -> Entry {
    running.record.lock().unwrap().last().cloned().expect("an entry")
}

#[test]
fn a_body_that_is_wrong_changes_nothing() {
    let running = Running::start(Fake::full());
    let huge = format!(r#"{{"endpoints":["{}"]}}"#, "a".repeat(64 << 10));
    for (target, body, status, code, says) in [
        (ACCEPT, "", 400, "MalformedBody", "no JSON object: send one as the body"),
        (ACCEPT, "accept them", 400, "MalformedBody", "no JSON object"),
        (ACCEPT, r#"[["vpce-a"]]"#, 400, "MalformedBody", "no JSON object"),
        (ACCEPT, "null", 400, "MalformedBody", "no JSON object"),
        (ACCEPT, r#"{"endpoints":["vpce-a"]"#, 400, "MalformedBody", "EOF while parsing"),
        (ACCEPT, r#"{"endpoints":["vpce-a"]}}"#, 400, "MalformedBody", "trailing characters"),
        (ACCEPT, r#"{"endpoints":"vpce-a"}"#, 400, "MalformedBody", "expected a sequence"),
        (ACCEPT, r#"{"endpoints":[1]}"#, 400, "MalformedBody", "expected a string"),
        (ACCEPT, r#"{"endpoint":["vpce-a"]}"#, 400, "MalformedBody", "unknown field `endpoint`"),
        (ACCEPT, r#"{"reconcile":true}"#, 400, "MalformedBody", "unknown field `reconcile`"),
        (ACCEPT, r#"{"dry_run":"yes"}"#, 400, "MalformedBody", "expected a boolean"),
        (REVOKE, r#"{"dry_run":true,"dry_run":false}"#, 400, "MalformedBody", "duplicate field"),
        (ACCEPT, "{\"reason\":\"\u{1}\"}", 400, "MalformedBody", "control character"),
        (ACCEPT, &huge, 413, "BodyTooLarge", "longer than 65536 bytes"),
        ("/v1/reload", "{}", 400, "MalformedBody", "a body where none belongs"),
    ] {
        let (found, answer) = raw_with(&running.socket, "POST", target, body);
        assert_eq!(found, status, "{body:.60}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["code"], code, "{body:.60}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(says), "{body:.60}: {error}");
        let entry = recorded(&running);
        assert_eq!((entry.result, entry.error.as_deref()), ("refused", Some(error)));
        assert_eq!(entry.request, format!("POST {target}"));
    }
    assert_eq!(*running.ordered.lock().unwrap(), 0, "the gateway was not asked");
}

#[tokio::test]
async fn who_changed_what_is_on_record() {
    let running = Running::start(Fake::full());
    let client = Client::new(&running.socket);
    for (dry_run, result) in [(true, "dry run"), (false, "done")] {
        let order = RejectOrder {
            endpoints: vec!["vpce-0b22222222222222b".into()],
            reason: Some("unpaid".into()),
            reconcile: true,
            dry_run,
            ..RejectOrder::default()
        };
        let order = Order::Reject(order);
        let ordered = client.ask(&Question::order("vpce-svc-a", &order)).await.unwrap();
        assert_eq!((ordered.flows_cut, ordered.dry_run), (3, dry_run));
        let expected = Entry {
            time: recorded(&running).time,
            peer: Peer {
                uid: Some(nix::unistd::getuid().as_raw()),
                gid: Some(nix::unistd::getgid().as_raw()),
                pid: Some(std::process::id() as i32),
            },
            request: "POST /v1/services/vpce-svc-a/reject".into(),
            body: json!({
                "endpoints": ["vpce-0b22222222222222b"], "principals": [], "reason": "unpaid",
                "reconcile": true, "dry_run": dry_run
            }),
            result,
            flows_cut: 3,
            code: None,
            error: None,
        };
        assert_eq!(recorded(&running), expected);
    }
    assert_eq!(client.ask(&Question::reload()).await.unwrap().flows_cut, 2);
    assert_eq!((recorded(&running).result, recorded(&running).flows_cut), ("done", 2));
    client.ask(&Question::connections(&ConnectionQuery::default())).await.unwrap();
    assert_eq!(running.record.lock().unwrap().len(), 3, "looking is no change");
}

#[tokio::test]
async fn what_the_gateway_refuses_is_on_record() {
    let fault = Some(GatewayError::Failed("no map: restart".into()));
    let running = Running::start(Fake { fault, ..Fake::full() });
    Client::new(&running.socket).ask(&Question::reload()).await.unwrap_err();
    let entry = recorded(&running);
    assert_eq!((entry.result, entry.error.as_deref()), ("refused", Some("no map: restart")));
}

#[tokio::test]
async fn an_id_cannot_leave_its_place_in_the_path() {
    let running = Running::start(Fake::full());
    let order = Order::Reject(RejectOrder::default());
    let asked = Question::order("a/../b?c#d", &order);
    let ordered = Client::new(&running.socket).ask(&asked).await.unwrap();
    assert_eq!(ordered.service, "a/../b?c#d");
}
