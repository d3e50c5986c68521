//! Files at the capacities of the gateway, and one beyond.

use privatelink_common::limits::{
    MAX_ADDRESSES, MAX_ENDPOINTS, MAX_INTERFACES, MAX_LB_ADDRESSES, MAX_LISTENERS,
    MAX_LOAD_BALANCERS, MAX_POOLS, MAX_RULES, MAX_TARGETS, MAX_VPCS,
};

use super::{OVERLAP, edited, reported};

/// Checks that `text` is accepted with `most` things, and that one more is reported as `expected`,
/// without the place.
fn check(most: usize, text: impl Fn(usize) -> String, expected: &str) {
    assert_eq!(reported(&text(most)), "");
    let found = reported(&text(most + 1));
    let (_place, found) = found.split_once("\": ").unwrap();
    assert_eq!(found, expected);
}

/// The example, and what `each` writes for every number from 0 to `count`.
fn appended(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).fold(OVERLAP.to_owned(), |text, one| text + &one)
}

/// The `number`th host address of 10.128.0.0/9.
fn host(number: usize) -> String {
    let number = number + 1;
    format!("10.{}.{}.{}", 128 + (number >> 16), number >> 8 & 255, number & 255)
}

/// `one` for each number from 0 to `count`, with commas between.
fn list(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(", ")
}

/// A vpc with room for every address of these tests.
const WIDE: &str = r#"
[[vpc]]
id = "wide"
account = "222222222222"
cidrs = ["10.128.0.0/9"]
interfaces = [{ name = "eth1", zone = "a" }]
"#;

fn vpc(id: usize, interfaces: &str) -> String {
    format!(
        "[[vpc]]\nid = \"v{id}\"\naccount = \"111111111111\"\ncidrs = [\"10.0.0.0/16\"]\n\
         interfaces = [{interfaces}]\n"
    )
}

fn interface(name: usize) -> String {
    format!("{{ name = \"i{name}\", zone = \"a\" }}")
}

fn group(name: usize, targets: &str) -> String {
    format!(
        "[[target_group]]\nname = \"g{name}\"\nvpc = \"wide\"\nprotocol = \"tcp\"\nport = 1\n\
         targets = [{targets}]\n"
    )
}

fn target(number: usize) -> String {
    format!("{{ address = \"{}\" }}", host(number))
}

fn endpoint(id: usize, addresses: &str) -> String {
    format!(
        "[[endpoint]]\nid = \"vpce-{id}\"\nvpc = \"wide\"\n\
         service = \"vpce-svc-0e123abc123198abc\"\naddresses = [{addresses}]\n"
    )
}

fn endpoint_address(number: usize) -> String {
    format!("{{ zone = \"a\", address = \"{}\" }}", host(number))
}

#[test]
fn interfaces() {
    check(
        MAX_INTERFACES,
        |count| format!("{OVERLAP}{}", vpc(0, &list(count - 3, interface))),
        "more than 512 interfaces; keep at most 512",
    );
}

#[test]
fn vpcs() {
    // Each vpc has an interface, so that the interfaces run out long before.
    let text = appended(MAX_VPCS - 2, |id| vpc(id, &interface(id)));
    let beyond = reported(&text);
    let lines: Vec<_> =
        beyond.lines().filter_map(|line| Some(line.split_once("\": ")?.1)).collect();
    let expected =
        ["more than 512 interfaces; keep at most 512", "more than 65535 vpcs; keep at most 65535"];
    assert_eq!(lines, expected);
}

#[test]
fn target_groups() {
    check(
        MAX_POOLS,
        |count| appended(count - 1, |name| group(name, &target(name))) + WIDE,
        "more than 8192 target groups and zones of theirs; keep at most 8192",
    );
}

#[test]
fn zones_of_target_groups() {
    let target = |number: usize| {
        format!("{{ zone = \"z{number}\", address = \"10.0.3.1\", port = {} }},", number + 1)
    };
    // Beside the zones there are the group as a whole, and the target of the example that is in any zone.
    let text = |count: usize| {
        let targets: String = (0..count - 2).map(target).collect();
        let text = edited(("{ address = \"10.0.1.10\" },", &targets));
        text.replacen("cross_zone.enabled\" = true", "cross_zone.enabled\" = false", 1)
    };
    check(MAX_POOLS, text, "more than 8192 target groups and zones of theirs; keep at most 8192");
}

#[test]
fn targets() {
    check(
        MAX_TARGETS,
        |count| format!("{OVERLAP}{WIDE}{}", group(0, &list(count - 2, target))),
        "more than 65535 targets; keep at most 65535",
    );
}

#[test]
fn load_balancers() {
    let balancer = |name| {
        format!(
            "[[load_balancer]]\nname = \"b{name}\"\nvpc = \"wide\"\n\
             addresses = [{{ zone = \"a\", address = \"{}/9\" }}]\n",
            host(name)
        )
    };
    check(
        MAX_LOAD_BALANCERS,
        |count| appended(count - 1, balancer) + WIDE,
        "more than 8192 load balancers and zones of theirs; keep at most 8192",
    );
}

#[test]
fn addresses_of_a_load_balancer() {
    let address = |host| format!("{{ zone = \"a\", address = \"10.0.2.{host}/16\" }}");
    let found = r#"[{ zone = "us-east-1a", address = "10.0.0.10/16" }]"#;
    check(
        MAX_LB_ADDRESSES,
        |count| edited((found, &format!("[{}]", list(count, address)))),
        "more than 8 IPv4 addresses of one load balancer; keep at most 8",
    );
}

#[test]
fn endpoints() {
    check(
        MAX_ENDPOINTS,
        |count| appended(count - 2, |id| endpoint(id, &endpoint_address(id))) + WIDE,
        "more than 16384 endpoints; keep at most 16384",
    );
}

#[test]
fn addresses_of_load_balancers_and_endpoints() {
    check(
        MAX_ADDRESSES,
        |count| format!("{OVERLAP}{WIDE}{}", endpoint(0, &list(count - 3, endpoint_address))),
        "more than 65536 addresses of load balancers and endpoints; keep at most 65536",
    );
}

#[test]
fn listeners() {
    // The range of most entries has 30 at each address; the example's two endpoints have it, too.
    const ENTRIES: usize = 30;
    let text = |count: usize| {
        let text = edited(("port = 80\n", "port = \"1-65534\"\n"));
        format!("{text}{WIDE}{}", endpoint(0, &list(count - 2, endpoint_address)))
    };
    check(
        MAX_LISTENERS / ENTRIES,
        text,
        "more than 262144 listeners, counted for every endpoint address; \
         connect fewer endpoints to services of many listeners",
    );
}

#[test]
fn rules() {
    let rule = |port| {
        format!(
            "{{ protocol = \"tcp\", from_port = 1, to_port = {}, cidr = \"10.0.0.0/16\" }}",
            port + 1
        )
    };
    let found = r#"{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }"#;
    check(
        MAX_RULES,
        |count| edited((found, &list(count, rule))),
        "65 ingress rules for IPv4 on one endpoint; keep at most 64, e.g. by wider cidrs or port ranges",
    );
}

#[test]
fn rules_of_all_the_security_groups_of_an_endpoint() {
    let rules = list(MAX_RULES, |_| r#"{ protocol = "all", cidr = "10.0.0.0/16" }"#.to_owned());
    let more = format!(
        "[[security_group]]\nid = \"sg-more\"\nvpc = \"vpc-consumer-a\"\ningress = [{rules}]\n"
    );
    let text = edited((r#"["sg-a"]"#, r#"["sg-a", "sg-more"]"#)) + &more;
    assert_eq!(
        reported(&text),
        "overlap.toml:70:19: \"[\"sg-a\", \"sg-more\"]\": 65 ingress rules for IPv4 on one endpoint; \
         keep at most 64, e.g. by wider cidrs or port ranges"
    );
}
