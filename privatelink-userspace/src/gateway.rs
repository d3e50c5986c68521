//! The running gateway: what the daemon's tasks share, and what the control API answers from it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::flow_table::Flow;

use crate::api::{DropRow, EndpointRow, FlowQuery, InterfaceRow, ServiceRow, Status, TargetRow};
use crate::contents::target_numbers;
use crate::control::{Flows, Gateway, GatewayError};
use crate::datapath::{Clock, Datapath, DatapathError, FlowTable};
use crate::flows;
use crate::model::{self, AttachMode, Model};
use crate::netlink::{Link, NextHop};

/// An interface of the model that is attached.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The link as last seen.
    pub link: Link,
    /// Its slot in the interface table.
    pub slot: u32,
    /// Index of its vpc in the model.
    pub vpc: usize,
    /// Its zone.
    pub zone: String,
    /// How XDP is attached.
    pub mode: AttachMode,
}

/// What the daemon's tasks share. No lock is held while another is taken.
pub struct Running {
    config: PathBuf,
    started: Instant,
    /// The desired state.
    pub model: Model,
    datapath: Mutex<Datapath>,
    flow_table: FlowTable,
    interfaces: Mutex<BTreeMap<String, Attached>>,
    next_hops: Mutex<BTreeMap<u32, NextHop>>,
}

/// A panic elsewhere leaves plain data behind, of which every state is valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: impl Display) -> GatewayError {
    GatewayError::Failed(error.to_string())
}

impl Running {
    /// A gateway whose maps are filled.
    pub fn new(config: PathBuf, model: Model, datapath: Datapath, flow_table: FlowTable) -> Self {
        Self {
            config,
            started: Instant::now(),
            model,
            datapath: Mutex::new(datapath),
            flow_table,
            interfaces: Mutex::default(),
            next_hops: Mutex::default(),
        }
    }

    /// The programs and maps, except for the flow table.
    pub fn datapath(&self) -> MutexGuard<'_, Datapath> {
        lock(&self.datapath)
    }

    /// The attached interfaces by name.
    pub fn interfaces(&self) -> MutexGuard<'_, BTreeMap<String, Attached>> {
        lock(&self.interfaces)
    }

    /// What is known of the targets' next hops, by target number.
    pub fn next_hops(&self) -> MutexGuard<'_, BTreeMap<u32, NextHop>> {
        lock(&self.next_hops)
    }

    fn clock(&self) -> Result<Clock, GatewayError> {
        self.datapath().clock().map_err(failed)
    }

    /// Ends flows that are silent for too long; returns how many records it took a step further.
    pub fn sweep(&self) -> Result<usize, DatapathError> {
        let clock = self.datapath().clock()?;
        Ok(self.flow_table.sweep(clock.tick()))
    }

    fn count_flows(&self, of: impl Fn(&Flow) -> u32) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for flow in self.flow_table.flows() {
            *counts.entry(of(&flow)).or_default() += 1;
        }
        counts
    }

    /// Numbers of the endpoints of a service.
    fn endpoints_of(&self, service: usize) -> impl Iterator<Item = u32> {
        let endpoints = self.model.endpoints.iter().zip(0..);
        endpoints.filter(move |(endpoint, _)| endpoint.service == service).map(|(_, number)| number)
    }

    fn published(&self, service: &model::EndpointService) -> String {
        let listeners = service
            .load_balancers
            .iter()
            .flat_map(|&index| &self.model.load_balancers[index].listeners);
        let mut ports: Vec<String> = listeners
            .map(|listener| format!("{}/{}", listener.protocol.name(), listener.port))
            .collect();
        ports.dedup();
        ports.join(",")
    }
}

impl Gateway for Running {
    fn status(&self) -> Result<Status, GatewayError> {
        let attached: Vec<Attached> = self.interfaces().values().cloned().collect();
        let interfaces = attached.into_iter().map(|attached| {
            let drops = self.datapath().drops(attached.slot).map_err(failed)?;
            Ok(InterfaceRow {
                interface: attached.link.name,
                ifindex: attached.link.ifindex,
                vpc: self.model.vpcs[attached.vpc].id.clone(),
                zone: attached.zone,
                mode: attached.mode.name().into(),
                link: if attached.link.up { "up" } else { "down" }.into(),
                drops: drops.iter().sum(),
            })
        });
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: self.started.elapsed().as_millis() as u64,
            config: self.config.display().to_string(),
            flows: self.flow_table.live(),
            flows_max: self.flow_table.capacity(),
            interfaces: interfaces.collect::<Result<_, GatewayError>>()?,
        })
    }

    fn services(&self) -> Result<Vec<ServiceRow>, GatewayError> {
        let rows = self.model.services.iter().enumerate().map(|(index, service)| ServiceRow {
            service: service.id.clone(),
            name: service.service_name(&self.model.region),
            load_balancers: join(
                service.load_balancers.iter().map(|&lb| &self.model.load_balancers[lb].name),
            ),
            listeners: self.published(service),
            acceptance_required: service.acceptance_required,
            endpoints: self.endpoints_of(index).count() as u64,
            flows: self.endpoints_of(index).map(|number| self.flow_table.live_of(number)).sum(),
        });
        Ok(rows.collect())
    }

    fn endpoints(&self) -> Result<Vec<EndpointRow>, GatewayError> {
        let rows = self.model.endpoints.iter().zip(0..).map(|(endpoint, index)| EndpointRow {
            endpoint: endpoint.id.clone(),
            vpc: self.model.vpcs[endpoint.vpc].id.clone(),
            service: self.model.services[endpoint.service].id.clone(),
            addresses: join(endpoint.addresses.iter().map(|address| address.address)),
            state: endpoint.state.name().into(),
            flows: self.flow_table.live_of(index),
        });
        Ok(rows.collect())
    }

    fn targets(&self) -> Result<Vec<TargetRow>, GatewayError> {
        let flows = self.count_flows(|flow| flow.target);
        let next_hops = self.next_hops().clone();
        let names: BTreeMap<u32, String> = self
            .interfaces()
            .values()
            .map(|attached| (attached.link.ifindex, attached.link.name.clone()))
            .collect();
        let rows = target_numbers(&self.model).map(|(number, group, target)| {
            let group = &self.model.target_groups[group];
            let (next_hop, interface) = match next_hops.get(&number) {
                Some(NextHop::Resolved { ifindex, mac, .. }) => {
                    (mac_text(mac), names.get(ifindex).cloned().unwrap_or_default())
                }
                Some(NextHop::Unresolved { reason }) => (reason.clone(), String::new()),
                None => ("being resolved".into(), String::new()),
            };
            TargetRow {
                target_group: group.name.clone(),
                vpc: self.model.vpcs[group.vpc].id.clone(),
                target: format!("{}:{}", target.address, target.port),
                weight: target.weight,
                // By AWS's names: there are no health checks yet, and we do not pretend.
                health: "unavailable".into(),
                reason: "Target.HealthCheckDisabled".into(),
                next_hop,
                interface,
                flows: flows.get(&number).copied().unwrap_or(0),
            }
        });
        Ok(rows.collect())
    }

    fn flows<'a>(&'a self, query: &'a FlowQuery) -> Result<Flows<'a>, GatewayError> {
        let clock = self.clock()?;
        let row = move |flow| flows::row(&flow, &self.model, &clock);
        Ok(query.select(self.flow_table.flows().map(row)))
    }

    fn drops(&self) -> Result<Vec<DropRow>, GatewayError> {
        let attached: Vec<Attached> = self.interfaces().values().cloned().collect();
        let mut rows = Vec::new();
        for attached in attached {
            let counts = self.datapath().drops(attached.slot).map_err(failed)?;
            for &reason in DropReason::ALL {
                let packets = counts[reason as usize];
                if packets != 0 {
                    rows.push(DropRow {
                        interface: attached.link.name.clone(),
                        vpc: self.model.vpcs[attached.vpc].id.clone(),
                        code: reason as u32,
                        reason: reason.name().into(),
                        packets,
                        meaning: reason.meaning().into(),
                    });
                }
            }
        }
        Ok(rows)
    }
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
