//! `docs/openapi.json` says what the code does.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use privatelink_userspace::api::{
    AcceptOrder, AllowOrder, CaptureQuery, CaptureSummary, DeregisterOrder, ErrorCode, Event,
    EventKind, EventKinds, EventQuery, Headers, Order, RegisterOrder, RejectOrder, RevokeOrder,
    TargetAddress, TraceLine, TracedPacket, What,
};
use privatelink_userspace::control::routes;
use serde_json::{Value, json};

use crate::events::samples;
use crate::fake::{Fake, Running};
use crate::server::raw_with;

fn document() -> Value {
    serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap()
}

/// Expects the value to be as the schema says, every field of it included.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let path = name.strip_prefix('#').unwrap();
        return check(document, document.pointer(path).expect(name), value, at);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
    }
    let kinds = schema["type"].as_array();
    if value.is_null() && kinds.is_some_and(|kinds| kinds.contains(&json!("null"))) {
        return;
    }
    match kinds.map_or(&schema["type"], |kinds| &kinds[0]).as_str().unwrap() {
        "object" => check_object(document, schema, value, at),
        "array" => {
            for (index, item) in value.as_array().expect(at).iter().enumerate() {
                check(document, &schema["items"], item, &format!("{at}/{index}"));
            }
        }
        "string" => assert!(value.is_string(), "{at}: {value}"),
        "integer" => assert!(value.is_u64(), "{at}: {value}"),
        "boolean" => assert!(value.is_boolean(), "{at}: {value}"),
        other => panic!("{at}: a type {other}"),
    }
}

fn check_object(document: &Value, schema: &Value, value: &Value, at: &str) {
    let value = value.as_object().expect(at);
    if schema["additionalProperties"] == true {
        return;
    }
    let properties = schema["properties"].as_object().unwrap();
    let names = |of: &serde_json::Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(value), names(properties), "{at}");
    for (name, value) in value {
        check(document, &properties[name], value, &format!("{at}/{name}"));
    }
}

const JSON: &str = "application/json";
const STREAM: &str = "text/event-stream";
/// Answers that go on until they are ended.
const STREAMS: [&str; 3] = [STREAM, "application/x-pcapng", "application/x-ndjson"];

/// What is answered, in this form; null if it is not.
fn answer<'o>(operation: &'o Value, form: &str) -> &'o Value {
    &operation["responses"]["200"]["content"][form]["schema"]
}

#[test]
fn it_has_each_route_and_no_other() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let documented: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let routed = routes().into_iter().map(|(method, path)| (method.to_string(), path.to_owned()));
    assert_eq!(documented, routed.collect());
}

#[test]
fn answers_are_as_it_says() {
    let document = document();
    let running = Running::start(Fake::full());
    for (method, path) in routes() {
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        if STREAMS.iter().any(|form| !answer(operation, form).is_null()) {
            continue;
        }
        let body = match operation["requestBody"].is_null() {
            true => "",
            false if path.ends_with("register") => r#"{"targets":[{"address":"10.0.1.10"}]}"#,
            false => r#"{"principals":["*"]}"#,
        };
        let target = match path {
            // With every field that flows may have.
            "/v1/flows" => "/v1/flows?rate_ms=100".to_owned(),
            path => path.replace("{id}", "vpce-svc-a"),
        };
        let (status, text) = raw_with(&running.socket, method.as_str(), &target, body);
        assert_eq!(status, 200, "{method} {path}: {text}");
        if answer(operation, JSON).is_null() {
            assert!(!operation["responses"]["200"]["content"]["text/plain"].is_null(), "{path}");
            continue;
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(value, json!([]), "{path} has a sample");
        check(&document, answer(operation, JSON), &value, path);
    }
}

#[test]
fn flows_without_rates_have_what_it_requires() {
    let schema = &document()["components"]["schemas"]["Flow"];
    let running = Running::start(Fake::full());
    let (_, text) = raw_with(&running.socket, "GET", "/v1/flows", "");
    let rows: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&text).unwrap();
    for row in rows {
        let names: BTreeSet<_> = row.keys().map(String::as_str).collect();
        let required = schema["required"].as_array().unwrap().iter();
        assert_eq!(names, required.map(|name| name.as_str().unwrap()).collect());
    }
}

#[test]
fn lines_of_a_trace_are_as_it_says() {
    let headers = Headers {
        protocol: "tcp".into(),
        vlans: vec![100],
        source: "10.0.2.20:40000".into(),
        destination: "10.0.1.10:80".into(),
        flags: "S".into(),
        sequence: Some(1),
        length: 74,
    };
    let packet = TracedPacket {
        time: "2026-11-21T19:00:00.000000001Z".into(),
        interface: "eth-a".into(),
        before: headers.clone(),
        verdict: "redirect".into(),
        egress: Some("eth-p".into()),
        after: Some(headers),
        reason: Some("NoFlow".into()),
        endpoint: Some("vpce-1".into()),
        vpc: Some("vpc-a".into()),
        client: "10.0.2.20:40000".parse().ok(),
        target: "10.0.1.10:8080".parse().ok(),
    };
    let document = document();
    let line = answer(&document["paths"]["/v1/trace"]["get"], "application/x-ndjson");
    let schema = document.pointer(&line["$ref"].as_str().unwrap()[1..]).unwrap();
    let lines =
        [TraceLine::Packet(Box::new(packet)), TraceLine::Summary(CaptureSummary::default())];
    for line in lines {
        for (name, value) in serde_json::to_value(line).unwrap().as_object().unwrap() {
            check(&document, &schema["properties"][name], value, name);
        }
    }
}

#[test]
fn a_capture_takes_what_it_says() {
    let query = CaptureQuery {
        endpoint: Some("vpce-1".into()),
        client: "10.0.2.20".parse().ok(),
        target: "10.0.1.10".parse().ok(),
        port: Some(80),
        dropped: true,
        all: true,
        snaplen: Some(64),
        count: Some(1),
        bytes: Some(1),
        duration_ms: Some(1),
        sample: Some(1),
        rate: Some(1),
    };
    let query = serde_json::to_value(query).unwrap();
    let taken: BTreeSet<_> = query.as_object().unwrap().keys().map(String::as_str).collect();
    let document = document();
    for path in ["/v1/capture", "/v1/trace"] {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let said = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap());
        assert_eq!(said.collect::<BTreeSet<_>>(), taken, "{path}");
    }
}

#[test]
fn events_are_as_it_says() {
    let document = document();
    let parts = document["components"]["schemas"]["Event"]["oneOf"].as_array().unwrap();
    assert_eq!(answer(&document["paths"]["/v1/events"]["get"], STREAM)["type"], "string");
    let query = EventQuery {
        kind: Some(EventKinds(EventKind::ALL.into())),
        after: Some(1),
        follow: Some(false),
    };
    let query = serde_json::to_value(query).unwrap();
    let parameters = document["paths"]["/v1/events"]["get"]["parameters"].as_array().unwrap();
    let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    let names: BTreeSet<_> =
        in_query.map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, query.as_object().unwrap().keys().map(String::as_str).collect());

    let lost = What::Lost { events: 7 };
    let mut kinds = BTreeSet::new();
    for what in samples().into_iter().chain([lost]) {
        let event = Event { id: 1, time: "t".into(), what };
        let mut value = serde_json::to_value(&event).unwrap();
        let is_its = |part: &&Value| {
            let kinds = part["properties"]["kind"]["enum"].as_array().unwrap();
            kinds.contains(&value["kind"])
        };
        let its: Vec<&Value> = parts.iter().filter(is_its).collect();
        let [part] = &its[..] else { panic!("{its:?} of {value}") };
        kinds.insert(value["kind"].to_string());
        // What may be absent is not among the required.
        let required = part["required"].as_array().unwrap();
        for (name, schema) in part["properties"].as_object().unwrap() {
            if value.get(name).is_none() {
                assert!(!required.contains(&name.as_str().into()), "{name} in {value}");
                let sample = schema["enum"].get(0).cloned().unwrap_or_else(|| "".into());
                value[name] = sample;
            }
        }
        check(&document, part, &value, event.what.name());
    }
    let documented = parts.iter().flat_map(|part| {
        part["properties"]["kind"]["enum"].as_array().unwrap().iter().map(Value::to_string)
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), kinds);
    assert_eq!(kinds.len(), EventKind::ALL.len() + 1);
}

#[test]
fn orders_are_as_it_says() {
    let document = document();
    let (some, reason) = (vec!["vpce-a".to_owned()], Some("why".to_owned()));
    let (reconcile, dry_run) = (true, true);
    for order in [
        Order::Accept(AcceptOrder {
            endpoints: some.clone(),
            principals: some.clone(),
            reason: reason.clone(),
            dry_run,
        }),
        Order::Reject(RejectOrder {
            endpoints: some.clone(),
            principals: some.clone(),
            reason: reason.clone(),
            reconcile,
            dry_run,
        }),
        Order::Allow(AllowOrder { principals: some.clone(), dry_run }),
        Order::Revoke(RevokeOrder { principals: some.clone(), reason, reconcile, dry_run }),
    ] {
        let path = format!("/v1/services/{{id}}/{}", order.verb());
        let body = &document["paths"][&path]["post"]["requestBody"]["content"];
        let schema = &body["application/json"]["schema"];
        check(&document, schema, &serde_json::to_value(&order).unwrap(), &path);
    }
}

#[test]
fn registrations_are_as_it_says() {
    let document = document();
    let target = TargetAddress { address: Ipv4Addr::new(10, 0, 1, 10).into(), port: Some(8080) };
    let settings = serde_json::to_value(&target).unwrap().as_object().unwrap().clone();
    let register = serde_json::to_value(RegisterOrder { targets: vec![settings] }).unwrap();
    let deregister = serde_json::to_value(DeregisterOrder { targets: vec![target] }).unwrap();
    for (verb, body) in [("register", register), ("deregister", deregister)] {
        let path = format!("/v1/target-groups/{{id}}/{verb}");
        let content = &document["paths"][&path]["post"]["requestBody"]["content"];
        check(&document, &content["application/json"]["schema"], &body, &path);
    }
}

#[test]
fn queries_are_as_it_says() {
    let document = document();
    let running = Running::start(Fake::full());
    for (path, operation) in document["paths"].as_object().unwrap() {
        if STREAMS.iter().any(|form| !answer(&operation["get"], form).is_null()) {
            continue;
        }
        let parameters = operation["get"]["parameters"].as_array();
        let in_query = |parameter: &&Value| parameter["in"] == "query";
        for parameter in parameters.into_iter().flatten().filter(in_query) {
            let schema = &parameter["schema"];
            let least = schema["minimum"].as_u64().unwrap_or_default().max(1).to_string();
            let sample = schema["enum"][0].as_str().or(schema["examples"][0].as_str());
            let value = sample.unwrap_or(match schema["type"].as_str().unwrap() {
                "integer" => &least,
                "boolean" => "true",
                _ => "*",
            });
            let target = format!("{path}?{}={value}", parameter["name"].as_str().unwrap());
            let (status, text) = raw_with(&running.socket, "GET", &target, "");
            assert_eq!(status, 200, "{target}: {text}");
        }
    }
}

#[test]
fn errors_are_as_it_says() {
    let document = document();
    let running = Running::start(Fake::full());
    let schema = json!({"$ref": "#/components/schemas/Error"});
    for (method, target, body) in [
        ("GET", "/", ""),
        ("DELETE", "/v1/status", ""),
        ("GET", "/v1/flows?limit=many", ""),
        ("POST", "/v1/services/a/accept", "[]"),
    ] {
        let (_, text) = raw_with(&running.socket, method, target, body);
        check(&document, &schema, &serde_json::from_str(&text).unwrap(), target);
    }
    let codes = &document["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
    let known: Result<Vec<ErrorCode>, _> = serde_json::from_value(codes.clone());
    assert_eq!(known.unwrap(), ErrorCode::ALL);
}
