//! What the maps hold of both families.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config;
use crate::model::Family;
use crate::reconcile::{Change, changes};

const OVERLAP: &str = include_str!("../../../examples/overlap.toml");
const BOTH: &str = include_str!("../config/tests/ipv6.toml");

fn model(edits: &[(&str, &str)]) -> Model {
    let mut text = BOTH.to_owned();
    for (find, replace) in edits {
        assert!(text.contains(find), "not in the file: {find}");
        text = text.replacen(find, replace, 1);
    }
    config::parse("ipv6.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The contents for a model, after `before`.
fn contents(model: &Model, before: &Contents) -> Contents {
    let host = Host {
        interfaces: HashMap::new(),
        next_hop: &|_| NextHop::UNKNOWN,
        fitness: &|_| Fitness::Healthy,
        share: &|_| zones::WHOLE_SHARE,
        marked: &|key| before.is_marked(key),
        seeds: Seeds::of(7),
        generation: 3,
        jiffies_per_second: 250,
    };
    Contents::new(model, &Numbering::in_order(model).unwrap(), &host)
}

fn fresh(edits: &[(&str, &str)]) -> Contents {
    contents(&model(edits), &Contents::default())
}

fn wide(text: &str) -> WideAddress {
    text.parse::<IpAddr>().unwrap().into()
}

/// The addresses with their vpcs' numbers that are marked, and those that are not.
fn marks(contents: &Contents) -> [BTreeSet<String>; 2] {
    let mut sets = [BTreeSet::new(), BTreeSet::new()];
    for ((vpc, address), of) in contents.all_addresses() {
        let unmarked = usize::from(of.flags & Address::WIDE == 0);
        sets[unmarked].insert(format!("{vpc} {address}"));
    }
    sets
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.into()).collect()
}

/// Edits that leave no listener to an IPv6 target group, and IPv4 addresses alone at the endpoints.
const TO_IPV4: (&str, &str) = ("target_group = \"six\"", "target_group = \"four\"");
const FROM_IPV4: [(&str, &str); 3] = [
    ("service = \"vpce-svc-a\"\nip_address_type = \"dualstack\"", "service = \"vpce-svc-a\""),
    (", { zone = \"a\", address = \"fd00:a::1:10\" }", ""),
    ("fd00:a::1:11", "10.0.1.11"),
];

#[test]
fn each_family_is_in_maps_of_its_own() {
    let contents = fresh(&[]);
    assert_eq!(contents.addresses.len(), 2);
    assert_eq!(contents.wide_addresses.len(), 3);
    let number = |address| contents.wide_addresses[&WideAddressKey::new(2, wide(address))].index;
    assert_eq!((number("fd00:a::1:10"), number("fd00:a::1:11")), (0, 1));
    let balancer = contents.wide_load_balancers[&1];
    assert_eq!((balancer.names.count, balancer.addresses[0]), (1, wide("fd00:a::10")));
    let balancer = contents.load_balancers[&0];
    assert_eq!((balancer.count, balancer.addresses[0].to_ne_bytes()), (1, [10, 0, 0, 10]));
}

#[test]
fn every_listener_is_published_at_every_address() {
    let contents = fresh(&[]);
    let (four, six) = (network_order(Ipv4Addr::new(10, 0, 1, 10)), wide("fd00:a::1:10"));
    assert_eq!((contents.listeners.len(), contents.wide_listeners.len()), (2, 4));
    for port in [4_u16, 6] {
        let narrow = contents.listeners[&ListenerKey::new(2, four, 6, port.to_be())];
        let wide = contents.wide_listeners[&WideListenerKey::new(2, six, 6, port.to_be())];
        assert_eq!((narrow, narrow.pool), (wide, u32::from(port == 6)));
    }
}

#[test]
fn targets_of_either_family() {
    let contents = fresh(&[]);
    let targets: BTreeMap<_, _> = contents.targets.iter().collect();
    let targets: Vec<_> = targets
        .into_iter()
        .map(|(number, way)| {
            let address = IpAddr::from(contents.wide_targets[number]).to_string();
            (way.key.address.to_ne_bytes(), u16::from_be(way.key.port), address)
        })
        .collect();
    let six = "fd00:a::1:10".to_owned();
    let name = wide(&six).name(&contents.settings.seeds).to_ne_bytes();
    let expected =
        [([10, 0, 1, 10], 80, "10.0.1.10".into()), (name, 80, six.clone()), (name, 81, six)];
    assert_eq!(targets, expected);
    let four =
        TargetKey { address: u32::from_ne_bytes([10, 0, 1, 10]), port: 80_u16.to_be(), vpc: 1 };
    assert_eq!(contents.target_keys, [(four, 0)].into());
    let key = |port: u16| WideTargetKey::new(1, wide("fd00:a::1:10"), port.to_be());
    assert_eq!(contents.wide_target_keys, [(key(80), 1), (key(81), 2)].into());
    let kept = fresh(&[("port = 6\n", "port = 6\nkeep_port = true\n")]);
    assert_eq!((kept.target_keys.len(), kept.wide_target_keys.len()), (1, 3), "one of any port");
}

#[test]
fn rules_are_for_one_family_each() {
    let contents = fresh(&[]);
    let rules = contents.wide_rules[&1];
    let all = contents.wide_rules[&0];
    assert!(rules.allows(6, wide("fd00:b::1"), 6_u16.to_be()));
    assert!(!rules.allows(6, wide("fd00:b::1"), 4_u16.to_be()), "another port");
    assert!(
        all.allows(17, wide("fd00:a::1"), 4_u16.to_be()) && !all.allows(6, wide("fd00:b::1"), 4)
    );
    let counts =
        |number| (contents.endpoints[&number].rule_count, contents.wide_rules[&number].count);
    assert_eq!((counts(0), counts(1)), ((1, 1), (1, 1)));
}

#[test]
fn the_tables_differ_in_their_measures_alone() {
    let contents = fresh(&[(
        "[[target_group]]",
        "[flow_table]\ncapacity = 65536\nipv6_flow_capacity = 4096\n\n[[target_group]]",
    )]);
    let (narrow, wide) = (contents.settings, contents.wide_settings);
    assert_eq!(
        (narrow.halves, wide.halves),
        (Measures::new(65_536).halves, Measures::new(4096).halves)
    );
    let Settings { halves, buckets, number_bits, .. } = wide;
    assert_eq!(wide, Settings { halves, buckets, number_bits, ..narrow });
}

#[test]
fn without_ipv6_nothing_is_wide() {
    let model = config::parse("overlap.toml", OVERLAP).unwrap();
    let contents = contents(&model, &Contents::default());
    assert!(contents.wide_addresses.is_empty() && contents.wide_listeners.is_empty());
    assert!(contents.wide_rules.is_empty() && contents.wide_load_balancers.is_empty());
    assert!(contents.wide_target_keys.is_empty());
    let [marked, _] = marks(&contents);
    assert_eq!(marked, set(&[]));
}

#[test]
fn addresses_are_marked_where_flows_of_the_wide_table_come() {
    let of_endpoint = ["2 10.0.1.10", "2 10.0.1.11"];
    let all = set(&["1 10.0.0.10", "2 10.0.1.10"]);
    assert_eq!(marks(&fresh(&[]))[0], all, "IPv4 to IPv6");
    assert_eq!(marks(&fresh(&[TO_IPV4]))[0], set(&["1 10.0.0.10"]), "IPv6 to IPv4 alone");
    let [a, b, c] = FROM_IPV4;
    let to_both = marks(&fresh(&[a, b, c]));
    assert_eq!(to_both[0], set(&["1 10.0.0.10", of_endpoint[0], of_endpoint[1]]));
    let narrow = marks(&fresh(&[TO_IPV4, a, b, c]));
    assert_eq!(narrow[0], set(&[]), "IPv4 to IPv4");
    assert_eq!(narrow[1], set(&["1 10.0.0.10", "1 fd00:a::10", of_endpoint[0], of_endpoint[1]]));
}

#[test]
fn where_an_address_is_shared_all_its_load_balancers_are_marked() {
    let other = r#"
[[load_balancer]]
name = "four-nlb"
vpc = "provider"
addresses = [{ zone = "a", address = "10.0.0.11/24" }]
[[load_balancer.listener]]
protocol = "tcp"
port = 5
target_group = "four"
[[endpoint_service]]
id = "vpce-svc-b"
load_balancers = ["four-nlb"]
[[endpoint]]
id = "vpce-c"
vpc = "consumer"
service = "vpce-svc-b"
addresses = [{ zone = "a", address = "10.0.1.10" }]
"#;
    let text = format!("{BOTH}{other}");
    let model = config::parse("ipv6.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let [marked, _] = marks(&contents(&model, &Contents::default()));
    assert_eq!(marked, set(&["1 10.0.0.10", "1 10.0.0.11", "2 10.0.1.10"]));
}

#[test]
fn a_mark_stays_and_is_set_before_anything_leads_to_it() {
    let [a, b, c] = FROM_IPV4;
    let narrow = fresh(&[TO_IPV4, a, b, c]);
    let both = contents(&model(&[a, b, c]), &narrow);
    let writes = changes(&narrow, &both);
    let kinds: Vec<u16> = writes
        .iter()
        .map_while(|change| match change {
            Change::Address(_, Some(of)) if of.flags == Address::WIDE => Some(of.kind),
            _ => None,
        })
        .collect();
    let (endpoint, balancer) = (Address::ENDPOINT, Address::LOAD_BALANCER);
    assert_eq!(kinds, [balancer, endpoint, endpoint], "{writes:?}");
    let after = contents(&model(&[TO_IPV4, a, b, c]), &both);
    assert_eq!(marks(&after), marks(&both));
}

#[test]
fn a_zone_without_an_address_of_the_family_has_those_of_all() {
    let zones = [
        (
            "{ zone = \"a\", address = \"fd00:a::10/64\" }",
            "{ zone = \"b\", address = \"fd00:a::10/64\" }",
        ),
        (
            "[[load_balancer.listener]]",
            "attributes.\"load_balancing.cross_zone.enabled\" = false\n[[load_balancer.listener]]",
        ),
    ];
    let model = model(&zones);
    assert_eq!(model.target_groups[1].family, Family::Ipv6);
    let numbering = Numbering::in_order(&model).unwrap();
    let numbers = zones::Numbers::new(&model, &numbering);
    let faces = faces(&model);
    let part = |zone, group| {
        let (_, face) = numbers.of(zone, 0, group);
        faces[face as usize].part
    };
    assert_eq!((part("a", 0), part("a", 1)), (zones::Part::Zone("a"), zones::Part::All));
    assert_eq!((part("b", 0), part("b", 1)), (zones::Part::All, zones::Part::Zone("b")));
}
