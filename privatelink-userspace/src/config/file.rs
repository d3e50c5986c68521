//! The configuration file's tables and keys, with an example of each.
//!
//! Strings and numbers are kept as written, with their place; what they mean is for
//! [`super::check`].

use std::marker::PhantomData;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::document::{
    Decimal, Decode, Fields, Free, List, Node, Number, Placed, Text, TextOrNumber, tables,
};
use super::error::Report;

tables! {
    /// The file.
    struct File {
        /// Region name used in service names.
        required region: Text<'a> = r#"region = "us-east-1""#,
        /// The table of live flows.
        optional flow_table: FlowTable<'a> = "[flow_table] with its keys below",
        /// What endpoints may take of it, unless they say otherwise.
        optional endpoint_limits: Limits<'a> = "[endpoint_limits] with its keys below",
        /// Metrics by TCP.
        optional metrics: Metrics<'a> = "[metrics] with its keys below",
        /// The web page.
        optional web: Web<'a> = "[web] with its keys below",
        /// Where events are posted.
        optional events: Events<'a> = "[events] with its keys below",
        /// What endpoints use.
        optional usage: Usage<'a> = "[usage] with its keys below",
        /// Records of the traffic of flows.
        optional flow_logs: FlowLogs<'a> = "[flow_logs] with its keys below",
        /// A line for each connection that has ended.
        optional access_log: AccessLog<'a> = "[access_log] with its keys below",
        /// Isolated networks, provider and consumer alike.
        optional vpc: List<Vpc<'a>> = "[[vpc]] with its keys below",
        /// Target groups.
        optional target_group: List<TargetGroup<'a>> = "[[target_group]] with its keys below",
        /// What was registered with target groups, and deregistered from them, at run time.
        optional registration: List<Registration<'a>> = "[[registration]] with its keys below",
        /// Load balancers.
        optional load_balancer: List<LoadBalancer<'a>> = "[[load_balancer]] with its keys below",
        /// Endpoint services.
        optional endpoint_service: List<EndpointService<'a>> = "[[endpoint_service]] with its keys below",
        /// Security groups.
        optional security_group: List<SecurityGroup<'a>> = "[[security_group]] with its keys below",
        /// Endpoints.
        optional endpoint: List<Endpoint<'a>> = "[[endpoint]] with its keys below",
    }

    /// `[flow_table]`.
    struct FlowTable {
        /// Flows held at once, 1 024 to 16 777 216; 1 048 576 if absent.
        optional capacity: Number = "capacity = 1048576",
        /// Flows with IPv6 on either side held at once, besides those, 1 024 to 16 777 216; if absent as many as `capacity`,
        /// or 1 024 where no vpc has an IPv6 range.
        optional ipv6_flow_capacity: Number = "ipv6_flow_capacity = 1048576",
    }

    /// `[endpoint_limits]`, and `[endpoint.limits]` for one endpoint instead.
    struct Limits {
        /// Flows held at once, 1 to the flow table's capacity; half of it if absent.
        optional flows: Number = "flows = 524288",
        /// Half-open flows held at once, 1 to `flows`; if absent a 64th of the flow table's capacity,
        /// but at least 64, and at most 16 384 and `flows`.
        optional half_open_flows: Number = "half_open_flows = 16384",
        /// Flows opened in one second, at most 10 000 000; 0, as if absent, is any number.
        optional new_flows_per_second: Number = "new_flows_per_second = 1000",
    }

    /// `[metrics]`.
    struct Metrics {
        /// Address and port of this host where metrics are read by HTTP, besides the control socket.
        required listen: Text<'a> = r#"listen = "127.0.0.1:9480""#,
    }

    /// `[web]`.
    struct Web {
        /// Address and port of this host where the web page is served by HTTP; 127.0.0.1:9481 if absent.
        optional listen: Text<'a> = r#"listen = "127.0.0.1:9481""#,
    }

    /// `[events]`.
    struct Events {
        /// URL that events are posted to, by `http` or `https`; nowhere if absent.
        optional webhook: Text<'a> = r#"webhook = "https://hooks.example.com/privatelink""#,
        /// A file with a secret, by which each event is signed: HMAC-SHA256 in the header `Privatelink-Signature`.
        optional webhook_secret_file: Text<'a> = r#"webhook_secret_file = "/etc/privatelink/webhook.secret""#,
        /// How long the server may take to answer, 1 s to 60 s; 5 s if absent.
        optional webhook_timeout: Text<'a> = r#"webhook_timeout = "5s""#,
        /// Which kinds of events are posted; all if absent.
        optional kinds: List<Text<'a>> = r#"kinds = ["connect", "target_health"]"#,
    }

    /// `[usage]`.
    struct Usage {
        /// Days for which it is kept, 1 to 3660; 400 if absent.
        optional keep: Number = "keep = 400",
        /// Currency of the prices: three letters of ISO 4217. Without prices usage has no costs.
        optional currency: Text<'a> = r#"currency = "USD""#,
        /// Price of an endpoint, for each of its zones, in an hour or any part of it; 0 if absent.
        optional endpoint_hour: Decimal<'a> = r#"endpoint_hour = "0.01""#,
        /// Price of 10^9 bytes, either direction; 0 if absent.
        optional gigabyte: Decimal<'a> = r#"gigabyte = "0.01""#,
        /// Prices of zones.
        optional zone: List<UsageZone<'a>> = "[[usage.zone]] with its keys below",
    }

    /// `[[usage.zone]]`: prices of a zone, where they differ.
    struct UsageZone {
        /// The zone.
        required name: Text<'a> = r#"name = "us-east-1a""#,
        /// As under `[usage]`, and as there if absent.
        optional endpoint_hour: Decimal<'a> = r#"endpoint_hour = "0.01""#,
        /// As under `[usage]`, and as there if absent.
        optional gigabyte: Decimal<'a> = r#"gigabyte = "0.01""#,
    }

    /// `[flow_logs]`.
    struct FlowLogs {
        /// The file that is written, or `stdout`.
        required destination: Text<'a> = r#"destination = "/var/log/privatelink/flow.log""#,
        /// `text`, or `json` for an object in each line; if absent `text` in files and `json` on standard output.
        optional form: Text<'a> = r#"form = "text""#,
        /// Which records there are: `ALL`, `ACCEPT` or `REJECT`; all if absent.
        optional traffic_type: Text<'a> = r#"traffic_type = "ALL""#,
        /// The longest time that one record tells of, 60 or 600 seconds; 600 if absent.
        optional max_aggregation_interval: Number = "max_aggregation_interval = 600",
        /// What each record says; AWS's default format, version 2, if absent.
        optional log_format: Text<'a> = r#"log_format = "${version} ${srcaddr} ${pkt-dstaddr} ${bytes}""#,
        /// Bytes after which the file is replaced by a new one, 1 MiB to 1 TiB; 64 MiB if absent.
        optional replace_bytes: Number = "replace_bytes = 67108864",
        /// Time after which the file is replaced, 1 minute to 31 days; 1 hour if absent.
        optional replace_after: Text<'a> = r#"replace_after = "1h""#,
        /// How many replaced files are kept, compressed, 0 to 100 000; 168 if absent.
        optional keep: Number = "keep = 168",
    }

    /// `[access_log]`.
    struct AccessLog {
        /// The file that is written, or `stdout`.
        required destination: Text<'a> = r#"destination = "/var/log/privatelink/access.log""#,
        /// `text`, or `json` for an object in each line; if absent `text` in files and `json` on standard output.
        optional form: Text<'a> = r#"form = "text""#,
        /// Bytes after which the file is replaced by a new one, 1 MiB to 1 TiB; 64 MiB if absent.
        optional replace_bytes: Number = "replace_bytes = 67108864",
        /// Time after which the file is replaced, 1 minute to 31 days; 1 hour if absent.
        optional replace_after: Text<'a> = r#"replace_after = "1h""#,
        /// How many replaced files are kept, compressed, 0 to 100 000; 168 if absent.
        optional keep: Number = "keep = 168",
    }

    /// `[[vpc]]`: an isolated network known to the gateway.
    struct Vpc {
        /// Unique name.
        required id: Text<'a> = r#"id = "vpc-a""#,
        /// 12-digit account number of its owner.
        required account: Text<'a> = r#"account = "111111111111""#,
        /// Address ranges, IPv4 and IPv6; may equal those of any other vpc.
        required cidrs: List<Text<'a>> = r#"cidrs = ["10.0.0.0/16"]"#,
        /// Interfaces of this host that are attached to the network.
        required interfaces: List<Interface<'a>> = r#"interfaces = [{ name = "eth1", zone = "us-east-1a" }]"#,
    }

    /// An item of a vpc's `interfaces`.
    struct Interface {
        /// Kernel name.
        required name: Text<'a> = r#"name = "eth1""#,
        /// Availability zone it stands in.
        required zone: Text<'a> = r#"zone = "us-east-1a""#,
        /// How the data path is attached: `auto`, `xdp` (by the driver), `xdp-generic` (slow) or `tcx`; `auto` if absent.
        optional attach: Text<'a> = r#"attach = "xdp""#,
    }

    /// `[[target_group]]`: targets that share a protocol and health check.
    struct TargetGroup {
        /// Unique name.
        required name: Text<'a> = r#"name = "web""#,
        /// The vpc its targets live in.
        required vpc: Text<'a> = r#"vpc = "vpc-a""#,
        /// Protocol spoken to the targets: `tcp`, `udp` or `tcp_udp`, which is both.
        required protocol: Text<'a> = r#"protocol = "tcp""#,
        /// Port of the targets that name none.
        required port: Number = "port = 8080",
        /// The targets; none if absent.
        optional targets: List<Target<'a>> = r#"targets = [{ address = "10.0.1.10" }]"#,
        /// Family of their addresses, `ipv4` or `ipv6`; if absent that of the first, or `ipv4`.
        optional ip_address_type: Text<'a> = r#"ip_address_type = "ipv4""#,
        /// How health is checked.
        optional health_check: HealthCheck<'a> = "[target_group.health_check] with its keys below",
        /// Attributes by AWS's names.
        optional attributes: Free<'a> = "[target_group.attributes] with its keys below",
        /// Keys and values for people.
        optional tags: Free<'a> = "[target_group.tags] with keys and values of your own",
    }

    /// An item of a target group's `targets`.
    struct Target {
        /// Address in the group's vpc.
        required address: Text<'a> = r#"address = "10.0.1.10""#,
        /// Availability zone it stands in; any if absent.
        optional zone: Text<'a> = r#"zone = "us-east-1a""#,
        /// Port instead of the group's.
        optional port: Number = "port = 8080",
        /// Share of new flows, 0 to 999; 1 if absent.
        optional weight: Number = "weight = 1",
    }

    /// `[[registration]]`: what becomes of a target group's targets at run time.
    struct Registration {
        /// The target group.
        required target_group: Text<'a> = r#"target_group = "web""#,
        /// Targets that are added, or replace those of the same address and port.
        optional targets: List<Target<'a>> = r#"targets = [{ address = "10.0.1.10" }]"#,
        /// Targets that are taken out, where they are there.
        optional deregistered: List<Text<'a>> = r#"deregistered = ["10.0.1.10:8080"]"#,
    }

    /// `[target_group.health_check]`.
    struct HealthCheck {
        /// `tcp` (if absent), `http` or `https`.
        optional protocol: Text<'a> = r#"protocol = "tcp""#,
        /// Port that is checked: a number, or `traffic-port` (if absent), which is the target's own.
        optional port: TextOrNumber<'a> = r#"port = "traffic-port""#,
        /// What `http` and `https` ask for; `/` if absent.
        optional path: Text<'a> = r#"path = "/""#,
        /// Header `Host` of `http` and `https`; the target's address and port if absent.
        optional host: Text<'a> = r#"host = "www.example.com""#,
        /// Status codes of a healthy target, 200 to 599, for `http` and `https`; `200-399` if absent.
        optional matcher: Text<'a> = r#"matcher = "200-399""#,
        /// Name that `https` asks for by SNI, and wants in a certificate that is verified; none if absent.
        optional server_name: Text<'a> = r#"server_name = "www.example.com""#,
        /// Whether `https` wants a valid certificate, by this host's root certificates; false if absent.
        optional verify_certificate: Spanned<bool> = "verify_certificate = false",
        /// Time between two checks of a target, 5 s to 300 s; 30 s if absent.
        optional interval: Text<'a> = r#"interval = "30s""#,
        /// Time after which a check has failed, 2 s to 120 s; if absent 10 s, for `http` 6 s.
        optional timeout: Text<'a> = r#"timeout = "10s""#,
        /// Successes in a row that make a target healthy, 2 to 10; 5 if absent.
        optional healthy_threshold: Number = "healthy_threshold = 5",
        /// Failures in a row that make a target unhealthy, 2 to 10; 2 if absent.
        optional unhealthy_threshold: Number = "unhealthy_threshold = 2",
    }

    /// `[[load_balancer]]`: stands in the provider's vpc before one or more target groups.
    struct LoadBalancer {
        /// Unique name.
        required name: Text<'a> = r#"name = "web-nlb""#,
        /// The vpc it stands in.
        required vpc: Text<'a> = r#"vpc = "vpc-a""#,
        /// NAT source addresses: flows to IPv4 targets leave from IPv4 addresses, those to IPv6 targets from IPv6 addresses.
        required addresses: List<LoadBalancerAddress<'a>> = r#"addresses = [{ zone = "us-east-1a", address = "10.0.0.10/16" }]"#,
        /// What the addresses are: `ipv4`, `ipv6` or `dualstack`; if absent they say so themselves.
        optional ip_address_type: Text<'a> = r#"ip_address_type = "ipv4""#,
        /// Published ports.
        optional listener: List<Listener<'a>> = "[[load_balancer.listener]] with its keys below",
        /// Attributes by AWS's names.
        optional attributes: Free<'a> = "[load_balancer.attributes] with its keys below",
        /// Keys and values for people.
        optional tags: Free<'a> = "[load_balancer.tags] with keys and values of your own",
    }

    /// An item of a load balancer's `addresses`.
    struct LoadBalancerAddress {
        /// Availability zone.
        required zone: Text<'a> = r#"zone = "us-east-1a""#,
        /// The address, with the prefix length of its subnet.
        required address: Text<'a> = r#"address = "10.0.0.10/16""#,
    }

    /// `[[load_balancer.listener]]`: a published port, or several.
    struct Listener {
        /// Protocol accepted: `tcp`, `udp` or `tcp_udp`, which is both. Those of the target group must include it.
        required protocol: Text<'a> = r#"protocol = "tcp""#,
        /// Port accepted; a range such as `"9000-9099"`, or `"all"`. The fewer ports win.
        required port: TextOrNumber<'a> = "port = 80",
        /// The target group that serves it.
        required target_group: Text<'a> = r#"target_group = "web""#,
        /// Whether flows go to the port that the client asked for, not to the target's own; false if absent.
        optional keep_port: Spanned<bool> = "keep_port = false",
    }

    /// `[[endpoint_service]]`: a service published to other accounts.
    struct EndpointService {
        /// `vpce-svc-` and lower-case letters or digits.
        required id: Text<'a> = r#"id = "vpce-svc-0e123abc123198abc""#,
        /// Its load balancers.
        required load_balancers: List<Text<'a>> = r#"load_balancers = ["web-nlb"]"#,
        /// Families of addresses that endpoints may have, `ipv4` and `ipv6`, whatever those of the targets; `ipv4` if absent.
        optional supported_ip_address_types: List<Text<'a>> = r#"supported_ip_address_types = ["ipv4", "ipv6"]"#,
        /// Whether the provider must accept each endpoint; true if absent.
        optional acceptance_required: Spanned<bool> = "acceptance_required = true",
        /// Who may connect: ARNs or `*`; nobody if absent.
        optional allowed_principals: List<Text<'a>> = r#"allowed_principals = ["arn:aws:iam::111111111111:root"]"#,
        /// What is done to the MSS option of a SYN: `auto` (if absent), `off`, or lowered to this many
        /// bytes, 536 to 65 495.
        optional mss_clamp: TextOrNumber<'a> = r#"mss_clamp = "auto""#,
        /// When its flows end.
        optional timeouts: Timeouts<'a> = "[endpoint_service.timeouts] with its keys below",
        /// Keys and values for people.
        optional tags: Free<'a> = "[endpoint_service.tags] with keys and values of your own",
    }

    /// `[endpoint_service.timeouts]`.
    struct Timeouts {
        /// Time without a packet that ends a flow whose handshake is not complete, 1 s to 300 s; 30 s if absent.
        optional half_open: Text<'a> = r#"half_open = "30s""#,
        /// Time without a packet that ends an established flow, 1 s to 8 000 s; 350 s if absent.
        optional idle: Text<'a> = r#"idle = "350s""#,
        /// Time without a packet that ends a flow that is closed or reset, 1 s to 300 s; 10 s if absent.
        optional closing: Text<'a> = r#"closing = "10s""#,
        /// Time for which an ended flow's NAT lease is not given to another, 1 s to 300 s; 60 s if absent.
        optional lease_hold: Text<'a> = r#"lease_hold = "60s""#,
        /// Time without a packet that ends a UDP flow whose target has not answered, 1 s to 300 s; 30 s if absent.
        optional udp_unreplied: Text<'a> = r#"udp_unreplied = "30s""#,
        /// Time without a packet that ends a UDP flow whose target has answered, 1 s to 8 000 s; 120 s if absent.
        optional udp_idle: Text<'a> = r#"udp_idle = "120s""#,
    }

    /// `[[security_group]]`: what may open flows to the endpoints that name it.
    struct SecurityGroup {
        /// `sg-` and lower-case letters, digits or hyphens.
        required id: Text<'a> = r#"id = "sg-a""#,
        /// The vpc of the endpoints that may name it.
        required vpc: Text<'a> = r#"vpc = "vpc-a""#,
        /// Its rules; none admits nothing.
        optional ingress: List<Rule<'a>> = r#"ingress = [{ protocol = "tcp", from_port = 80, to_port = 80, cidr = "10.0.0.0/16" }]"#,
        /// Keys and values for people.
        optional tags: Free<'a> = "[security_group.tags] with keys and values of your own",
    }

    /// An item of a security group's `ingress`.
    struct Rule {
        /// `tcp` or `udp`, or `-1` or `all` for any protocol.
        required protocol: Text<'a> = r#"protocol = "tcp""#,
        /// First destination port; may be absent if the protocol is any.
        optional from_port: Number = "from_port = 80",
        /// Last destination port, inclusive; may be absent if the protocol is any.
        optional to_port: Number = "to_port = 80",
        /// Client addresses, IPv4 or IPv6.
        required cidr: Text<'a> = r#"cidr = "10.0.0.0/16""#,
    }

    /// `[[endpoint]]`: a service's presence in a consumer's vpc.
    struct Endpoint {
        /// `vpce-` and lower-case letters or digits.
        required id: Text<'a> = r#"id = "vpce-0a11111111111111a""#,
        /// The consumer's vpc.
        required vpc: Text<'a> = r#"vpc = "vpc-a""#,
        /// The service's name or id.
        required service: Text<'a> = r#"service = "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc""#,
        /// Addresses in the consumer's subnets, of either family.
        required addresses: List<EndpointAddress<'a>> = r#"addresses = [{ zone = "us-east-1a", address = "10.0.1.10" }]"#,
        /// What the addresses are: `ipv4`, `ipv6` or `dualstack`; if absent they say so themselves.
        optional ip_address_type: Text<'a> = r#"ip_address_type = "ipv4""#,
        /// Security groups; if absent, everything from the vpc's cidrs is allowed.
        optional security_groups: List<Text<'a>> = r#"security_groups = ["sg-a"]"#,
        /// What its owner has to say to the provider, on one line of 1 to 140 characters; nothing if absent.
        optional request_message: Text<'a> = r#"request_message = "for our invoices""#,
        /// Whether its addresses answer ping; false if absent.
        optional icmp_echo: Spanned<bool> = "icmp_echo = false",
        /// What it may take of the flow table; what is absent is as in `[endpoint_limits]`.
        optional limits: Limits<'a> = "[endpoint.limits] with its keys below",
        /// Keys and values for people.
        optional tags: Free<'a> = "[endpoint.tags] with keys and values of your own",
    }

    /// An item of an endpoint's `addresses`.
    struct EndpointAddress {
        /// Availability zone.
        required zone: Text<'a> = r#"zone = "us-east-1a""#,
        /// The address.
        required address: Text<'a> = r#"address = "10.0.1.10""#,
    }
}

impl<'a> File<'a> {
    /// Reads the document's root.
    pub(super) fn from_document(table: &'a DeTable<'a>, report: &mut Report<'_>) -> Self {
        let fields = Fields::open_root(table, Self::KEYS, report);
        Self::read(0..0, &fields, report)
    }
}
