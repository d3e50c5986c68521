//! The metrics as OpenMetrics text.

use std::fmt;
use std::sync::Arc;

use privatelink_common::flow_table::totals::Counts;
use privatelink_common::lease::PORTS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{EndpointFacts, Facts, LoadBalancerFacts, Metrics, ServiceFacts, TargetFacts};

/// The forms that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's own, 0.0.4, which is older and read by more.
    Text,
}

impl Format {
    const OPEN_METRICS: &str = "application/openmetrics-text";

    /// The one for a reader that accepts these media types.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains(Self::OPEN_METRICS) { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What all names begin with.
const PREFIX: &str = "privatelink";

type Labels<'l> = Vec<(&'static str, &'l str)>;

/// The text: the facts, and what is noted as it happens.
pub fn exposition(facts: Arc<Facts>, metrics: &Metrics, format: Format) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let help = "Time until all maps were in step after a change, seconds";
    registry.register("reconcile_duration_seconds", help, metrics.reconciling.clone());
    let help = "Time a sweep of the flow table took, seconds";
    registry.register("sweep_duration_seconds", help, metrics.sweeping.clone());
    registry.register_collector(Box::new(Shown(facts)));
    let mut text = String::new();
    // Cannot fail: a String takes whatever is written.
    let _ = encode(&mut text, &registry);
    match format {
        Format::OpenMetrics => text,
        Format::Text => older(&text),
    }
}

/// OpenMetrics in the older form, where a counter is called the same in its description as in its samples.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines().filter(|line| *line != "# EOF") {
        let described = |kind| line.strip_prefix(kind)?.split_once(' ');
        if let Some(described) = described("# HELP ") {
            help = Some(described);
        } else if let (Some((name, kind)), Some((_, help))) = (described("# TYPE "), help) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            older += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else {
            older += line;
            older.push('\n');
        }
    }
    older
}

/// Facts that others show too.
#[derive(Debug)]
struct Shown(Arc<Facts>);

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (facts, mut page) = (&self.0, Page(encoder));
        facts.gateway(&mut page)?;
        facts.of_endpoints(&mut page)?;
        facts.of_services(&mut page)?;
        facts.of_load_balancers(&mut page)?;
        facts.of_targets(&mut page)
    }
}

impl Facts {
    fn gateway(&self, page: &mut Page<'_>) -> fmt::Result {
        let table = &self.table;
        let none = || Labels::new();
        let version = vec![("version", &*self.version)];
        page.gauges("build_info", "1, with the version of the program", [(version, 1.0)])?;
        page.gauges(
            "start_time_seconds",
            "When the daemon was started, seconds since 1970",
            [(none(), self.started)],
        )?;
        for (name, help, value) in [
            ("flow_table_capacity", "Most flows with IPv4 on both sides", table.capacity),
            ("flow_table_held_flows", "Those of them that have a place, live or not", table.held),
            (
                "flow_table_ipv6_capacity",
                "Most flows with IPv6 on either side; 0 where nothing is IPv6",
                table.ipv6_capacity,
            ),
            (
                "flow_table_ipv6_held_flows",
                "Those of them that have a place, live or not",
                table.ipv6_held,
            ),
            ("flow_table_flows", "Live flows", table.flows),
            ("flow_table_half_open_flows", "Live flows that are half-open", table.half_open),
            (
                "lease_capacity",
                "Ports to be leased at one load balancer address towards one target",
                u64::from(PORTS),
            ),
        ] {
            page.gauges(name, help, [(none(), value as f64)])?;
        }
        let maps = |of: fn(&super::MapFacts) -> usize| {
            self.maps.iter().map(move |map| (vec![("map", map.name)], of(map) as f64))
        };
        page.gauges("map_entries", "Elements in use", maps(|map| map.used))?;
        page.gauges("map_capacity", "Most elements", maps(|map| map.capacity))?;
        let drops = self.drops.iter().map(|of| {
            let labels =
                vec![("interface", &*of.interface), ("vpc_id", &of.vpc), ("reason", of.reason)];
            (labels, of.packets)
        });
        page.counters("packets_dropped", "Packets dropped on an interface", drops)?;
        self.of_logs(page)?;
        let failures = [(none(), self.usage_failures)];
        page.counters("usage_write_failures", "Times that usage could not be written", failures)?;
        let leases = self.leases.iter().map(|of| {
            let labels = vec![
                ("load_balancer", &*of.load_balancer),
                ("address", &of.address),
                ("target", &of.target),
            ];
            (labels, of.used as f64)
        });
        page.gauges("leases", "Ports leased, those held after the end included", leases)
    }

    fn of_logs(&self, page: &mut Page<'_>) -> fmt::Result {
        let written = self.logs.iter().map(|of| (vec![("log", of.name)], of.written));
        page.counters("log_lines", "Lines written", written)?;
        let lost = self.logs.iter().flat_map(|of| {
            [("crowded_out", of.crowded_out), ("failed", of.failed)]
                .map(|(cause, lines)| (vec![("log", of.name), ("cause", cause)], lines))
        });
        page.counters("log_lines_lost", "Lines given up", lost)?;
        let [ended, refused] = self.untold;
        let untold = [("ended", ended), ("refused", refused)]
            .map(|(event, events)| (vec![("event", event)], events));
        page.counters("flow_events_lost", "Events there was no room for in the ring", untold)
    }

    fn of_endpoints(&self, page: &mut Page<'_>) -> fmt::Result {
        let endpoints = &self.endpoints;
        page.gauges(
            "endpoint_active_connections",
            "Live flows of an endpoint",
            endpoints.iter().map(|of| (endpoint_labels(of), of.flows as f64)),
        )?;
        page.gauges(
            "endpoint_half_open_connections",
            "Live flows of an endpoint that are half-open",
            endpoints.iter().map(|of| (endpoint_labels(of), of.half_open as f64)),
        )?;
        let counters: [Counter; 6] = [
            ("endpoint_new_connections", "Flows opened through an endpoint", |of| of.opened),
            ("endpoint_packets_dropped", "Packets to or of an endpoint dropped", |of| of.dropped),
            (
                "endpoint_rst_packets_received",
                "RSTs from targets that ended an endpoint's flows",
                |of| of.target_resets,
            ),
            ("endpoint_client_resets", "RSTs from clients that ended an endpoint's flows", |of| {
                of.client_resets
            }),
            ("endpoint_elb_resets", "RSTs sent to an endpoint's clients", |of| of.resets_sent),
            (
                "endpoint_port_allocation_errors",
                "Flows of an endpoint not opened because no lease was free",
                |of| of.lease_exhausted,
            ),
        ];
        for (name, help, of) in counters {
            let rows = endpoints.iter().map(|row| (endpoint_labels(row), of(&row.counts)));
            page.counters(name, help, rows)?;
        }
        let rows = || endpoints.iter().map(|of| (endpoint_labels(of), of.counts));
        page.carried("endpoint_bytes_processed", "Bytes of IP packets", rows(), BYTES)?;
        page.carried("endpoint_packets_processed", "Packets carried", rows(), PACKETS)
    }

    fn of_services(&self, page: &mut Page<'_>) -> fmt::Result {
        let services = &self.services;
        page.gauges(
            "service_active_connections",
            "Live flows of a service",
            services.iter().map(|of| (service_labels(of), of.flows as f64)),
        )?;
        page.gauges(
            "service_endpoints",
            "Endpoints of a service",
            services.iter().map(|of| (service_labels(of), of.endpoints as f64)),
        )?;
        let counters: [Counter; 2] = [
            ("service_new_connections", "Flows opened to a service", |of| of.opened),
            ("service_rst_packets_sent", "RSTs from a service's targets that ended flows", |of| {
                of.target_resets
            }),
        ];
        for (name, help, of) in counters {
            let rows = services.iter().map(|row| (service_labels(row), of(&row.counts)));
            page.counters(name, help, rows)?;
        }
        let rows = services.iter().map(|of| (service_labels(of), of.counts));
        page.carried("service_bytes_processed", "Bytes of IP packets", rows, BYTES)
    }

    fn of_load_balancers(&self, page: &mut Page<'_>) -> fmt::Result {
        let labels = load_balancer_labels;
        let balancers = &self.load_balancers;
        page.gauges(
            "load_balancer_active_connections",
            "Live flows of a load balancer",
            balancers.iter().map(|of| (labels(of), of.flows as f64)),
        )?;
        let counters: [Counter; 4] = [
            ("load_balancer_new_connections", "Flows opened", |of| of.opened),
            ("load_balancer_client_resets", "RSTs from clients that ended flows", |of| {
                of.client_resets
            }),
            ("load_balancer_target_resets", "RSTs from targets that ended flows", |of| {
                of.target_resets
            }),
            (
                "load_balancer_port_allocation_errors",
                "Flows not opened because no lease was free",
                |of| of.lease_exhausted,
            ),
        ];
        for (name, help, of) in counters {
            page.counters(name, help, balancers.iter().map(|row| (labels(row), of(&row.counts))))?;
        }
        let rows = || balancers.iter().map(|of| (labels(of), of.counts));
        page.carried("load_balancer_bytes_processed", "Bytes of IP packets", rows(), BYTES)?;
        page.carried("load_balancer_packets_processed", "Packets carried", rows(), PACKETS)
    }

    fn of_targets(&self, page: &mut Page<'_>) -> fmt::Result {
        let groups = |of: fn(&super::GroupFacts) -> u64| {
            self.groups.iter().map(move |group| {
                let labels =
                    vec![("target_group", &*group.name), ("load_balancer", &group.load_balancers)];
                (labels, of(group) as f64)
            })
        };
        page.gauges("target_group_healthy_hosts", "Healthy targets", groups(|of| of.healthy))?;
        page.gauges(
            "target_group_unhealthy_hosts",
            "Unhealthy targets",
            groups(|of| of.unhealthy),
        )?;
        let targets = &self.targets;
        page.gauges(
            "target_healthy",
            "Whether a target is healthy, 0 or 1",
            targets.iter().map(|of| (target_labels(of), f64::from(u8::from(of.healthy)))),
        )?;
        page.gauges(
            "target_health_check_duration_seconds",
            "Time that the last health check of a target took, seconds",
            targets.iter().filter_map(|of| Some((target_labels(of), of.latency?.as_secs_f64()))),
        )?;
        page.gauges(
            "target_active_connections",
            "Live flows of a target",
            targets.iter().map(|of| (target_labels(of), of.flows as f64)),
        )?;
        page.counters(
            "target_unhealthy_routing_flows",
            "Flows opened to a target while it was not healthy",
            targets.iter().map(|of| (target_labels(of), of.unhealthy_routing)),
        )?;
        let counters: [Counter; 4] = [
            ("target_new_connections", "Flows opened to a target", |of| of.opened),
            ("target_client_resets", "RSTs from clients that ended a target's flows", |of| {
                of.client_resets
            }),
            ("target_target_resets", "RSTs from a target that ended its flows", |of| {
                of.target_resets
            }),
            (
                "target_port_allocation_errors",
                "Flows to a target not opened because no lease was free",
                |of| of.lease_exhausted,
            ),
        ];
        for (name, help, of) in counters {
            let rows = targets.iter().map(|row| (target_labels(row), of(&row.counts)));
            page.counters(name, help, rows)?;
        }
        let rows = || targets.iter().map(|of| (target_labels(of), of.counts));
        page.carried("target_bytes_processed", "Bytes of IP packets", rows(), BYTES)?;
        page.carried("target_packets_processed", "Packets carried", rows(), PACKETS)
    }
}

/// A counter: its name, what it counts, and where it stands.
type Counter = (&'static str, &'static str, fn(&Counts) -> u64);
/// Something counted in both directions, to the target and to the client.
type BothWays = [fn(&Counts) -> u64; 2];

const BYTES: BothWays = [|of| of.bytes_to_target, |of| of.bytes_to_client];
const PACKETS: BothWays = [|of| of.packets_to_target, |of| of.packets_to_client];

fn endpoint_labels(of: &EndpointFacts) -> Labels<'_> {
    vec![
        ("vpc_endpoint_id", &of.id),
        ("vpc_id", &of.vpc),
        ("service_id", &of.service),
        ("service_name", &of.service_name),
        ("endpoint_type", "Interface"),
    ]
}

fn service_labels(of: &ServiceFacts) -> Labels<'_> {
    vec![("service_id", &of.id), ("load_balancer", &of.load_balancers)]
}

fn load_balancer_labels(of: &LoadBalancerFacts) -> Labels<'_> {
    vec![("load_balancer", &of.name)]
}

fn target_labels(of: &TargetFacts) -> Labels<'_> {
    vec![("target_group", &of.group), ("target", &of.target)]
}

/// The text as it is written.
struct Page<'p>(DescriptorEncoder<'p>);

impl Page<'_> {
    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)
        })
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)
        })
    }

    /// A counter with the direction as one more label.
    fn carried<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (Labels<'l>, Counts)>,
        [to_target, to_client]: BothWays,
    ) -> fmt::Result {
        let rows = rows.flat_map(|(labels, counts)| {
            [("to_target", to_target(&counts)), ("to_client", to_client(&counts))].map(
                |(direction, value)| {
                    (labels.iter().copied().chain([("direction", direction)]).collect(), value)
                },
            )
        });
        self.counters(name, help, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{DropFacts, TableFacts};

    fn facts() -> Arc<Facts> {
        let counts = Counts { opened: 3, bytes_to_target: 1200, ..Counts::default() };
        let endpoint =
            EndpointFacts { id: "vpce-a".into(), flows: 2, counts, ..EndpointFacts::default() };
        let (interface, vpc) = ("eth1".into(), "vpc-a".into());
        Arc::new(Facts {
            version: "1.2.3".into(),
            started: 1.5,
            table: TableFacts { capacity: 1024, flows: 2, half_open: 1, ..TableFacts::default() },
            endpoints: vec![endpoint],
            drops: vec![DropFacts { interface, vpc, reason: "NoListener", packets: 7 }],
            ..Facts::default()
        })
    }

    /// The lines about one name.
    fn lines(text: &str, name: &str) -> Vec<String> {
        text.lines().filter(|line| line.contains(name)).map(str::to_owned).collect()
    }

    #[test]
    fn a_counter_in_both_forms() {
        let metrics = Metrics::default();
        let sample = r#"privatelink_packets_dropped_total{interface="eth1",vpc_id="vpc-a",reason="NoListener"} 7"#;
        for (format, name) in [
            (Format::OpenMetrics, "privatelink_packets_dropped"),
            (Format::Text, "privatelink_packets_dropped_total"),
        ] {
            let text = exposition(facts(), &metrics, format);
            let help = format!("# HELP {name} Packets dropped on an interface");
            let expected = [help, format!("# TYPE {name} counter"), sample.to_owned()];
            let found = lines(&text, "privatelink_packets_dropped");
            assert_eq!(
                found.iter().map(|line| line.trim_end_matches('.')).collect::<Vec<_>>(),
                expected
            );
            assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        }
    }

    #[test]
    fn directions_are_labels_of_one_counter() {
        let text = exposition(facts(), &Metrics::default(), Format::Text);
        let found = lines(&text, "privatelink_endpoint_bytes_processed_total{");
        let ends: Vec<_> = found.iter().map(|line| line.split("Interface\",").nth(1)).collect();
        assert_eq!(
            ends,
            [Some(r#"direction="to_target"} 1200"#), Some(r#"direction="to_client"} 0"#)]
        );
    }

    #[test]
    fn what_is_noted_is_in_a_histogram() {
        let metrics = Metrics::default();
        metrics.reconciled(std::time::Duration::from_millis(2));
        let text = exposition(facts(), &metrics, Format::Text);
        let found = lines(&text, "privatelink_reconcile_duration_seconds_bucket{le=\"0.00");
        let counts: Vec<_> = found.iter().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(counts, ["0", "0", "1", "1"]);
    }

    #[test]
    fn the_form_that_a_reader_accepts() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }
}
