//! A gateway of many services and endpoints: the kernel takes it, and each endpoint leads to its own service. Needs root.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use privatelink_common::hash::Seeds;
use privatelink_common::records::NextHop;
use privatelink_userspace::config;
use privatelink_userspace::contents::zones::WHOLE_SHARE;
use privatelink_userspace::contents::{Contents, Fitness, Host, counted_addresses};
use privatelink_userspace::datapath::{Datapath, Sizes, jiffies_per_second};
use privatelink_userspace::model::Model;
use privatelink_userspace::numbers::Numbering;
use privatelink_userspace::reconcile::Reconciler;

const SERVICES: usize = 1_000;
const ENDPOINTS: usize = 10_000;

/// The services, each of its own load balancer and target group, and the endpoints, two at each address.
fn configuration() -> String {
    let mut text = String::from(
        r#"
region = "us-east-1"
[flow_table]
capacity = 1024
[[vpc]]
id = "provider"
account = "111111111111"
cidrs = ["10.0.0.0/8"]
interfaces = [{ name = "provider", zone = "a" }]
[[vpc]]
id = "consumer"
account = "222222222222"
cidrs = ["10.0.0.0/8"]
interfaces = [{ name = "consumer", zone = "a" }]
"#,
    );
    for service in 0..SERVICES {
        let (high, low) = (service >> 8, service & 255);
        // Of two services beside each other, which share addresses, one publishes a range.
        let port = if service % 2 == 0 { "80" } else { "\"9000-9099\"" };
        write!(
            text,
            r#"
[[target_group]]
name = "group-{service}"
vpc = "provider"
protocol = "tcp"
port = 8080
targets = [{{ address = "10.1.{high}.{low}" }}, {{ address = "10.2.{high}.{low}" }}]
[[load_balancer]]
name = "nlb-{service}"
vpc = "provider"
addresses = [{{ zone = "a", address = "10.3.{high}.{low}/8" }}]
[[load_balancer.listener]]
protocol = "tcp"
port = {port}
target_group = "group-{service}"
[[endpoint_service]]
id = "vpce-svc-{service}"
load_balancers = ["nlb-{service}"]
acceptance_required = false
allowed_principals = ["*"]
"#
        )
        .expect("a string takes it");
    }
    for endpoint in 0..ENDPOINTS {
        let (service, address) = (endpoint % SERVICES, endpoint / 2);
        let (high, low) = (address >> 8, address & 255);
        write!(
            text,
            r#"
[[endpoint]]
id = "vpce-{endpoint}"
vpc = "consumer"
service = "vpce-svc-{service}"
addresses = [{{ zone = "a", address = "10.4.{high}.{low}" }}]
"#
        )
        .expect("a string takes it");
    }
    text
}

fn contents(model: &Model, numbering: &Numbering) -> Contents {
    let host = Host {
        interfaces: HashMap::new(),
        next_hop: &|_| NextHop::UNKNOWN,
        fitness: &|_| Fitness::Healthy,
        share: &|_| WHOLE_SHARE,
        marked: &|_| false,
        seeds: Seeds::of(7),
        generation: 0,
        jiffies_per_second: jiffies_per_second(),
    };
    Contents::new(model, numbering, &host)
}

#[test]
fn a_thousand_services_and_ten_thousand_endpoints() {
    let text = configuration();
    let mut last = Instant::now();
    let mut lap = |what: &str| {
        println!("{what}: {:.2} s", last.elapsed().as_secs_f64());
        last = Instant::now();
    };
    let model = config::parse("scale.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    lap("the configuration is checked");
    let numbering = Numbering::in_order(&model).expect("there are numbers");
    let contents = contents(&model, &numbering);
    lap("the maps' contents are made");
    let (mut datapath, flow_table) = Datapath::load(Sizes::of(&model), None).expect("it loads");
    lap("the maps are made");
    let mut reconciler = Reconciler::default();
    let (_, failed) = reconciler.apply(&contents, &mut datapath);
    assert!(failed.is_empty(), "{failed:?}");
    lap("the maps are filled");
    let counted = counted_addresses(&model, &numbering);
    flow_table.count_addresses(counted.map(|(key, ..)| key)).expect("there is room");
    lap("endpoints are counted by address");
    assert_eq!(flow_table.address_counts().expect("it can be read").len(), ENDPOINTS);
    lap("what is counted is read");

    let mut heavier = model.clone();
    heavier.target_groups[7].targets[0].weight += 1;
    let (written, failed) = reconciler.apply(&self::contents(&heavier, &numbering), &mut datapath);
    assert_eq!((written, failed.len()), (1, 0), "one pool");
    lap("one target is changed");

    assert_eq!((contents.endpoints.len(), contents.pools.len()), (ENDPOINTS, SERVICES));
    assert_eq!(contents.addresses.len(), ENDPOINTS / 2 + SERVICES);
    let served: HashMap<u32, u32> =
        contents.listeners.values().map(|it| (it.endpoint, it.pool)).collect();
    assert_eq!(served.len(), ENDPOINTS);
    assert!(served.iter().all(|(endpoint, pool)| endpoint % SERVICES as u32 == *pool));
}
