//! Whatever was asked for, reloaded and restarted before: in the end the maps hold what the declaration demands, as
//! they would after a start from nothing.

use std::sync::Arc;
use std::time::Duration;

use privatelink_common::hash::Seeds;
use privatelink_common::records::NextHop;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::desired::{Desired, Next};
use crate::api::{AcceptOrder, AllowOrder, ErrorBody, Order, RejectOrder, RevokeOrder};
use crate::config::Source;
use crate::contents::zones::WHOLE_SHARE;
use crate::contents::{Contents, Fitness, Host};
use crate::decisions::{Decisions, now};
use crate::draining::{self, InUse, since_boot};
use crate::numbers::Numbering;
use crate::resources::{Declaration, Made, ResourceId, ResourceKind, Resources};
use crate::snapshot::Snapshot;
use crate::store::Store;

const OVERLAP: &str = include_str!("../../../examples/overlap.toml");
const SERVICE: &str = "vpce-svc-0e123abc123198abc";

/// One thing that happens to a gateway.
#[derive(Clone, Debug)]
enum Step {
    Make(Index),
    Modify(Index, Index),
    Delete(Index, bool),
    Register(Index, Index),
    Deregister(Index, Index),
    Order(Index, Index, u8),
    Reload(Index),
    Restart,
    /// Time passes: what drains has drained, and numbers have rested.
    Rest,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<Index>;
    prop_oneof![
        6 => which().prop_map(Step::Make),
        3 => (which(), which()).prop_map(|(which, how)| Step::Modify(which, how)),
        3 => (which(), any::<bool>()).prop_map(|(which, cascade)| Step::Delete(which, cascade)),
        2 => (which(), which()).prop_map(|(group, target)| Step::Register(group, target)),
        2 => (which(), which()).prop_map(|(group, target)| Step::Deregister(group, target)),
        2 => (which(), which(), 0..4u8).prop_map(|(service, who, verb)| Step::Order(service, who, verb)),
        3 => which().prop_map(Step::Reload),
        2 => Just(Step::Restart),
        1 => Just(Step::Rest),
    ]
}

/// The files that an operator may have: parts of the example, and changes that are at odds with what the steps make.
fn files() -> Vec<String> {
    let vpcs = OVERLAP.split("# ---- provider side").next().unwrap();
    let provider = OVERLAP.split("# ---- consumer side").next().unwrap();
    vec![
        OVERLAP.to_owned(),
        vpcs.to_owned(),
        provider.to_owned(),
        OVERLAP.replacen(
            r#"address = "10.0.1.10" }]      #"#,
            r#"address = "10.0.3.1" }]      #"#,
            1,
        ),
        OVERLAP.replacen("  { address = \"10.0.1.10\" },\n", "", 1),
        OVERLAP.replacen("10.0.0.10/16", "10.0.0.12/16", 1),
        OVERLAP.replacen("acceptance_required = false", "acceptance_required = true", 1),
        OVERLAP.replacen("10.0.0.0/16", "10.0.0.0/23", 1),
    ]
}

/// What may be made: some twice, some with what others have, some of what is not there.
fn requests() -> Vec<(ResourceKind, Value)> {
    use ResourceKind::{Endpoint, LoadBalancer, SecurityGroup, Service, TargetGroup};
    let at = |address: &str| json!([{ "zone": "us-east-1a", "address": address }]);
    let group = |name: &str, targets: Value| {
        (
            TargetGroup,
            json!({ "name": name, "vpc": "vpc-provider", "protocol": "tcp", "port": 80, "targets": targets }),
        )
    };
    let balancer = |name: &str, address: &str, group: &str| {
        let listener = json!([{ "protocol": "tcp", "port": 80, "target_group": group }]);
        (
            LoadBalancer,
            json!({ "name": name, "vpc": "vpc-provider", "addresses": at(address), "listener": listener }),
        )
    };
    let service = |id: &str, balancer: &str| {
        (Service, json!({ "id": id, "load_balancers": [balancer], "allowed_principals": ["*"] }))
    };
    let endpoint = |id: &str, service: &str, address: &str| {
        (
            Endpoint,
            json!({ "id": id, "vpc": "vpc-consumer-a", "service": service, "addresses": at(address) }),
        )
    };
    vec![
        group(
            "api",
            json!([{ "address": "10.0.1.12" }, { "address": "10.0.1.13", "zone": "us-east-1a" }]),
        ),
        group("empty", json!([])),
        // Of the file too, as long as it has them.
        group("web", json!([{ "address": "10.0.1.15" }])),
        (SecurityGroup, json!({ "id": "sg-a", "vpc": "vpc-consumer-a", "ingress": [] })),
        balancer("api-nlb", "10.0.0.11/16", "api"),
        balancer("second-nlb", "10.0.0.14/16", "web"),
        service("vpce-svc-1", "api-nlb"),
        service("vpce-svc-2", "web-nlb"),
        (SecurityGroup, json!({ "id": "sg-1", "vpc": "vpc-consumer-a", "ingress": [] })),
        endpoint("vpce-1", "vpce-svc-1", "10.0.3.1"),
        endpoint("vpce-2", SERVICE, "10.0.3.5"),
        endpoint("vpce-3", "vpce-svc-2", "10.0.3.2"),
    ]
}

/// How a resource may be changed, to something that others have too, or that is not there.
fn changes(kind: ResourceKind) -> Vec<Value> {
    let at = |address: &str| json!([{ "zone": "us-east-1a", "address": address }]);
    match kind {
        ResourceKind::TargetGroup => vec![
            json!({ "targets": [{ "address": "10.0.1.14" }] }),
            json!({ "targets": [{ "address": "10.0.0.12" }] }),
            json!({ "port": 81, "attributes": { "stickiness.enabled": true } }),
        ],
        ResourceKind::LoadBalancer => vec![
            json!({ "addresses": at("10.0.0.12/16") }),
            json!({ "addresses": at("10.0.0.13/16") }),
            json!({ "listener": [{ "protocol": "tcp", "port": "80-89", "target_group": "empty" }] }),
            json!({ "attributes": { "load_balancing.cross_zone.enabled": true } }),
        ],
        ResourceKind::Service => vec![
            json!({ "load_balancers": ["second-nlb"] }),
            json!({ "load_balancers": ["web-nlb", "api-nlb"] }),
            json!({ "allowed_principals": null, "acceptance_required": false }),
        ],
        ResourceKind::SecurityGroup => vec![json!({ "ingress": null })],
        ResourceKind::Endpoint => vec![
            json!({ "addresses": at("10.0.3.1") }),
            json!({ "addresses": at("10.0.3.2") }),
            json!({ "addresses": at("10.0.3.4") }),
            json!({ "security_groups": ["sg-1"] }),
            json!({ "security_groups": ["sg-a"] }),
            json!({ "service": "vpce-svc-1" }),
            json!({ "service": SERVICE, "security_groups": null }),
        ],
    }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("{value}") };
    object
}

fn ids() -> Vec<ResourceId> {
    let of = |(kind, settings): (ResourceKind, Value)| {
        let id = settings[kind.key()].as_str().unwrap().to_owned();
        (kind, id)
    };
    requests().into_iter().map(of).collect()
}

fn contents(snapshot: &Snapshot) -> Contents {
    let host = Host {
        interfaces: Default::default(),
        next_hop: &|_| NextHop::UNKNOWN,
        fitness: &|_| Fitness::Healthy,
        share: &|_| WHOLE_SHARE,
        marked: &|_| false,
        seeds: Seeds::of(7),
        generation: 1,
        jiffies_per_second: 250,
    };
    Contents::new(&snapshot.model, &snapshot.numbering, &host)
}

/// A gateway without a kernel: its store on disk, its maps in memory.
struct Site {
    folder: TempDir,
    file: String,
    maps: Contents,
    gateway: Option<(Desired, Snapshot)>,
}

impl Site {
    fn new() -> Self {
        let (folder, file) = (tempfile::tempdir().unwrap(), files().remove(0));
        let mut site = Self { folder, file, maps: Contents::default(), gateway: None };
        site.start(false);
        (0..requests().len()).for_each(|which| site.make(which));
        site
    }

    fn desired(&mut self) -> &mut Desired {
        &mut self.gateway.as_mut().unwrap().0
    }

    /// Starts a daemon on what the last one left.
    fn start(&mut self, adopts: bool) {
        self.gateway = None;
        let store = Store::open(self.folder.path()).unwrap();
        let decisions = Decisions::read(&store.saved().documents).unwrap();
        let resources = Resources::read(&store.saved().documents).unwrap();
        let source = Source::new("gateway.toml", &self.file);
        let declared = Declaration::of(source, resources, |_| true).unwrap();
        // What the data path reads back, and what it begins anew.
        self.maps.pools.clear();
        let left = Contents {
            endpoints: Default::default(),
            load_balancers: Default::default(),
            ..self.maps.clone()
        };
        let adopted = adopts.then_some(&left);
        let (desired, begun) = Desired::start(declared, decisions, store, adopted).unwrap();
        self.gateway = Some((desired, begun.snapshot));
        self.write_maps();
    }

    fn write_maps(&mut self) {
        let Some((desired, snapshot)) = &mut self.gateway else { return };
        let wanted = contents(snapshot);
        desired.reconciler.apply(&wanted, &mut self.maps);
        assert_eq!(*desired.reconciler.installed(), wanted);
    }

    fn declare(&mut self, declared: Declaration) {
        let decisions = self.desired().decisions.clone();
        self.put_in_force(declared, decisions);
    }

    fn put_in_force(&mut self, declared: Declaration, decisions: Decisions) {
        let (desired, snapshot) = self.gateway.as_ref().unwrap();
        let next = desired.next(snapshot, &declared, decisions).unwrap();
        self.adopt(Arc::new(declared), next);
    }

    fn adopt(&mut self, declared: Arc<Declaration>, next: Next) {
        let adopted = self.desired().adopt(declared, next).unwrap();
        self.gateway.as_mut().unwrap().1 = adopted.snapshot;
        self.write_maps();
    }

    fn take(&mut self, step: &Step) {
        let declared = self.desired().declared.clone();
        let asked = |answer: Result<Declaration, ErrorBody>| answer.ok();
        let changed = match step {
            Step::Make(which) => return self.make(which.index(requests().len())),
            Step::Modify(which, how) => {
                let id = which.get(&ids()).clone();
                asked(declared.modify(&id, object(how.get(&changes(id.0)).clone())))
            }
            Step::Delete(which, cascade) => {
                declared.delete(which.get(&ids()), *cascade).ok().map(|(_, declared)| declared)
            }
            Step::Register(group, target) => {
                let targets = json!({ "targets": [target_of(target)] });
                asked(declared.register(group_of(group), serde_json::from_value(targets).unwrap()))
            }
            Step::Deregister(group, target) => {
                let targets = json!({ "targets": [target_of(target)] });
                asked(
                    declared.deregister(group_of(group), &serde_json::from_value(targets).unwrap()),
                )
            }
            Step::Order(service, who, verb) => return self.order(service, who, *verb),
            Step::Reload(file) => {
                self.file.clone_from(file.get(&files()));
                Some(self.reloaded())
            }
            Step::Restart => return self.start(true),
            Step::Rest => return self.rest(),
        };
        if let Some(declared) = changed {
            self.declare(declared);
        }
    }

    fn make(&mut self, which: usize) {
        let (kind, settings) = requests().swap_remove(which);
        if let Ok(Made::New(_, declared)) = self.desired().declared.make(kind, object(settings)) {
            self.declare(*declared);
        }
    }

    fn reloaded(&mut self) -> Declaration {
        let source = Source::new("gateway.toml", &self.file);
        let resources = self.desired().declared.resources.clone();
        Declaration::of(source, resources, |_| true).unwrap()
    }

    fn order(&mut self, service: &Index, who: &Index, verb: u8) {
        let service = service.get(&[SERVICE, "vpce-svc-1", "vpce-svc-2"]);
        let account = who.get(&["222222222222", "333333333333", "444444444444"]);
        let principals = vec![format!("arn:aws:iam::{account}:root")];
        let order = match verb {
            0 => Order::Accept(AcceptOrder { principals, ..AcceptOrder::default() }),
            1 => Order::Reject(RejectOrder { principals, ..RejectOrder::default() }),
            2 => Order::Allow(AllowOrder { principals, ..AllowOrder::default() }),
            _ => Order::Revoke(RevokeOrder { principals, ..RevokeOrder::default() }),
        };
        let declared = self.desired().declared.clone();
        let mut decisions = self.desired().decisions.clone();
        if decisions.carry_out(&order, service, &declared.model, now()).is_ok() {
            self.put_in_force((*declared).clone(), decisions);
        }
    }

    fn rest(&mut self) {
        let (desired, snapshot) = self.gateway.as_ref().unwrap();
        let mut model = snapshot.model.clone();
        let later = since_boot() + Duration::from_secs(3600);
        draining::forget(&mut model, &snapshot.numbering, &InUse::default(), later);
        let (declared, next) = (desired.declared.clone(), desired.drained(model).unwrap());
        self.adopt(declared, next);
        let rested = self.desired().rested(Duration::ZERO);
        self.desired().release(&rested);
    }

    /// Expects what a start from nothing comes to, with the numbers that the resources have here.
    fn assert_as_from_nothing(&mut self) {
        let declared = self.reloaded();
        let (desired, snapshot) = self.gateway.as_ref().unwrap();
        let mut model = declared.model;
        desired.decisions.clone().apply(&mut model, now());
        assert_eq!(snapshot.model, model);
        let mut numbers = desired.numbers.clone();
        let numbering = Numbering::of(&model, &mut numbers).unwrap();
        assert_eq!(numbers, desired.numbers, "every resource has its number");
        assert_eq!(numbers.iter().count(), numbering.keys(&model).len(), "and nothing else has");
        let Contents { endpoints, load_balancers, .. } = &self.maps;
        let wanted = contents(&Snapshot::new(model, numbering));
        assert!(wanted.endpoints.iter().all(|(number, of)| endpoints.get(number) == Some(of)));
        assert!(wanted.load_balancers.iter().all(|(n, of)| load_balancers.get(n) == Some(of)));
        // A daemon that starts does not look for these; what nothing refers to does no harm.
        let (endpoints, load_balancers) = (endpoints.clone(), load_balancers.clone());
        assert_eq!(self.maps, Contents { endpoints, load_balancers, ..wanted });
    }
}

fn group_of(which: &Index) -> &'static str {
    const GROUPS: [&str; 3] = ["web", "api", "empty"];
    GROUPS[which.index(GROUPS.len())]
}

fn target_of(which: &Index) -> Value {
    which
        .get(&[
            json!({ "address": "10.0.1.10" }),
            json!({ "address": "10.0.1.11", "port": 8081 }),
            json!({ "address": "10.0.1.12" }),
            json!({ "address": "10.0.0.12", "port": 80 }),
        ])
        .clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_way_leads_to_what_is_declared(steps in prop::collection::vec(step(), 1..30)) {
        let mut site = Site::new();
        for step in &steps {
            site.take(step);
            let again = site.reloaded();
            assert_eq!(site.desired().declared.model, again.model, "a reload changes nothing");
        }
        site.rest();
        site.assert_as_from_nothing();
    }
}
