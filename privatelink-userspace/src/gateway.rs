//! What the control API answers from the running gateway.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use humantime_serde::re::humantime::format_rfc3339_seconds;
use privatelink_common::flow_table::Flow;

use crate::api::{
    CaptureQuery, ConnectionQuery, ConnectionRow, DeleteQuery, Deleted, DeregisterOrder, DropRow,
    EndpointRow, ErrorBody, ErrorCode, FlowQuery, History, InterfaceRow, Order, Ordered, PlanRow,
    RegisterOrder, Registered, Reloaded, ResourceBody, ServiceQuery, ServiceRow, Status, TargetRow,
    Totals, UsageQuery,
};
use crate::audit::Entry;
use crate::capture::{Capture, Form};
use crate::control::{Flows, Gateway, GatewayError, Settings, Usage};
use crate::decisions::Connection;
use crate::draining::{self, since_boot};
use crate::events::Events;
use crate::flows::{self, Readings};
use crate::health::{Health, Reason};
use crate::metrics::Format;
use crate::model::{EndpointService, Model, ServiceState};
use crate::netlink::NextHop;
use crate::principal::{account_of, admits, not_a_principal, root_arn};
use crate::resources::{ResourceId, ResourceKind};
use crate::running::Running;
use crate::snapshot::Snapshot;

fn failed(error: impl Display) -> GatewayError {
    GatewayError::Failed(error.to_string())
}

impl Running {
    /// Live flows by what `of` says.
    pub(crate) fn count_flows(&self, of: impl Fn(&Flow) -> u32) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for flow in self.flow_table().flows() {
            *counts.entry(of(&flow)).or_default() += 1;
        }
        counts
    }
}

/// Numbers of the endpoints of a service.
fn endpoints_of(snapshot: &Snapshot, service: usize) -> impl Iterator<Item = u32> {
    let endpoints = snapshot.model.endpoints.iter().zip(&snapshot.numbering.endpoints);
    endpoints.filter(move |(endpoint, _)| endpoint.service == service).map(|(_, &number)| number)
}

fn published(model: &Model, service: &EndpointService) -> String {
    let listeners =
        service.load_balancers.iter().flat_map(|&index| &model.load_balancers[index].listeners);
    let mut ports: Vec<String> = listeners
        .map(|listener| format!("{}/{}", listener.protocol.name(), listener.ports))
        .collect();
    ports.dedup();
    ports.join(",")
}

impl Gateway for Running {
    fn status(&self) -> Result<Status, GatewayError> {
        let counted = self.drop_counts().map_err(failed)?;
        let interfaces = counted.into_iter().map(|(attached, drops)| InterfaceRow {
            interface: attached.link.name,
            ifindex: attached.link.ifindex,
            vpc: attached.vpc,
            zone: attached.zone,
            mode: attached.choice.mode.name().into(),
            link: if attached.link.up { "up" } else { "down" }.into(),
            drops: drops.iter().sum(),
            reason: attached.choice.reason.into(),
        });
        let snapshot = self.snapshot();
        let [capacity, ipv6_capacity] = self.flow_table().capacities();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: self.uptime().as_millis() as u64,
            config: self.config().display().to_string(),
            flows: self.flow_table().live(),
            flows_max: capacity + if snapshot.model.has_ipv6() { ipv6_capacity } else { 0 },
            interfaces: interfaces.collect(),
        })
    }

    fn services(&self, query: &ServiceQuery) -> Result<Vec<ServiceRow>, GatewayError> {
        let account = query.principal.as_deref().map(account).transpose()?;
        let snapshot = self.snapshot();
        let model = &snapshot.model;
        let visible = |(_, service): &(usize, &EndpointService)| {
            account.is_none_or(|account| admits(&service.allowed_principals, account))
        };
        let services = model.services.iter().enumerate().filter(visible);
        let states = self.service_states();
        let state_of = |id: &str| states.get(id).copied().unwrap_or(ServiceState::Deleting);
        let in_force = services.map(|(index, service)| ServiceRow {
            service: service.id.clone(),
            name: service.service_name(&model.region),
            state: state_of(&service.id).name().into(),
            load_balancers: join(
                service.load_balancers.iter().map(|&lb| &model.load_balancers[lb].name),
            ),
            listeners: published(model, service),
            acceptance_required: service.acceptance_required,
            endpoints: endpoints_of(&snapshot, index).count() as u64,
            flows: endpoints_of(&snapshot, index)
                .map(|number| self.flow_table().live_of(number))
                .sum(),
        });
        let others = states.iter().filter(|(_, state)| {
            account.is_none() && matches!(state, ServiceState::Deleting | ServiceState::Failed)
        });
        let others = others.map(|(id, state)| ServiceRow {
            service: id.clone(),
            state: state.name().into(),
            ..ServiceRow::default()
        });
        Ok(in_force.chain(others).collect())
    }

    fn endpoints(&self) -> Result<Vec<EndpointRow>, GatewayError> {
        let snapshot = self.snapshot();
        let model = &snapshot.model;
        let numbered = model.endpoints.iter().zip(&snapshot.numbering.endpoints);
        let rows = numbered.map(|(endpoint, &number)| EndpointRow {
            endpoint: endpoint.id.clone(),
            vpc: model.vpcs[endpoint.vpc].id.clone(),
            service: model.services[endpoint.service].id.clone(),
            addresses: join(endpoint.addresses.iter().map(|address| address.address)),
            state: endpoint.state.name().into(),
            flows: self.flow_table().live_of(number),
        });
        Ok(rows.collect())
    }

    fn connections(&self, query: &ConnectionQuery) -> Result<Vec<ConnectionRow>, GatewayError> {
        let snapshot = self.snapshot();
        let numbered = snapshot.model.endpoints.iter().zip(&snapshot.numbering.endpoints);
        let living: HashMap<_, _> =
            numbered.map(|(endpoint, number)| (endpoint.id.as_str(), (endpoint, number))).collect();
        let wanted = |(_, connection): &(String, Connection)| {
            query.service.as_ref().is_none_or(|service| *service == connection.service)
        };
        let rows = self.decided().into_iter().filter(wanted).map(|(endpoint, connection)| {
            let (message, flows) = living.get(endpoint.as_str()).map_or_else(
                || (String::new(), 0),
                |(endpoint, number)| {
                    (endpoint.request_message.clone(), self.flow_table().live_of(**number))
                },
            );
            ConnectionRow {
                service: connection.service,
                endpoint,
                principal: root_arn(&connection.account),
                state: connection.state.name().into(),
                since: format_rfc3339_seconds(connection.since).to_string(),
                reason: connection.reason,
                request_message: message,
                flows,
            }
        });
        Ok(rows.collect())
    }

    fn targets(&self) -> Result<Vec<TargetRow>, GatewayError> {
        let snapshot = self.snapshot();
        let model = &snapshot.model;
        let flows = self.count_flows(|flow| flow.target);
        let next_hops = self.next_hops().clone();
        let health = self.health().clone();
        let (now, booted) = (Instant::now(), since_boot());
        let listeners = model.load_balancers.iter().flat_map(|balancer| &balancer.listeners);
        let used: HashSet<usize> = listeners.map(|listener| listener.target_group).collect();
        let names: BTreeMap<u32, String> = self
            .interfaces()
            .values()
            .map(|attached| (attached.link.ifindex, attached.link.name.clone()))
            .collect();
        let rows = snapshot.numbering.targets(model).map(|(number, index, target)| {
            let group = &model.target_groups[index];
            let (next_hop, interface) = match next_hops.get(&number) {
                Some(NextHop::Resolved { ifindex, mac, .. }) => {
                    (mac_text(mac), names.get(ifindex).cloned().unwrap_or_default())
                }
                Some(NextHop::Unresolved { reason }) => (reason.clone(), String::new()),
                None => ("being resolved".into(), String::new()),
            };
            let standing = health.get(number);
            let Health { state, reason } = match (target.draining_since, standing) {
                (Some(_), _) if draining::is_overdue(group, target, booted) => {
                    Health::NOT_REGISTERED
                }
                (Some(_), _) => Health::DRAINING,
                _ if !used.contains(&index) => Health::NOT_IN_USE,
                (None, Some(standing)) => standing.health(&group.attributes, now),
                (None, None) => Health::NEW,
            };
            let words = standing.filter(|_| target.draining_since.is_none());
            let words = words.and_then(|standing| standing.status.last_error.clone());
            TargetRow {
                target_group: group.name.clone(),
                vpc: model.vpcs[group.vpc].id.clone(),
                target: target.end().to_string(),
                weight: target.weight,
                health: state.name().into(),
                reason: reason.map_or("", Reason::code).into(),
                description: words.unwrap_or_default(),
                next_hop,
                interface,
                flows: flows.get(&number).copied().unwrap_or(0),
            }
        });
        Ok(rows.collect())
    }

    fn readings(&self, query: &FlowQuery) -> Result<Readings, GatewayError> {
        let clock = self.clock().map_err(failed)?;
        let (snapshot, query) = (self.snapshot(), query.lasting());
        let mut readings = Readings::begin(Instant::now());
        for flow in self.flow_table().flows() {
            if query.matches(&flows::row(&flow, &snapshot, &clock, None)) {
                readings.add(&flow, Instant::now());
            }
        }
        Ok(readings)
    }

    fn flows(
        &self,
        query: &FlowQuery,
        before: Option<&Readings>,
        take: &mut dyn FnMut(Flows<'_>),
    ) -> Result<(), GatewayError> {
        let clock = self.clock().map_err(failed)?;
        let snapshot = self.snapshot();
        let mut since = before.map(Readings::since);
        let row = |flow| {
            let rates = since.as_mut().map(|since| since.rates(&flow, Instant::now()));
            flows::row(&flow, &snapshot, &clock, rates)
        };
        take(query.select(self.flow_table().flows().map(row)));
        Ok(())
    }

    fn drops(&self) -> Result<Vec<DropRow>, GatewayError> {
        let rows =
            self.dropped().map_err(failed)?.into_iter().map(|(attached, reason, packets)| {
                DropRow {
                    interface: attached.link.name,
                    vpc: attached.vpc,
                    code: reason as u32,
                    reason: reason.name().into(),
                    packets,
                    meaning: reason.meaning().into(),
                }
            });
        Ok(rows.collect())
    }

    fn metrics(&self, format: Format) -> Result<String, GatewayError> {
        self.metrics_text(format).map_err(failed)
    }

    fn totals(&self) -> Result<Totals, GatewayError> {
        self.totals().map_err(failed)
    }

    fn history(&self) -> Result<History, GatewayError> {
        Ok(self.history())
    }

    fn usage(&self, query: &UsageQuery) -> Result<Usage, GatewayError> {
        if query.from.zip(query.to).is_some_and(|(from, to)| from >= to) {
            let text = "from is not before to: usage is from the one hour on, up to the other";
            return Err(ErrorBody::new(ErrorCode::InvalidParameter, text).into());
        }
        let rows = self.usage(query).map_err(failed)?;
        Ok(Box::new(rows.map(|row| row.map_err(failed))))
    }

    fn described(&self, kind: ResourceKind) -> Result<Vec<ResourceBody>, GatewayError> {
        Ok(self.described(kind))
    }

    fn describe(&self, id: &ResourceId) -> Result<ResourceBody, GatewayError> {
        self.describe(id)
    }

    fn make(&self, kind: ResourceKind, request: Settings) -> Result<ResourceBody, GatewayError> {
        self.make(kind, request)
    }

    fn modify(&self, id: &ResourceId, changes: Settings) -> Result<ResourceBody, GatewayError> {
        self.modify(id, changes)
    }

    fn delete(&self, id: &ResourceId, query: DeleteQuery) -> Result<Deleted, GatewayError> {
        self.delete(id, query)
    }

    fn register(&self, group: &str, order: RegisterOrder) -> Result<Registered, GatewayError> {
        self.register(group, order)
    }

    fn deregister(&self, group: &str, order: &DeregisterOrder) -> Result<Registered, GatewayError> {
        self.deregister(group, order)
    }

    fn order(&self, service: &str, order: &Order) -> Result<Ordered, GatewayError> {
        self.carry_out(service, order)
    }

    fn plan(&self) -> Result<Vec<PlanRow>, GatewayError> {
        Ok(self.planned()?)
    }

    fn reload(&self) -> Result<Reloaded, GatewayError> {
        let flows_cut = Self::reload(self)? as u64;
        Ok(Reloaded { config: self.config().display().to_string(), flows_cut })
    }

    fn events(&self) -> &Events {
        self.events()
    }

    fn capture(self: Arc<Self>, query: &CaptureQuery, form: Form) -> Result<Capture, GatewayError> {
        Capture::start(self, query, form)
    }

    fn end_capture(&self) -> bool {
        self.captures().end()
    }

    fn audit(&self, entry: &Entry) {
        self.audit_log().record(entry);
    }
}

fn account(principal: &str) -> Result<&str, ErrorBody> {
    account_of(principal).ok_or_else(|| not_a_principal(principal))
}

/// The items with commas between.
pub(crate) fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
