//! The running gateway: what the daemon's tasks share, and what the control API answers from it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use privatelink_common::drop_reason::DropReason;
use privatelink_common::records::FlowKey;
use privatelink_common::tcp::{State, Timeouts};

use crate::api::{
    DropRow, EndpointRow, FlowQuery, FlowRow, InterfaceRow, ServiceRow, Status, TargetRow,
    flows_query,
};
use crate::contents::target_numbers;
use crate::control::{Gateway, GatewayError};
use crate::datapath::{Clock, Datapath, DatapathError, FlowTable};
use crate::flows::{self, Flow, Paired};
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
    timeouts: Timeouts,
    /// The desired state.
    pub model: Model,
    datapath: Mutex<Datapath>,
    flow_table: Mutex<FlowTable>,
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
    pub fn new(
        config: PathBuf,
        model: Model,
        mut datapath: Datapath,
    ) -> Result<Self, DatapathError> {
        let flow_table = datapath.take_flow_table()?;
        Ok(Self {
            config,
            started: Instant::now(),
            timeouts: Timeouts::default(),
            model,
            datapath: Mutex::new(datapath),
            flow_table: Mutex::new(flow_table),
            interfaces: Mutex::default(),
            next_hops: Mutex::default(),
        })
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

    fn flows_now(&self) -> Result<(Paired, Clock), DatapathError> {
        let entries = lock(&self.flow_table).entries()?;
        // After the entries, so that no stamp lies in the clock's future by more than a tick.
        let clock = self.datapath().clock()?;
        Ok((flows::pair(entries), clock))
    }

    /// Removes flows that are silent for too long; returns how many.
    ///
    /// A packet may come while we decide: the entry is looked at once more just before it goes. One
    /// that comes in between is at worst answered with a RST, or opens the flow anew if it is a SYN.
    /// The forward entry goes first: while its lease is still there nobody else gets it, and what the
    /// data path would be opening meanwhile gets another.
    pub fn sweep(&self) -> Result<usize, DatapathError> {
        let (paired, clock) = self.flows_now()?;
        let mut table = lock(&self.flow_table);
        let unchanged = |table: &FlowTable, key: &FlowKey, last_seen: u64| {
            table.entry(key).is_some_and(|half| half.last_seen.get() == last_seen)
        };
        let mut removed = 0;
        for flow in paired.flows.iter().filter(|flow| flow.is_expired(&clock, &self.timeouts)) {
            if unchanged(&table, &flow.forward_key, flow.forward.last_seen.get())
                && unchanged(&table, &flow.reverse_key, flow.reverse.last_seen.get())
            {
                table.remove(&flow.forward_key);
                table.remove(&flow.reverse_key);
                removed += 1;
            }
        }
        let closing = State::Closed.idle_timeout_ms(&self.timeouts);
        for (key, last_seen) in &paired.orphans {
            if clock.ms_since(*last_seen) > closing && unchanged(&table, key, *last_seen) {
                table.remove(key);
            }
        }
        Ok(removed)
    }

    fn count_flows(&self, of: impl Fn(&Flow) -> u32) -> Result<BTreeMap<u32, u64>, GatewayError> {
        let mut counts = BTreeMap::new();
        for flow in &self.flows_now().map_err(failed)?.0.flows {
            *counts.entry(of(flow)).or_default() += 1;
        }
        Ok(counts)
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
        let flows = self.flows_now().map_err(failed)?.0.flows.len() as u64;
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
            flows,
            flows_max: lock(&self.flow_table).capacity(),
            interfaces: interfaces.collect::<Result<_, GatewayError>>()?,
        })
    }

    fn services(&self) -> Result<Vec<ServiceRow>, GatewayError> {
        let flows = self.count_flows(|flow| flow.forward.service)?;
        let rows = self.model.services.iter().zip(0..).map(|(service, index)| ServiceRow {
            service: service.id.clone(),
            name: service.service_name(&self.model.region),
            load_balancers: join(
                service.load_balancers.iter().map(|&lb| &self.model.load_balancers[lb].name),
            ),
            listeners: self.published(service),
            acceptance_required: service.acceptance_required,
            endpoints: self
                .model
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.service as u32 == index)
                .count() as u64,
            flows: flows.get(&index).copied().unwrap_or(0),
        });
        Ok(rows.collect())
    }

    fn endpoints(&self) -> Result<Vec<EndpointRow>, GatewayError> {
        let flows = self.count_flows(|flow| flow.forward.endpoint)?;
        let rows = self.model.endpoints.iter().zip(0..).map(|(endpoint, index)| EndpointRow {
            endpoint: endpoint.id.clone(),
            vpc: self.model.vpcs[endpoint.vpc].id.clone(),
            service: self.model.services[endpoint.service].id.clone(),
            addresses: join(endpoint.addresses.iter().map(|address| address.address)),
            state: endpoint.state.name().into(),
            flows: flows.get(&index).copied().unwrap_or(0),
        });
        Ok(rows.collect())
    }

    fn targets(&self) -> Result<Vec<TargetRow>, GatewayError> {
        let flows = self.count_flows(|flow| flow.forward.target)?;
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

    fn flows(&self, query: &FlowQuery) -> Result<Vec<FlowRow>, GatewayError> {
        let (paired, clock) = self.flows_now().map_err(failed)?;
        let rows = paired.flows.iter().map(|flow| flows::row(flow, &self.model, &clock)).collect();
        Ok(flows_query(rows, query))
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
