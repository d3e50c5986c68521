//! Every resource of a model, and its attributes as the configuration names them, in words.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use crate::model::{
    Endpoint, EndpointService, HealthCheck, HealthProtocol, HttpCheck, IngressRule, Limits,
    LoadBalancer, MinimumHealthy, Model, MssClamp, Prices, Rates, Target, TargetGroup,
    TargetGroupAttributes, Timeouts, TlsCheck, UsageTerms, Vpc, Webhook,
};
use crate::numbers::target_key;

/// Kind and id.
pub(super) type Resource = (&'static str, String);

/// Attributes by their names.
pub(super) type Attributes = BTreeMap<&'static str, String>;

pub(super) fn resources(model: &Model) -> BTreeMap<Resource, Attributes> {
    let Model {
        region,
        flow_capacity,
        wide_flow_capacity,
        metrics,
        vpcs,
        target_groups,
        load_balancers,
        ..
    } = model;
    let Model { webhook, usage, services, endpoints, .. } = model;
    let mut all = BTreeMap::new();
    let mut gateway = Attributes::from([
        ("region", region.clone()),
        ("flow_table.capacity", flow_capacity.to_string()),
        ("flow_table.ipv6_flow_capacity", wide_flow_capacity.to_string()),
        ("metrics.listen", metrics.map(|address| address.to_string()).unwrap_or_default()),
    ]);
    gateway.extend(webhook.iter().flat_map(of_webhook));
    gateway.extend(of_usage(usage));
    all.insert(("gateway", String::new()), gateway);
    all.extend(vpcs.iter().map(|vpc| (("vpc", vpc.id.clone()), of_vpc(vpc))));
    for group in target_groups {
        all.insert(("target_group", group.name.clone()), of_target_group(group, model));
        let target = |target| (("target", target_key(group, target)), of_target(target));
        all.extend(group.targets.iter().map(target));
    }
    let balancer =
        |of: &LoadBalancer| (("load_balancer", of.name.clone()), of_load_balancer(of, model));
    all.extend(load_balancers.iter().map(balancer));
    let service =
        |of: &EndpointService| (("endpoint_service", of.id.clone()), of_service(of, model));
    all.extend(services.iter().map(service));
    let endpoint = |of: &Endpoint| (("endpoint", of.id.clone()), of_endpoint(of, model));
    all.extend(endpoints.iter().map(endpoint));
    all
}

fn of_webhook(webhook: &Webhook) -> Attributes {
    let Webhook { url, secret_file, kinds, timeout } = webhook;
    let secret_file = secret_file.as_ref().map(|path| path.display().to_string());
    Attributes::from([
        ("events.webhook", url.to_string()),
        ("events.webhook_secret_file", secret_file.unwrap_or_default()),
        ("events.webhook_timeout", debug(timeout)),
        ("events.kinds", String::from(kinds.clone())),
    ])
}

fn of_usage(usage: &UsageTerms) -> Attributes {
    let UsageTerms { days, prices } = usage;
    let mut attributes = Attributes::from([("usage.keep", days.to_string())]);
    if let Some(Prices { currency, rates, zones }) = prices {
        let Rates { endpoint_hour, gigabyte } = rates;
        let zones = zones.iter().map(|(zone, Rates { endpoint_hour, gigabyte })| {
            format!("{zone}/{endpoint_hour}/{gigabyte}")
        });
        attributes.extend([
            ("usage.currency", currency.clone()),
            ("usage.endpoint_hour", endpoint_hour.to_string()),
            ("usage.gigabyte", gigabyte.to_string()),
            ("usage.zone", join(zones)),
        ]);
    }
    attributes
}

fn of_vpc(vpc: &Vpc) -> Attributes {
    let Vpc { id: _, account, cidrs, interfaces } = vpc;
    let interfaces = interfaces.iter().map(|interface| {
        format!("{}/{}/{}", interface.name, interface.zone, interface.attach.name())
    });
    Attributes::from([
        ("account", account.clone()),
        ("cidrs", join(cidrs)),
        ("interfaces", join(interfaces)),
    ])
}

fn of_target_group(group: &TargetGroup, model: &Model) -> Attributes {
    let TargetGroup {
        name: _,
        vpc,
        protocol,
        family,
        targets: _,
        health_check,
        attributes: settings,
    } = group;
    let mut attributes = Attributes::from([
        ("vpc", model.vpcs[*vpc].id.clone()),
        ("protocol", protocol.name().into()),
        ("ip_address_type", family.name().into()),
    ]);
    add_attributes(&mut attributes, settings);
    add_health_check(&mut attributes, health_check);
    attributes
}

fn add_attributes(attributes: &mut Attributes, settings: &TargetGroupAttributes) {
    let TargetGroupAttributes {
        deregistration_delay,
        deregistration_ends_flows,
        unhealthy_ends_flows,
        unhealthy_draining,
        routing_minimum,
        failover_minimum,
        slow_start,
        sticky,
        cross_zone,
        idle_timeout,
    } = settings;
    let minimum = |of: &MinimumHealthy| {
        let MinimumHealthy { count, percentage } = of;
        format!("{count} and {percentage} %")
    };
    attributes.extend([
        ("deregistration_delay.timeout_seconds", deregistration_delay.as_secs().to_string()),
        (
            "deregistration_delay.connection_termination.enabled",
            deregistration_ends_flows.to_string(),
        ),
        (
            "target_health_state.unhealthy.connection_termination.enabled",
            unhealthy_ends_flows.to_string(),
        ),
        (
            "target_health_state.unhealthy.draining_interval_seconds",
            unhealthy_draining.as_secs().to_string(),
        ),
        (
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets",
            minimum(routing_minimum),
        ),
        ("target_group_health.dns_failover.minimum_healthy_targets", minimum(failover_minimum)),
        ("slow_start.duration_seconds", slow_start.as_secs().to_string()),
        ("stickiness.enabled", sticky.to_string()),
        (
            "load_balancing.cross_zone.enabled",
            cross_zone
                .map_or_else(|| "use_load_balancer_configuration".into(), |on| on.to_string()),
        ),
        ("tcp.idle_timeout.seconds", text(idle_timeout.map(|time| time.as_secs()))),
    ]);
}

fn add_health_check(attributes: &mut Attributes, check: &HealthCheck) {
    let HealthCheck { protocol, port, interval, timeout, healthy_threshold, unhealthy_threshold } =
        check;
    let (name, http, tls) = match protocol {
        HealthProtocol::Tcp => ("tcp", None, None),
        HealthProtocol::Http(http) => ("http", Some(http), None),
        HealthProtocol::Https(http, tls) => ("https", Some(http), Some(tls)),
    };
    let port = port.map_or_else(|| "traffic-port".into(), |port| port.to_string());
    attributes.extend([
        ("health_check.protocol", name.to_owned()),
        ("health_check.port", port),
        ("health_check.interval", debug(interval)),
        ("health_check.timeout", debug(timeout)),
        ("health_check.healthy_threshold", healthy_threshold.to_string()),
        ("health_check.unhealthy_threshold", unhealthy_threshold.to_string()),
    ]);
    if let Some(HttpCheck { path, host, matcher }) = http {
        attributes.extend([
            ("health_check.path", path.to_string()),
            ("health_check.host", text(host.as_ref())),
            ("health_check.matcher", matcher.to_string()),
        ]);
    }
    if let Some(TlsCheck { server_name, verify_certificate }) = tls {
        attributes.extend([
            ("health_check.server_name", text(server_name.as_ref().map(AsRef::<str>::as_ref))),
            ("health_check.verify_certificate", verify_certificate.to_string()),
        ]);
    }
}

fn of_target(target: &Target) -> Attributes {
    let Target { address: _, port: _, zone, weight, draining_since } = target;
    Attributes::from([
        ("zone", text(zone.as_ref())),
        ("weight", weight.to_string()),
        ("draining", draining_since.is_some().to_string()),
    ])
}

fn of_load_balancer(balancer: &LoadBalancer, model: &Model) -> Attributes {
    let LoadBalancer { name: _, vpc, addresses, listeners, cross_zone } = balancer;
    let listeners = listeners.iter().map(|listener| {
        let group = &model.target_groups[listener.target_group].name;
        let kept = if listener.keep_port { "/keep_port" } else { "" };
        format!("{}/{}/{group}{kept}", listener.protocol.name(), listener.ports)
    });
    let addresses = addresses.iter().map(|of| {
        let draining = if of.draining { "/draining" } else { "" };
        format!("{}/{}{draining}", of.zone, of.address)
    });
    Attributes::from([
        ("vpc", model.vpcs[*vpc].id.clone()),
        ("addresses", join(addresses)),
        ("listener", join(listeners)),
        ("load_balancing.cross_zone.enabled", cross_zone.to_string()),
    ])
}

fn of_service(service: &EndpointService, model: &Model) -> Attributes {
    let EndpointService {
        id: _,
        load_balancers,
        families,
        acceptance_required,
        allowed_principals,
        mss_clamp,
        timeouts: Timeouts { half_open, idle, closing, lease_hold, udp_unreplied, udp_idle },
    } = service;
    let balancers = load_balancers.iter().map(|&index| &model.load_balancers[index].name);
    let clamp = match mss_clamp {
        MssClamp::Auto => "auto".into(),
        MssClamp::Off => "off".into(),
        MssClamp::Bytes(bytes) => bytes.to_string(),
    };
    Attributes::from([
        ("load_balancers", join(balancers)),
        ("supported_ip_address_types", families.name().into()),
        ("acceptance_required", acceptance_required.to_string()),
        ("allowed_principals", join(allowed_principals)),
        ("mss_clamp", clamp),
        ("timeouts.half_open", debug(half_open)),
        ("timeouts.idle", debug(idle)),
        ("timeouts.closing", debug(closing)),
        ("timeouts.lease_hold", debug(lease_hold)),
        ("timeouts.udp_unreplied", debug(udp_unreplied)),
        ("timeouts.udp_idle", debug(udp_idle)),
    ])
}

fn of_endpoint(endpoint: &Endpoint, model: &Model) -> Attributes {
    let Endpoint {
        id: _,
        vpc,
        service,
        addresses,
        ingress,
        state,
        request_message,
        icmp_echo,
        limits: Limits { flows, half_open_flows, new_flows_per_second },
    } = endpoint;
    let addresses = addresses.iter().map(|of| format!("{}/{}", of.zone, of.address));
    Attributes::from([
        ("vpc", model.vpcs[*vpc].id.clone()),
        ("service", model.services[*service].id.clone()),
        ("addresses", join(addresses)),
        ("ingress", join(ingress.iter().map(rule))),
        ("state", state.name().into()),
        ("request_message", request_message.clone()),
        ("icmp_echo", icmp_echo.to_string()),
        ("limits.flows", flows.to_string()),
        ("limits.half_open_flows", half_open_flows.to_string()),
        ("limits.new_flows_per_second", new_flows_per_second.unwrap_or(0).to_string()),
    ])
}

fn rule(rule: &IngressRule) -> String {
    let IngressRule { protocol, from_port, to_port, cidr } = rule;
    let protocol = protocol.map_or("all", |protocol| protocol.name());
    format!("{protocol}/{from_port}-{to_port}/{cidr}")
}

fn join(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn text(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A duration as the configuration writes it, e.g. `30s`.
fn debug(value: impl Debug) -> String {
    format!("{value:?}")
}
