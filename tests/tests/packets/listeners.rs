//! Which listener, and which endpoint, serves a port of an address.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use privatelink_common::flow_table::Flow;
use privatelink_common::tcp::{ACK, PSH, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::echo::request;
use crate::frame::Segment;
use crate::scenarios;
use crate::world::{
    BALANCER, ENDPOINT, Engine, FlowExt as _, Port, at_client, at_target, dropped, drops, find,
    flows, from_client, from_target, key_of, replaced,
};

const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);

/// The example's listener with other keys, and more listeners.
fn published(text: String, keys: &str, more: &str) -> String {
    let attributes = "[load_balancer.attributes]";
    let (keys, more) = (format!("{keys}\n"), format!("{more}{attributes}"));
    replaced(text, &[("port = 80\n", &keys), (attributes, &more)])
}

fn listener(keys: &str) -> String {
    format!("[[load_balancer.listener]]\nprotocol = \"tcp\"\ntarget_group = \"web\"\n{keys}\n")
}

/// All ports; of these a range whose ports are kept; of these one whose port is not.
fn nested(text: String) -> String {
    let range = listener("port = \"9000-9099\"\nkeep_port = true");
    published(text, "port = \"all\"", &(range + &listener("port = 9001")))
}

fn range_alone(text: String) -> String {
    published(text, "port = \"9000-9099\"\nkeep_port = true", "")
}

/// A second service at the address of A's endpoint.
fn shared(text: String) -> String {
    text + r#"
[[target_group]]
name = "kafka"
vpc = "vpc-provider"
protocol = "tcp"
port = 9092
targets = [{ address = "10.0.1.12" }]
[[load_balancer]]
name = "kafka-nlb"
vpc = "vpc-provider"
addresses = [{ zone = "us-east-1a", address = "10.0.0.12/16" }]
[[load_balancer.listener]]
protocol = "tcp"
port = "9000-9003"
target_group = "kafka"
[[endpoint_service]]
id = "vpce-svc-kafka"
load_balancers = ["kafka-nlb"]
acceptance_required = false
allowed_principals = ["*"]
[[security_group]]
id = "sg-kafka"
vpc = "vpc-consumer-a"
ingress = [{ protocol = "all", cidr = "10.0.2.0/24" }]
[[endpoint]]
id = "vpce-kafka"
vpc = "vpc-consumer-a"
service = "vpce-svc-kafka"
addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]
security_groups = ["sg-kafka"]
icmp_echo = true
"#
}

fn sticky(text: String) -> String {
    let delay = "[target_group.attributes]\n";
    replaced(text, &[(delay, &format!("{delay}\"stickiness.enabled\" = true\n"))])
}

/// B's endpoint, the load balancer and the targets in two zones each, of which flows do not leave theirs.
fn zonal(text: String) -> String {
    let on = "cross_zone.enabled\" = true";
    replaced(across_zones(text), &[(on, "cross_zone.enabled\" = false")])
}

fn across_zones(text: String) -> String {
    let changes = [
        (r#"{ address = "10.0.1.10" }"#, r#"{ zone = "us-east-1a", address = "10.0.1.10" }"#),
        (r#"{ address = "10.0.1.11""#, r#"{ zone = "us-east-1b", address = "10.0.1.11""#),
        (
            r#"address = "10.0.0.10/16" }]"#,
            r#"address = "10.0.0.10/16" }, { zone = "us-east-1b", address = "10.0.0.11/16" }]"#,
        ),
        (
            "address = \"10.0.1.10\" }]\n# no",
            "address = \"10.0.1.10\" }, { zone = \"us-east-1b\", address = \"10.0.1.11\" }]\n# no",
        ),
    ];
    replaced(text, &changes)
}

fn syn(port: Port, source_port: u16, to: (Ipv4Addr, u16)) -> Segment {
    Segment { destination: to, ..from_client(port, source_port, SYN) }
}

/// The flow that a SYN opens.
#[track_caller]
fn opened(engine: &mut dyn Engine, port: Port, syn: &Segment) -> Flow {
    let outcome = engine.receive(port, &syn.bytes());
    assert_eq!(outcome.verdict, Verdict::Redirect, "{syn:?}");
    let flow = find(engine, &key_of(port, syn)).expect("the SYN made a flow");
    assert_eq!(outcome.frame, at_target(syn, &flow).bytes());
    flow
}

/// The addresses of the targets and of the load balancer that 32 flows to an address have.
fn served(engine: &mut dyn Engine, to: Ipv4Addr) -> [BTreeSet<Ipv4Addr>; 2] {
    let flows: Vec<Flow> = (0..32)
        .map(|number| opened(engine, Port::B, &syn(Port::B, 41_000 + number, (to, 80))))
        .collect();
    [
        flows.iter().map(|flow| flow.target().0).collect(),
        flows.iter().map(|flow| flow.nat().0).collect(),
    ]
}

scenarios! {
    fn the_fewest_ports_win(engine) with(nested) {
        let own = |flow: &Flow| [8080, 8081].contains(&flow.target().1);
        for (asked, kept) in [
            (80, false), (1, false), (65_535, false), (8999, false), (9100, false),
            (9000, true), (9002, true), (9099, true), (9001, false),
        ] {
            let flow = opened(engine, Port::B, &syn(Port::B, 40_000, (ENDPOINT, asked)));
            assert_eq!((flow.target().1 == asked, own(&flow)), (kept, !kept), "{asked}");
        }
        assert_eq!(drops(engine, Port::B), []);
    }

    fn a_range_ends_where_it_says(engine) with(range_alone) {
        for asked in [9000, 9063, 9064, 9099] {
            opened(engine, Port::B, &syn(Port::B, 40_000, (ENDPOINT, asked)));
        }
        for asked in [80, 8080, 8999, 9100, 0, 65_535] {
            dropped(engine, Port::B, "NoListener", &syn(Port::B, 40_000, (ENDPOINT, asked)));
        }
    }

    fn a_security_group_is_asked_about_published_ports(engine) with(range_alone) {
        dropped(engine, Port::A, "SecurityGroup", &syn(Port::A, 40_000, (ENDPOINT, 9000)));
        dropped(engine, Port::A, "NoListener", &syn(Port::A, 40_000, (ENDPOINT, 80)));
    }

    fn a_kept_port_both_ways(engine) with(range_alone) {
        let syn = syn(Port::B, 40_000, (ENDPOINT, 9007));
        let flow = opened(engine, Port::B, &syn);
        assert_eq!(flow.target().1, 9007);
        let answer = from_target(&flow, SYN | ACK, &[]);
        let leaves = Segment { source: (ENDPOINT, 9007), ..at_client(&answer, Port::B, 40_000) };
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).frame, leaves.bytes());
        let data = syn.with_flags(ACK | PSH).with_payload(b"fetch");
        assert_eq!(engine.receive(Port::B, &data.bytes()).frame, at_target(&data, &flow).bytes());
        // Another port of the target is another's, though the lease is this flow's: a RST.
        let other = Segment { source: (flow.target().0, 9008), ..answer };
        let reset = engine.receive(Port::Provider, &other.bytes());
        assert_eq!((reset.verdict, &reset.frame[6..12]), (Verdict::Redirect, &Port::Provider.mac()[..]));
        assert_eq!(drops(engine, Port::Provider), [("NoFlow", 1)]);
        assert_eq!(drops(engine, Port::B), []);
    }

    fn a_target_is_known_at_any_kept_port(engine) with(range_alone) {
        let late = |source| Segment {
            to: Port::Provider.mac(),
            source,
            destination: (BALANCER, 20_000),
            ..from_client(Port::A, 1, ACK)
        };
        let answer = engine.receive(Port::Provider, &late((TARGET, 9007)).bytes());
        assert_eq!(answer.verdict, Verdict::Redirect, "a RST");
        assert_eq!(drops(engine, Port::Provider), [("NoFlow", 1)]);
        dropped(engine, Port::Provider, "Unsolicited", &late((Ipv4Addr::new(10, 0, 3, 3), 9007)));
    }

    fn endpoints_that_share_an_address(engine) with(shared) {
        let asked = |source_port, port| syn(Port::A, source_port, (ENDPOINT, port));
        let web = opened(engine, Port::A, &asked(40_000, 80));
        let kafka = opened(engine, Port::A, &asked(40_000, 9003));
        assert_eq!((web.endpoint, kafka.endpoint), (0, 2));
        assert_eq!(web.nat().0, BALANCER);
        assert_eq!((kafka.nat().0, kafka.target()), (Ipv4Addr::new(10, 0, 0, 12), (Ipv4Addr::new(10, 0, 1, 12), 9092)));

        for port in [81, 8999, 9004, 9092] {
            dropped(engine, Port::A, "NoListener", &asked(40_001, port));
        }
        // B's endpoint has the same address, in another vpc.
        dropped(engine, Port::B, "NoListener", &syn(Port::B, 40_001, (ENDPOINT, 9003)));
    }

    fn each_with_its_own_security_group(engine) with(shared) {
        let from = |host, port| Segment {
            source: (Ipv4Addr::new(10, 0, 3, host), 40_000),
            ..syn(Port::A, 40_000, (ENDPOINT, port))
        };
        opened(engine, Port::A, &from(1, 80));
        dropped(engine, Port::A, "SecurityGroup", &from(1, 9000));
        dropped(engine, Port::A, "SecurityGroup", &from(1, 9000).with_flags(ACK));
    }

    fn each_with_its_own_state(engine) with(shared) {
        engine.edit_endpoint(2, &|endpoint| endpoint.available = 0);
        opened(engine, Port::A, &syn(Port::A, 40_000, (ENDPOINT, 80)));
        dropped(engine, Port::A, "EndpointNotAvailable", &syn(Port::A, 40_000, (ENDPOINT, 9000)));
        engine.edit_endpoint(2, &|endpoint| endpoint.available = 1);
        engine.edit_endpoint(0, &|endpoint| endpoint.available = 0);
        dropped(engine, Port::A, "EndpointNotAvailable", &syn(Port::A, 40_001, (ENDPOINT, 80)));
        opened(engine, Port::A, &syn(Port::A, 40_000, (ENDPOINT, 9000)));
    }

    fn one_that_answers_echo_is_enough(engine) with(shared) {
        let outcome = engine.receive(Port::A, &request(Port::A, b"hello").bytes());
        assert_eq!(outcome.verdict, Verdict::Redirect);
    }

    fn a_client_sticks_to_its_target(engine) with(sticky) {
        let mut targets = BTreeSet::new();
        for host in 1..33 {
            let source = |number: u16| (Ipv4Addr::new(10, 0, 2, host), 40_000 + number);
            let syns = [0, 1, 2, 3].map(|number| Segment { source: source(number), ..from_client(Port::B, 1, SYN) });
            let own: BTreeSet<u32> = syns.iter().map(|syn| opened(engine, Port::B, syn).target).collect();
            assert_eq!(own.len(), 1, "10.0.2.{host}");
            targets.extend(own);
        }
        assert_eq!(targets, BTreeSet::from([0, 1]), "clients are spread all the same");
        assert_eq!(flows(engine).len(), 32 * 4);
    }

    fn flows_stay_in_their_zone(engine) with(zonal) {
        for host in [10, 11] {
            let expected = [[10, 0, 1, host], [10, 0, 0, host]].map(|it| BTreeSet::from([Ipv4Addr::from(it)]));
            assert_eq!(served(engine, Ipv4Addr::new(10, 0, 1, host)), expected);
        }
    }

    fn or_leave_it_where_cross_zone_is_on(engine) with(across_zones) {
        for host in [10, 11] {
            let [targets, _] = served(engine, Ipv4Addr::new(10, 0, 1, host));
            assert_eq!(targets.len(), 2, "{targets:?}");
        }
    }
}
