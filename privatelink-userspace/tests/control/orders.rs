//! What the command line orders, and what it prints of it.

use insta::assert_snapshot;
use privatelink_userspace::api::{ErrorBody, ErrorCode};
use privatelink_userspace::control::GatewayError;
use serde_json::json;

use crate::cli::{on, printed, text};
use crate::fake::{Fake, Running};

#[test]
fn connections_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["connection", "list"]), @r"
    service                     endpoint                principal                       state              since                 reason                               request_message           flows
    vpce-svc-0e123abc123198abc  vpce-0b22222222222222b  arn:aws:iam::222222222222:root  pendingAcceptance  2026-02-03T04:05:06Z  waits for the provider to accept it  for our invoices, please      0
    ");
    let of =
        |service| printed(&running, &["connection", "list", "--service", service, "-o", "csv"]);
    assert_snapshot!(of("vpce-svc-0e123abc123198abc"), @r#"
    service,endpoint,principal,state,since,reason,request_message,flows
    vpce-svc-0e123abc123198abc,vpce-0b22222222222222b,arn:aws:iam::222222222222:root,pendingAcceptance,2026-02-03T04:05:06Z,waits for the provider to accept it,"for our invoices, please",0
    "#);
    assert_eq!(of("vpce-svc-none").lines().count(), 1);
}

#[test]
fn what_an_order_came_to_in_each_form() {
    let running = Running::start(Fake::full());
    let reject = ["connection", "reject", "vpce-svc-a", "vpce-b", "--reconcile"];
    assert_snapshot!(printed(&running, &reject), @r"
    service             vpce-svc-a
    allowed principals  *
    flows               3 ended

    endpoint                principal                       before     state     flows
    vpce-0b22222222222222b  arn:aws:iam::222222222222:root  available  rejected      3
    ");
    let dry = |last| printed(&running, &[&reject[..], &["--dry-run", "-o", last]].concat());
    assert_snapshot!(dry("table"), @r"
    service             vpce-svc-a
    allowed principals  *
    flows               3 would end; nothing has changed

    endpoint                principal                       before     state     flows
    vpce-0b22222222222222b  arn:aws:iam::222222222222:root  available  rejected      3
    ");
    assert_snapshot!(dry("json"), @r#"
    [
    {"service":"vpce-svc-a","allowed_principals":["*"],"endpoints":[{"endpoint":"vpce-0b22222222222222b","principal":"arn:aws:iam::222222222222:root","before":"available","state":"rejected","flows":3}],"flows_cut":3,"dry_run":true}
    ]
    "#);
    assert_snapshot!(dry("csv"), @r"
    endpoint,principal,before,state,flows
    vpce-0b22222222222222b,arn:aws:iam::222222222222:root,available,rejected,3
    ");
}

#[test]
fn orders_reach_the_daemon() {
    let running = Running::start(Fake::full());
    for (args, request, body) in [
        (
            &["connection", "accept", "vpce-svc-a", "vpce-1", "vpce-2", "--reason", "paid"][..],
            "accept",
            json!({"endpoints": ["vpce-1", "vpce-2"], "principals": [], "reason": "paid", "dry_run": false}),
        ),
        (
            &["connection", "accept", "vpce-svc-a", "--principal", "*", "--dry-run"],
            "accept",
            json!({"endpoints": [], "principals": ["*"], "dry_run": true}),
        ),
        (
            &["connection", "reject", "vpce-svc-a", "vpce-1", "--reconcile"],
            "reject",
            json!({"endpoints": ["vpce-1"], "principals": [], "reconcile": true, "dry_run": false}),
        ),
        (
            &["service", "allow", "vpce-svc-a", "a", "b"],
            "allow",
            json!({"principals": ["a", "b"], "dry_run": false}),
        ),
        (
            &["service", "revoke", "vpce-svc-a", "a", "--reason", "unpaid", "--dry-run"],
            "revoke",
            json!({"principals": ["a"], "reason": "unpaid", "reconcile": false, "dry_run": true}),
        ),
    ] {
        printed(&running, args);
        let entry = running.record.lock().unwrap().last().cloned().unwrap();
        assert_eq!(entry.request, format!("POST /v1/services/vpce-svc-a/{request}"), "{args:?}");
        assert_eq!(entry.body, body, "{args:?}");
    }
}

#[test]
fn plan_and_reload_in_each_form() {
    let running = Running::start(Fake::full());
    assert_snapshot!(printed(&running, &["plan"]), @r"
    change  kind              id                          attribute            before  after  flows_cut
    modify  endpoint_service  vpce-svc-0e123abc123198abc  acceptance_required  true    false          0
    remove  endpoint          vpce-0a11111111111111a      -                    -       -              3
    ");
    assert_snapshot!(printed(&running, &["plan", "-o", "csv"]), @r"
    change,kind,id,attribute,before,after,flows_cut
    modify,endpoint_service,vpce-svc-0e123abc123198abc,acceptance_required,true,false,0
    remove,endpoint,vpce-0a11111111111111a,,,,3
    ");
    assert_eq!(
        printed(&running, &["reload"]),
        "/etc/privatelink/overlap.toml is in force, 2 flows ended
"
    );
    assert_snapshot!(printed(&running, &["reload", "-o", "json"]), @r#"
    [
    {"config":"/etc/privatelink/overlap.toml","flows_cut":2}
    ]
    "#);
    assert_snapshot!(printed(&running, &["reload", "-o", "csv"]), @r"
    config,flows_cut
    /etc/privatelink/overlap.toml,2
    ");
}

#[test]
fn a_refused_configuration_is_a_mistake() {
    let refused = ErrorBody::new(ErrorCode::InvalidConfiguration, "a.toml:3: one\na.toml:7: two");
    let fault = Some(GatewayError::Refused(refused));
    let running = Running::start(Fake { fault, ..Fake::full() });
    for command in ["reload", "plan"] {
        let output = on(&running.socket, &[command]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            text(&output.stderr),
            "privatelink: a.toml:3: one\nprivatelink: a.toml:7: two\n"
        );
    }
}
