//! A gateway with fixed rows, served on a socket of its own by a thread of its own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use privatelink_userspace::api::{
    CaptureQuery, Change, ConnectionQuery, ConnectionRow, CountsBody, DeleteQuery, Deleted,
    DeregisterOrder, DropRow, DropTotals, EndpointRow, EndpointTotals, FlowQuery, FlowRow, History,
    HistorySample, InterfaceRow, Order, Ordered, OrderedEndpoint, PlanRow, RegisterOrder,
    Registered, Reloaded, ResourceBody, ServiceQuery, ServiceRow, ServiceTotals, Status,
    TableTotals, TargetRow, TargetTotals, Totals, UsageQuery, UsageRow,
};
use privatelink_userspace::audit::Entry;
use privatelink_userspace::capture::{Capture, Form};
use privatelink_userspace::control::{Flows, Gateway, GatewayError, Server, Settings, Usage};
use privatelink_userspace::events::Events;
use privatelink_userspace::flows::Readings;
use privatelink_userspace::metrics::Format;
use privatelink_userspace::resources::{ResourceId, ResourceKind};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

type Hook<T> = Box<dyn Fn(&T) + Send + Sync>;

/// A daemon's answers.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) services: Vec<ServiceRow>,
    pub(crate) endpoints: Vec<EndpointRow>,
    pub(crate) connections: Vec<ConnectionRow>,
    pub(crate) targets: Vec<TargetRow>,
    pub(crate) flows: Vec<FlowRow<'static>>,
    pub(crate) drops: Vec<DropRow>,
    pub(crate) totals: Totals,
    pub(crate) history: History,
    pub(crate) usage: Vec<UsageRow>,
    pub(crate) interfaces: Vec<InterfaceRow>,
    pub(crate) plan: Vec<PlanRow>,
    /// What every question fails with, if anything.
    pub(crate) fault: Option<GatewayError>,
    /// Called with every query for flows before it is answered.
    pub(crate) on_flows: Option<Hook<FlowQuery>>,
    /// Called with every query for readings before it is answered.
    pub(crate) on_readings: Option<Hook<FlowQuery>>,
    /// Called with the number of every flow before it is taken.
    pub(crate) on_flow: Option<Hook<usize>>,
    /// Called with every question for drops before it is answered.
    pub(crate) on_drops: Option<Hook<()>>,
    /// How many changes it was asked for.
    pub(crate) ordered: Arc<Mutex<usize>>,
    /// What was put on record.
    pub(crate) record: Arc<Mutex<Vec<Entry>>>,
    /// What happens.
    pub(crate) events: Arc<Events>,
}

impl Fake {
    /// One that has something to say on everything.
    pub(crate) fn full() -> Self {
        Self {
            services: vec![ServiceRow {
                service: "vpce-svc-0e123abc123198abc".into(),
                name: "com.amazonaws.vpce.us-east-1.vpce-svc-0e123abc123198abc".into(),
                state: "Available".into(),
                load_balancers: "web-nlb,api-nlb".into(),
                listeners: "tcp/80,tcp/443".into(),
                acceptance_required: true,
                endpoints: 2,
                flows: 3,
            }],
            endpoints: vec![
                endpoint("vpce-0a11111111111111a", "vpc-consumer-a", "available", 3),
                endpoint("vpce-0b22222222222222b", "vpc-consumer-b", "pendingAcceptance", 0),
            ],
            connections: vec![ConnectionRow {
                service: "vpce-svc-0e123abc123198abc".into(),
                endpoint: "vpce-0b22222222222222b".into(),
                principal: "arn:aws:iam::222222222222:root".into(),
                state: "pendingAcceptance".into(),
                since: "2026-02-03T04:05:06Z".into(),
                reason: "waits for the provider to accept it".into(),
                request_message: "for our invoices, please".into(),
                flows: 0,
            }],
            targets: vec![
                TargetRow {
                    target_group: "web".into(),
                    vpc: "vpc-provider".into(),
                    target: "10.0.1.10:8080".into(),
                    weight: 1,
                    health: "healthy".into(),
                    reason: String::new(),
                    description: String::new(),
                    next_hop: "02:00:00:00:00:01".into(),
                    interface: "pl-provider".into(),
                    flows: 3,
                },
                TargetRow {
                    target_group: "web".into(),
                    vpc: "vpc-provider".into(),
                    target: "10.0.1.11:8081".into(),
                    weight: 100,
                    health: "unhealthy".into(),
                    reason: "Target.Timeout".into(),
                    description: "no answer to the SYN within 2s".into(),
                    next_hop: "no answer".into(),
                    interface: String::new(),
                    flows: 0,
                },
            ],
            flows: vec![
                flow("10.0.7.7:40000", "established", 83_000, 350),
                FlowRow {
                    packets_to_target: 1_234_567,
                    bytes_to_target: 9_876_543_210,
                    ..flow("10.0.7.8:40001", "established", 7_512_000, 12_000)
                },
                flow("10.0.200.200:65535", "syn_sent", 20, 20),
            ],
            drops: vec![DropRow {
                interface: "pl-consumer-a".into(),
                vpc: "vpc-consumer-a".into(),
                code: 7,
                reason: "security_group".into(),
                packets: 42,
                meaning: "no rule of the endpoint's security groups, \"sg-a\" say, allows it"
                    .into(),
            }],
            interfaces: vec![interface("pl-provider", 3, 0), interface("pl-consumer-a", 12, 42)],
            plan: vec![
                PlanRow {
                    attribute: "acceptance_required".into(),
                    before: "true".into(),
                    after: "false".into(),
                    ..change(Change::Modify, "endpoint_service", "vpce-svc-0e123abc123198abc")
                },
                PlanRow {
                    flows_cut: 3,
                    ..change(Change::Remove, "endpoint", "vpce-0a11111111111111a")
                },
            ],
            totals: totals(),
            history: History {
                step_ms: 10_000,
                samples: vec![HistorySample {
                    over_ms: 10_000,
                    flows: 3,
                    ..HistorySample::default()
                }],
            },
            usage: vec![usage()],
            ..Self::default()
        }
    }

    fn unless_faulty<T>(&self, rows: T) -> Result<T, GatewayError> {
        self.fault.clone().map_or(Ok(rows), Err)
    }
}

fn change(change: Change, kind: &str, id: &str) -> PlanRow {
    PlanRow {
        change,
        kind: kind.into(),
        id: id.into(),
        attribute: String::new(),
        before: String::new(),
        after: String::new(),
        flows_cut: 0,
    }
}

fn endpoint(id: &str, vpc: &str, state: &str, flows: u64) -> EndpointRow {
    EndpointRow {
        endpoint: id.into(),
        vpc: vpc.into(),
        service: "vpce-svc-0e123abc123198abc".into(),
        addresses: "10.0.1.10".into(),
        state: state.into(),
        flows,
    }
}

pub(crate) fn flow(
    client: &str,
    state: &'static str,
    age_ms: u64,
    idle_ms: u64,
) -> FlowRow<'static> {
    FlowRow {
        protocol: "tcp".into(),
        state: state.into(),
        vpc: "vpc-consumer-a".into(),
        endpoint: "vpce-0a11111111111111a".into(),
        service: "vpce-svc-0e123abc123198abc".into(),
        client: client.parse().unwrap(),
        endpoint_address: "10.0.1.10:80".parse().unwrap(),
        nat: "10.0.0.10:10240".parse().unwrap(),
        target: "10.0.1.10:8080".parse().unwrap(),
        packets_to_target: 3,
        bytes_to_target: 180,
        packets_to_client: 2,
        bytes_to_client: 1000,
        retransmissions_to_target: 1,
        retransmissions_to_client: 0,
        consumer_rtt_us: Some(152),
        provider_rtt_us: Some(30_720),
        age_ms,
        idle_ms,
        packets_to_target_per_s: None,
        bytes_to_target_per_s: None,
        packets_to_client_per_s: None,
        bytes_to_client_per_s: None,
    }
}

/// With rates: ten times what it has carried.
fn rated(flow: FlowRow<'static>) -> FlowRow<'static> {
    FlowRow {
        packets_to_target_per_s: Some(flow.packets_to_target * 10),
        bytes_to_target_per_s: Some(flow.bytes_to_target * 10),
        packets_to_client_per_s: Some(flow.packets_to_client * 10),
        bytes_to_client_per_s: Some(flow.bytes_to_client * 10),
        ..flow
    }
}

fn interface(name: &str, ifindex: u32, drops: u64) -> InterfaceRow {
    InterfaceRow {
        interface: name.into(),
        ifindex,
        vpc: name.replace("pl-", "vpc-"),
        zone: "us-east-1a".into(),
        mode: "tcx".into(),
        link: "up".into(),
        drops,
        reason: "veth: XDP would take its offloads".into(),
    }
}

fn usage() -> UsageRow {
    UsageRow {
        from: "2026-11-21T22:00:00Z".into(),
        to: "2026-11-21T23:00:00Z".into(),
        account: Some("222222222222".into()),
        endpoint: Some("vpce-0a11111111111111a".into()),
        service: Some("vpce-svc-0e123abc123198abc".into()),
        zone: Some("us-east-1a".into()),
        endpoint_hours: 1,
        endpoint_seconds: 3600,
        new_flows: 7,
        bytes_to_target: 9_000,
        bytes_to_client: 1_000_000,
        endpoint_cost: Some("0.01".into()),
        data_cost: Some("0.00001009".into()),
        cost: Some("0.01001009".into()),
        currency: Some("USD".into()),
    }
}

fn totals() -> Totals {
    let counts = CountsBody { new_flows: 7, bytes_to_target: 9_000, ..CountsBody::default() };
    Totals {
        version: "0.1.0".into(),
        pid: 4711,
        uptime_ms: 83_456,
        flow_table: TableTotals {
            capacity: 1_048_576,
            held: 3,
            ipv6_capacity: 4096,
            ipv6_held: 1,
            flows: 3,
            half_open: 1,
        },
        endpoints: vec![EndpointTotals {
            endpoint: "vpce-0a11111111111111a".into(),
            vpc: "vpc-consumer-a".into(),
            service: "vpce-svc-0e123abc123198abc".into(),
            flows: 3,
            half_open: 1,
            counts,
        }],
        services: vec![ServiceTotals {
            service: "vpce-svc-0e123abc123198abc".into(),
            load_balancers: "web-nlb".into(),
            endpoints: 1,
            flows: 3,
            counts,
        }],
        targets: vec![TargetTotals {
            target_group: "web".into(),
            target: "10.0.1.10:8080".into(),
            healthy: true,
            flows: 3,
            counts,
        }],
        drops: vec![DropTotals {
            interface: "pl-consumer-a".into(),
            vpc: "vpc-consumer-a".into(),
            reason: "NoListener".into(),
            packets: 42,
        }],
    }
}

impl Gateway for Fake {
    fn status(&self) -> Result<Status, GatewayError> {
        self.unless_faulty(Status {
            version: "0.1.0".into(),
            pid: 4711,
            uptime_ms: 83_456,
            config: "/etc/privatelink/overlap.toml".into(),
            flows: 3,
            flows_max: 1_048_576,
            interfaces: self.interfaces.clone(),
        })
    }

    fn metrics(&self, format: Format) -> Result<String, GatewayError> {
        Ok(format!("# {format:?}\n"))
    }

    fn history(&self) -> Result<History, GatewayError> {
        self.unless_faulty(self.history.clone())
    }

    fn totals(&self) -> Result<Totals, GatewayError> {
        self.unless_faulty(self.totals.clone())
    }

    fn usage(&self, query: &UsageQuery) -> Result<Usage, GatewayError> {
        let wanted = query.account.as_deref() != Some("999999999999");
        let rows: Vec<_> =
            self.unless_faulty(self.usage.iter().filter(|_| wanted).cloned().collect())?;
        Ok(Box::new(rows.into_iter().map(Ok)))
    }

    fn services(&self, query: &ServiceQuery) -> Result<Vec<ServiceRow>, GatewayError> {
        let wanted = query.principal.as_deref() != Some("arn:aws:iam::999999999999:root");
        self.unless_faulty(self.services.iter().filter(|_| wanted).cloned().collect())
    }

    fn endpoints(&self) -> Result<Vec<EndpointRow>, GatewayError> {
        self.unless_faulty(self.endpoints.clone())
    }

    fn connections(&self, query: &ConnectionQuery) -> Result<Vec<ConnectionRow>, GatewayError> {
        let wanted = |row: &&ConnectionRow| {
            query.service.as_ref().is_none_or(|service| *service == row.service)
        };
        self.unless_faulty(self.connections.iter().filter(wanted).cloned().collect())
    }

    fn targets(&self) -> Result<Vec<TargetRow>, GatewayError> {
        self.unless_faulty(self.targets.clone())
    }

    fn readings(&self, query: &FlowQuery) -> Result<Readings, GatewayError> {
        if let Some(hook) = &self.on_readings {
            hook(query);
        }
        self.unless_faulty(Readings::begin(Instant::now()))
    }

    fn flows(
        &self,
        query: &FlowQuery,
        before: Option<&Readings>,
        take: &mut dyn FnMut(Flows<'_>),
    ) -> Result<(), GatewayError> {
        if let Some(hook) = &self.on_flows {
            hook(query);
        }
        let flows = self.flows.iter().enumerate().map(|(number, flow)| {
            if let Some(hook) = &self.on_flow {
                hook(&number);
            }
            match before {
                Some(_) => rated(flow.clone()),
                None => flow.clone(),
            }
        });
        self.unless_faulty(())?;
        take(query.select(flows));
        Ok(())
    }

    fn drops(&self) -> Result<Vec<DropRow>, GatewayError> {
        if let Some(hook) = &self.on_drops {
            hook(&());
        }
        self.unless_faulty(self.drops.clone())
    }

    fn order(&self, service: &str, order: &Order) -> Result<Ordered, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        self.unless_faulty(Ordered {
            service: service.into(),
            allowed_principals: vec!["*".into()],
            endpoints: vec![OrderedEndpoint {
                endpoint: "vpce-0b22222222222222b".into(),
                principal: "arn:aws:iam::222222222222:root".into(),
                before: "available".into(),
                state: "rejected".into(),
                flows: 3,
            }],
            flows_cut: if order.reconcile() { 3 } else { 0 },
            dry_run: order.dry_run(),
        })
    }

    fn described(&self, kind: ResourceKind) -> Result<Vec<ResourceBody>, GatewayError> {
        Ok(vec![self.describe(&(kind, "made".into()))?])
    }

    fn describe(&self, (kind, id): &ResourceId) -> Result<ResourceBody, GatewayError> {
        let settings = [("name".to_owned(), Value::from("made"))].into_iter().collect();
        self.unless_faulty(ResourceBody {
            kind: kind.table().into(),
            id: id.clone(),
            origin: "api".into(),
            state: "failed".into(),
            reason: Some("it does not go with the file".into()),
            settings,
        })
    }

    fn make(&self, kind: ResourceKind, request: Settings) -> Result<ResourceBody, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        Ok(ResourceBody { settings: request, ..self.describe(&(kind, "made".into()))? })
    }

    fn modify(&self, id: &ResourceId, changes: Settings) -> Result<ResourceBody, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        Ok(ResourceBody { settings: changes, ..self.describe(id)? })
    }

    fn delete(&self, id: &ResourceId, query: DeleteQuery) -> Result<Deleted, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        let deleted = vec![format!("{} {}", id.0.noun(), id.1)];
        self.unless_faulty(Deleted { deleted, flows_cut: 4, dry_run: query.dry_run })
    }

    fn register(&self, group: &str, order: RegisterOrder) -> Result<Registered, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        let address = |target: Settings| target["address"].as_str().unwrap().to_owned();
        let targets = order.targets.into_iter().map(address).collect();
        self.unless_faulty(Registered { target_group: group.into(), targets })
    }

    fn deregister(&self, group: &str, _: &DeregisterOrder) -> Result<Registered, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        self.unless_faulty(Registered { target_group: group.into(), targets: vec![] })
    }

    fn plan(&self) -> Result<Vec<PlanRow>, GatewayError> {
        self.unless_faulty(self.plan.clone())
    }

    fn reload(&self) -> Result<Reloaded, GatewayError> {
        *self.ordered.lock().unwrap() += 1;
        let config = "/etc/privatelink/overlap.toml".into();
        self.unless_faulty(Reloaded { config, flows_cut: 2 })
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn capture(self: Arc<Self>, _: &CaptureQuery, _: Form) -> Result<Capture, GatewayError> {
        Err(GatewayError::Unavailable("the fake has no packets".into()))
    }

    fn end_capture(&self) -> bool {
        true
    }

    fn audit(&self, entry: &Entry) {
        self.record.lock().unwrap().push(entry.clone());
    }
}

/// A [`Server`] on a thread; stops when dropped.
pub(crate) struct Running {
    pub(crate) socket: PathBuf,
    pub(crate) ordered: Arc<Mutex<usize>>,
    pub(crate) record: Arc<Mutex<Vec<Entry>>>,
    pub(crate) events: Arc<Events>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Running {
    /// Returns once clients can connect.
    pub(crate) fn start(gateway: Fake) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, is_bound) = std::sync::mpsc::channel();
        let path = socket.clone();
        let (ordered, record) = (gateway.ordered.clone(), gateway.record.clone());
        let events = gateway.events.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(path, None, Arc::new(gateway)).await.unwrap();
                bound.send(()).unwrap();
                server.serve(async { stopped.await.unwrap_or_default() }).await.unwrap();
            });
        });
        is_bound.recv().unwrap();
        Self {
            socket,
            ordered,
            record,
            events,
            stop: Some(stop),
            thread: Some(thread),
            _directory: directory,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}
