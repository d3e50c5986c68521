//! Orders and overlay on a model of one service with three endpoints of two accounts.

use std::time::{Duration, SystemTime};

use super::Decisions;
use crate::api::{AcceptOrder, AllowOrder, ErrorBody, Order, RejectOrder, RevokeOrder};
use crate::config;
use crate::model::EndpointState::{self, Available, Deleting, Failed, PendingAcceptance, Rejected};
use crate::model::Model;
use crate::store::Documents;

const OVERLAP: &str = include_str!("../../../examples/overlap.toml");

const SERVICE: &str = "vpce-svc-0e123abc123198abc";
const A: &str = "vpce-0a11111111111111a";
const B: &str = "vpce-0b22222222222222b";
const ROOT_A: &str = "arn:aws:iam::222222222222:root";
const ROOT_B: &str = "arn:aws:iam::333333333333:root";

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn accept(endpoints: &[&str], principals: &[&str]) -> Order {
    let (endpoints, principals) = (strings(endpoints), strings(principals));
    Order::Accept(AcceptOrder { endpoints, principals, ..AcceptOrder::default() })
}

fn reject(endpoints: &[&str], principals: &[&str]) -> Order {
    let (endpoints, principals) = (strings(endpoints), strings(principals));
    Order::Reject(RejectOrder { endpoints, principals, ..RejectOrder::default() })
}

fn allow(principals: &[&str]) -> Order {
    Order::Allow(AllowOrder { principals: strings(principals), dry_run: false })
}

fn revoke(principals: &[&str]) -> Order {
    Order::Revoke(RevokeOrder { principals: strings(principals), ..RevokeOrder::default() })
}

/// What is declared, and what was decided on it.
struct Gateway {
    declared: Model,
    decisions: Decisions,
}

impl Gateway {
    /// The first example, with acceptance required and these principals.
    fn new(allowed_principals: &[&str]) -> Self {
        let mut declared = config::parse("overlap.toml", OVERLAP).unwrap();
        declared.services[0].acceptance_required = true;
        declared.services[0].allowed_principals = strings(allowed_principals);
        let mut gateway = Self { declared, decisions: Decisions::default() };
        gateway.apply(0);
        gateway
    }

    fn apply(&mut self, now: u64) -> Model {
        let mut model = self.declared.clone();
        self.decisions.apply(&mut model, at(now));
        model
    }

    /// The ids that the order is about.
    fn order(&mut self, order: &Order) -> Result<Vec<String>, ErrorBody> {
        let mut decisions = self.decisions.clone();
        let chosen = decisions.carry_out(order, SERVICE, &self.declared, at(1))?;
        self.decisions = decisions;
        Ok(chosen.into_iter().map(|index| self.declared.endpoints[index].id.clone()).collect())
    }

    fn states(&mut self, now: u64) -> Vec<EndpointState> {
        self.apply(now).endpoints.iter().map(|endpoint| endpoint.state).collect()
    }

    fn listed(&mut self) -> Vec<String> {
        self.apply(2).services[0].allowed_principals.clone()
    }
}

#[test]
fn orders_choose_endpoints_by_id_and_by_account() {
    for (order, chosen, states) in [
        (accept(&[A], &[]), &[A][..], [Available, PendingAcceptance]),
        (accept(&[B, A, B], &[]), &[A, B], [Available, Available]),
        (accept(&[], &[ROOT_B]), &[B], [PendingAcceptance, Available]),
        (accept(&[], &["arn:aws:iam::333333333333:role/ci"]), &[B], [PendingAcceptance, Available]),
        (accept(&[A], &[ROOT_B]), &[A, B], [Available, Available]),
        (reject(&[], &["*"]), &[A, B], [Rejected, Rejected]),
        (revoke(&[ROOT_A]), &[A], [Rejected, PendingAcceptance]),
        (revoke(&[ROOT_A, ROOT_B]), &[A, B], [Rejected, Rejected]),
        (revoke(&["*"]), &[], [PendingAcceptance, PendingAcceptance]),
    ] {
        let mut gateway = Gateway::new(&[ROOT_A, ROOT_B]);
        assert_eq!(gateway.order(&order).unwrap(), chosen, "{order:?}");
        assert_eq!(gateway.states(2), states, "{order:?}");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let long = "x".repeat(141);
    let reason = |reason: &str| {
        let reason = Some(reason.to_owned());
        Order::Reject(RejectOrder { endpoints: strings(&[A]), reason, ..RejectOrder::default() })
    };
    for (order, expected) in [
        (
            accept(&[], &[]),
            r#"MissingParameter: "no endpoint is named: give endpoints, principals or both""#,
        ),
        (
            reject(&[A, "vpce-none"], &[]),
            r#"EndpointNotFound: "vpce-none: no such endpoint at vpce-svc-0e123abc123198abc; see `privatelink connection list`""#,
        ),
        (
            accept(&[A], &["arn:aws:iam::444444444444:root"]),
            r#"EndpointNotFound: "arn:aws:iam::444444444444:root: no endpoint of this account at vpce-svc-0e123abc123198abc; see `privatelink connection list`""#,
        ),
        (
            accept(&[B], &[]),
            r#"InvalidState: "vpce-0b22222222222222b: vpce-svc-0e123abc123198abc does not admit account 333333333333; allow it first: `privatelink service allow vpce-svc-0e123abc123198abc arn:aws:iam::333333333333:root`""#,
        ),
        (allow(&[]), r#"MissingParameter: "no principal is named: give principals""#),
        (
            allow(&[ROOT_A, "333333333333"]),
            r#"InvalidParameter: "\"333333333333\": not a principal; write \"*\" for everybody, or arn:aws:iam::ACCOUNT:root, …:user/NAME or …:role/NAME with the account's 12 digits""#,
        ),
        (
            reason(""),
            r#"InvalidParameter: "reason: empty; write 1 to 140 printable characters on one line""#,
        ),
        (
            reason(&long),
            r#"InvalidParameter: "reason: too long; write 1 to 140 printable characters on one line""#,
        ),
        (
            reason("a\nb"),
            r#"InvalidParameter: "reason: not printable; write 1 to 140 printable characters on one line""#,
        ),
    ] {
        let mut gateway = Gateway::new(&[ROOT_A]);
        let before = gateway.decisions.clone();
        let ErrorBody { code, error } = gateway.order(&order).unwrap_err();
        assert_eq!(format!("{code:?}: {error:?}"), expected, "{order:?}");
        assert_eq!(gateway.decisions, before);
    }
    let declared = Gateway::new(&[]).declared;
    let mut decisions = Decisions::default();
    let refused = decisions.carry_out(&allow(&["*"]), "vpce-svc-b", &declared, at(0)).unwrap_err();
    assert_eq!(
        serde_json::to_string(&refused).unwrap(),
        r#"{"code":"InvalidVpcEndpointServiceId.NotFound","error":"vpce-svc-b: no such endpoint service; see `privatelink services`"}"#
    );
}

#[test]
fn who_is_not_admitted_fails_until_he_is() {
    let mut gateway = Gateway::new(&[ROOT_A]);
    assert_eq!(gateway.states(1), [PendingAcceptance, Failed]);
    gateway.order(&accept(&[A], &[])).unwrap();
    gateway.order(&allow(&["*"])).unwrap();
    assert_eq!(gateway.states(2), [Available, PendingAcceptance]);
    assert_eq!(gateway.listed(), [ROOT_A, "*"]);
    // Still admitted, as everybody is.
    assert_eq!(gateway.order(&revoke(&[ROOT_A])).unwrap(), [""; 0]);
    assert_eq!(gateway.states(3), [Available, PendingAcceptance]);
    assert_eq!(gateway.order(&revoke(&["*"])).unwrap(), [A, B]);
    assert_eq!((gateway.states(4), gateway.listed()), (vec![Rejected, Rejected], vec![]));
    gateway.order(&allow(&[ROOT_A])).unwrap();
    gateway.order(&accept(&[A], &[])).unwrap();
    assert_eq!(gateway.states(5), [Available, Rejected]);
    assert!(gateway.decisions.principals(SERVICE).is_none(), "the list is the declared one again");
}

#[test]
fn decisions_outlive_what_is_declared_for_as_long_as_it_makes_sense() {
    let mut gateway = Gateway::new(&[ROOT_A, ROOT_B]);
    gateway.order(&accept(&[A, B], &[])).unwrap();
    gateway.order(&revoke(&[ROOT_B])).unwrap();
    gateway.order(&allow(&["*"])).unwrap();

    // Another list: one revocation is void, one grant is declared, the accepted stay.
    gateway.declared.services[0].allowed_principals = strings(&["*"]);
    assert_eq!((gateway.states(2), gateway.listed()), (vec![Available, Rejected], strings(&["*"])));

    let gone = gateway.declared.endpoints.remove(0);
    assert_eq!(gateway.states(3), [Rejected]);
    assert_eq!(gateway.decisions.connection(A).unwrap().state, Deleting);
    gateway.declared.endpoints.push(gone);
    assert_eq!(gateway.states(4), [Rejected, PendingAcceptance], "it is another one");

    gateway.declared.endpoints.clear();
    gateway.apply(5);
    gateway.decisions.forget(A);
    assert!(gateway.decisions.connection(A).is_none());
    gateway.declared.services.clear();
    gateway.apply(6);
    assert!(gateway.decisions.principals(SERVICE).is_none());
}

#[test]
fn an_endpoint_of_another_owner_or_service_is_another_one() {
    let mut gateway = Gateway::new(&["*"]);
    gateway.order(&accept(&[A, B], &[])).unwrap();
    gateway.declared.vpcs.iter_mut().for_each(|vpc| {
        if vpc.account == "222222222222" {
            vpc.account = "444444444444".into();
        }
    });
    assert_eq!(gateway.states(2), [PendingAcceptance, Available]);
}

#[test]
fn documents_say_all_of_it() {
    let mut gateway = Gateway::new(&[ROOT_A, ROOT_B]);
    gateway.order(&accept(&[A], &[])).unwrap();
    gateway.order(&revoke(&[ROOT_B])).unwrap();
    gateway.order(&allow(&["*"])).unwrap();
    let others = (("target".to_owned(), "a".to_owned()), "{}".to_owned());
    let mut documents = Documents::from([others.clone()]);
    gateway.decisions.write(&mut documents);
    assert_eq!(Decisions::read(&documents).unwrap(), gateway.decisions);
    assert_eq!(documents.len(), 4);
    Decisions::default().write(&mut documents);
    assert_eq!(documents, Documents::from([others]));
}

#[test]
fn a_document_of_another_version_is_refused() {
    let key = ("connection".to_owned(), A.to_owned());
    let documents = Documents::from([(key, "{\"colour\":\"red\"}".to_owned())]);
    let error = Decisions::read(&documents).unwrap_err().to_string();
    assert!(
        error.starts_with("the stored decision on vpce-0a11111111111111a cannot be read"),
        "{error}"
    );
}
