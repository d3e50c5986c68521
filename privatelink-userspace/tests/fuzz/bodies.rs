//! What fuzzing runs on bytes from nowhere: each panics where a promise is broken. Shared by `fuzz/` and the test.

use std::sync::LazyLock;

use privatelink_userspace::api::{DeregisterOrder, ErrorBody, Order, RegisterOrder};
use privatelink_userspace::config::Source;
use privatelink_userspace::decisions::{Decisions, now};
use privatelink_userspace::model::Model;
use privatelink_userspace::numbers::Numbering;
use privatelink_userspace::resources::{Declaration, Made, ResourceId, ResourceKind, Resources};
use privatelink_userspace::store::Documents;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, from_str, json};

const OVERLAP: &str = include_str!("../../../examples/overlap.toml");

/// A configuration file: it is a model that can be put in force, or each mistake in it has one line.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let errors = match Source::new("fuzz.toml", text).check(&[], |_| true) {
        Ok(model) => return put_in_force(model),
        Err(errors) => errors,
    };
    let said = errors.to_string();
    assert!(!errors.as_slice().is_empty());
    assert_eq!(said.lines().count(), errors.as_slice().len(), "{said}");
    for line in said.lines() {
        assert!(line.starts_with("fuzz.toml:") && line.contains("; "), "{line}");
    }
}

fn put_in_force(mut model: Model) {
    Decisions::default().apply(&mut model, now());
    // It may be more than the maps hold.
    let _ = Numbering::in_order(&model);
}

/// A request: on the first line what to do and to what, then the body. What it makes of the example and a few resources
/// beside it is right in itself and as well after a restart, or the refusal has words.
pub(crate) fn api_body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (line, body) = text.split_once('\n').unwrap_or((text, ""));
    let (verb, of) = line.split_once(' ').unwrap_or((line, ""));
    match requested(verb, of, body) {
        Some(Ok(declaration)) => assert_outlives_a_restart(&declaration),
        Some(Err(refused)) => assert!(!refused.error.trim().is_empty(), "{refused:?}"),
        None => {}
    }
}

fn requested(verb: &str, of: &str, body: &str) -> Option<Result<Declaration, ErrorBody>> {
    let before = &*DECLARED;
    let id = || -> Option<ResourceId> {
        let (kind, name) = of.split_once(' ')?;
        Some((ResourceKind::of_table(kind)?, name.to_owned()))
    };
    Some(match verb {
        "make" => before.make(ResourceKind::of_table(of)?, parsed(body)?).map(|made| match made {
            Made::New(_, declaration) => *declaration,
            Made::Before(_) => before.clone(),
        }),
        "modify" => before.modify(&id()?, parsed(body)?),
        "delete" => before.delete(&id()?, !body.is_empty()).map(|(_, declaration)| declaration),
        "register" => before.register(of, parsed::<RegisterOrder>(body)?),
        "deregister" => before.deregister(of, &parsed::<DeregisterOrder>(body)?),
        "accept" => ordered(of, &Order::Accept(parsed(body)?)),
        "reject" => ordered(of, &Order::Reject(parsed(body)?)),
        "allow" => ordered(of, &Order::Allow(parsed(body)?)),
        "revoke" => ordered(of, &Order::Revoke(parsed(body)?)),
        _ => return None,
    })
}

fn parsed<T: DeserializeOwned>(body: &str) -> Option<T> {
    from_str(body).ok()
}

/// An order changes decisions, which are read back as they were written.
fn ordered(service: &str, order: &Order) -> Result<Declaration, ErrorBody> {
    let mut decisions = Decisions::default();
    let mut model = DECLARED.model.clone();
    decisions.apply(&mut model, now());
    decisions.carry_out(order, service, &DECLARED.model, now())?;
    let mut documents = Documents::new();
    decisions.write(&mut documents);
    assert_eq!(Decisions::read(&documents).expect("what was written"), decisions);
    decisions.apply(&mut model, now());
    Ok(DECLARED.clone())
}

fn assert_outlives_a_restart(declaration: &Declaration) {
    let mut documents = Documents::new();
    declaration.resources.write(&mut documents);
    let resources = Resources::read(&documents).expect("what was written");
    assert_eq!(resources, declaration.resources);
    let source = Source::new("overlap.toml", OVERLAP);
    let again = Declaration::of(source, resources, |_| true);
    let again = again.expect("the file has not changed");
    assert_eq!(again.resources.failures().next(), None);
    assert_eq!(again.model, declaration.model);
}

/// What a store holds: a kind, an id and a document on each line, between tabs. What is read is written as it was, and
/// stands beside the file or has failed.
pub(crate) fn store(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let documents: Documents = text.lines().filter_map(document).collect();
    if let Ok(resources) = Resources::read(&documents) {
        let mut written = Documents::new();
        resources.write(&mut written);
        assert_eq!(Resources::read(&written).expect("what was written"), resources);
        let source = Source::new("overlap.toml", OVERLAP);
        let declared = Declaration::of(source, resources, |_| true).expect("the file is right");
        assert!(declared.model.endpoints.len() >= 2, "the file goes first");
        put_in_force(declared.model);
    }
    if let Ok(mut decisions) = Decisions::read(&documents) {
        let mut written = Documents::new();
        decisions.write(&mut written);
        assert_eq!(Decisions::read(&written).expect("what was written"), decisions);
        decisions.apply(&mut DECLARED.model.clone(), now());
    }
}

fn document(line: &str) -> Option<((String, String), String)> {
    let mut parts = line.splitn(3, '\t').map(str::to_owned);
    Some(((parts.next()?, parts.next()?), parts.next()?))
}

/// The example, and beside it a service of each part's own.
static DECLARED: LazyLock<Declaration> = LazyLock::new(|| {
    let source = Source::new("overlap.toml", OVERLAP);
    let mut declared =
        Declaration::of(source, Resources::default(), |_| true).expect("it is right");
    let address = |address: &str| json!([{ "zone": "us-east-1a", "address": address }]);
    let api = [
        (
            "target_group",
            json!({ "name": "api", "vpc": "vpc-provider", "protocol": "tcp", "port": 9000, "targets": [{ "address": "10.0.1.12" }] }),
        ),
        (
            "load_balancer",
            json!({ "name": "api-nlb", "vpc": "vpc-provider", "addresses": address("10.0.0.11/16"), "listener": [{ "protocol": "tcp", "port": 81, "target_group": "api" }] }),
        ),
        (
            "endpoint_service",
            json!({ "id": "vpce-svc-1", "load_balancers": ["api-nlb"], "allowed_principals": ["*"] }),
        ),
        ("security_group", json!({ "id": "sg-1", "vpc": "vpc-consumer-a", "ingress": [] })),
        (
            "endpoint",
            json!({ "id": "vpce-1", "vpc": "vpc-consumer-a", "service": "vpce-svc-1", "addresses": address("10.0.3.1"), "security_groups": ["sg-1"] }),
        ),
    ];
    for (table, settings) in api {
        let kind = ResourceKind::of_table(table).expect("a kind");
        let settings: Map<String, Value> = settings.as_object().expect("a table").clone();
        let Ok(Made::New(_, next)) = declared.make(kind, settings) else { panic!("{table}") };
        declared = *next;
    }
    declared
});
