//! `privatelink run`: brings the gateway up, keeps it in step with the host, and takes it down.

mod accounting;
mod attaching;
mod logging;
mod metrics;
mod settling;
mod sweeping;
mod tcp_server;
mod watching;
mod web;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Gid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::accounting::Bookkeeper;
use self::attaching::{attach, attach_all, follow_model, interface_names};
use self::logging::Logging;
use self::metrics::MetricsServer;
use self::sweeping::Sweeper;
use self::watching::Watch;
use self::web::WebServer;
use crate::audit::Entry;
use crate::checking::checks;
use crate::config::{Source, host_has};
use crate::contents::flow_table;
use crate::control::{Gateway as _, GatewayError, Peer, Server};
use crate::datapath::{Datapath, Links, Pins, Sizes};
use crate::health::{self, Checker};
use crate::host_ports::Ports;
use crate::model::AttachMode;
use crate::netlink::{Event, Hop, Link, Netlink, NextHop, Resolver};
use crate::resolving::Resolving;
use crate::resources::Declaration;
use crate::running::{Attached, Running};
use crate::service_manager::{self, Watchdog};
use crate::state::State;
use crate::webhook::Webhook;

/// How often it is looked at what was dropped, and how full the flow table is.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often the host's own ports are looked up.
const PORTS_INTERVAL: Duration = Duration::from_secs(5);
/// Changes of targets' health that wait to be handled, at most; checks wait beyond that.
const HEALTH_BACKLOG: usize = 256;
/// How long readiness waits for the targets' next hops and first checks, so that the first SYN finds them.
const SETTLE_PATIENCE: Duration = Duration::from_secs(3);
/// How often it looks whether they are there.
const SETTLE_LOOK: Duration = Duration::from_millis(20);

/// What `privatelink run` was told.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Configuration file.
    pub config: PathBuf,
    /// Control socket.
    pub socket: PathBuf,
    /// How interfaces are attached of which the configuration leaves it to the daemon.
    pub attach: AttachMode,
    /// Group that may use the control socket, besides root.
    pub socket_group: Option<Gid>,
    /// Directory for pins, on a bpffs.
    pub pin_dir: PathBuf,
    /// Whether what an earlier daemon left is removed, and not adopted.
    pub replace: bool,
    /// Whether nothing stays attached once this daemon stops.
    pub detach_on_stop: bool,
}

/// Runs the gateway until SIGTERM or SIGINT. The data path goes on without it, unless it is told otherwise.
pub async fn run(options: &RunOptions, source: Source, state: State) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    // Whoever was told that it is ready may ask for a reload.
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut daemon = Daemon::start(options, source, state).await?;
    daemon.settle().await?;
    service_manager::ready();
    log::info!("ready");
    let result = tokio::select! {
        result = daemon.serve(&mut hangup) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    service_manager::stopping();
    log::info!("stopping");
    daemon.stop(options.detach_on_stop).await;
    result
}

/// The parts of a running gateway. Fields are dropped in this order: the data path is taken off first.
struct Daemon {
    links: Links,
    running: Arc<Running>,
    resolving: Resolving,
    checker: Checker<u32>,
    health: mpsc::Receiver<health::Event<u32>>,
    watch: Watch,
    webhook: Webhook,
    reserved: Ports,
    stop_control: oneshot::Sender<()>,
    control: JoinHandle<Result<(), crate::control::ServerError>>,
    metrics: MetricsServer,
    logging: Logging,
    web: WebServer,
}

impl Daemon {
    async fn start(options: &RunOptions, source: Source, mut state: State) -> Result<Self> {
        let resources = std::mem::take(&mut state.resources);
        let declared = Declaration::of(source, resources, host_has)?;
        declared.resources.failures().for_each(|why| log::error!("not in force: {why}"));
        let model = &declared.model;
        // Before the links are looked at: what is replaced goes off them.
        let pins = Pins::open(&options.pin_dir, options.replace)?;
        let netlink = Netlink::open().await?;
        let links: HashMap<String, Link> =
            netlink.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect();

        let measures = flow_table(model);
        log::info!(
            "the flow table holds {} flows and takes {} MiB",
            measures.flows(),
            measures.bytes() >> 20
        );
        let (mut datapath, flow_table) = Datapath::load(Sizes::of(model), Some(&pins))?;
        watch_transmissions(&mut datapath);
        let flow_events = datapath.events()?;

        let mut resolver = Resolver::new(netlink, BTreeMap::new());
        resolver.watch(interface_names(model));
        let running = Running::new(&options.config, declared, datapath, flow_table, state)?;
        let running = Arc::new(running.with_attach(options.attach));
        // Before anything is attached: if another daemon answers there, the host stays untouched.
        let server = Server::bind(&options.socket, options.socket_group, running.clone()).await?;
        let mut metrics = MetricsServer::new();
        metrics.follow(running.snapshot().model.metrics, &running).await?;
        let mut web = WebServer::new();
        web.follow(running.snapshot().model.web, &running).await?;
        let reserved = reserve_ports(&running, None)?;
        let mut pinned = Links::new(pins);
        attach_all(&running, &mut pinned, &links)?;
        pinned.remove_strays()?;
        pinned.set_keep(true);
        let watch = Watch::begin(&running)?;
        let logging = Logging::start(running.clone(), flow_events);
        let webhook = Webhook::start(running.events(), running.snapshot().model.webhook.clone());

        resolver.set_hops(hops(&running));
        let (stop_control, stopped) = oneshot::channel();
        let control = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        let (events, health) = mpsc::channel(HEALTH_BACKLOG);
        Ok(Self {
            links: pinned,
            running,
            resolving: Resolving::start(resolver),
            checker: Checker::new(events),
            health,
            watch,
            webhook,
            reserved,
            stop_control,
            control,
            metrics,
            logging,
            web,
        })
    }

    /// Waits until each target's next hop is known, or known to be missing, and it has been checked once; or patience
    /// ends.
    async fn settle(&mut self) -> Result<()> {
        let wanted = hops(&self.running).len();
        let patience = tokio::time::sleep(SETTLE_PATIENCE);
        tokio::pin!(patience);
        let mut look = tokio::time::interval(SETTLE_LOOK);
        let mut known = false;
        while !known || !self.checker.statuses().all(|(_, status)| status.is_checked()) {
            tokio::select! {
                event = self.resolving.next_event() => self.follow_host(event)?,
                Some(event) = self.health.recv() => self.checked(event),
                _ = look.tick() => {}
                () = &mut patience => {
                    log::warn!("not all targets are known yet; see `privatelink targets`");
                    break;
                }
            }
            if !known && self.running.next_hops().len() >= wanted {
                known = true;
                self.check();
            }
        }
        Ok(())
    }

    /// Keeps the gateway in step; ends only with an error.
    async fn serve(&mut self, hangup: &mut Signal) -> Result<()> {
        self.check();
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        let mut ports = tokio::time::interval(PORTS_INTERVAL);
        let _sweeper = Sweeper::start(self.running.clone());
        let _bookkeeper = Bookkeeper::start(self.running.clone());
        let mut watchdog = Watchdog::asked_for();
        let running = self.running.clone();
        let mut captures = running.captures().wanted();
        loop {
            tokio::select! {
                event = self.resolving.next_event() => {
                    self.follow_host(event)?;
                    self.check();
                }
                Some(event) = self.health.recv() => self.checked(event),
                () = running.changed() => self.follow_model().await,
                Ok(()) = captures.changed() => self.swap_programs(*captures.borrow_and_update()),
                _ = hangup.recv() => reload(&running),
                () = watchdog.due() => watchdog.alive(),
                _ = watch.tick() => self.watch.look(&self.running)?,
                _ = ports.tick() => self.reserved = reserve_ports(&self.running, Some(&self.reserved))?,
                result = &mut self.control => {
                    result.context("the control API has failed")??;
                    bail!("the control API has ended: restart privatelink");
                }
            }
        }
    }

    /// Ends: also the data path and the neighbour entries, if the host is to be left as it was.
    async fn stop(self, detach: bool) {
        // What stays attached is to be the usual program.
        if self.running.captures().is_in_force() {
            self.swap_programs(false);
        }
        let Self { mut links, running, resolving, stop_control, control, logging, .. } = self;
        let last = running.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || last.account()).await {
            log::error!("accounting has failed: {error}");
        }
        links.set_keep(!detach);
        drop(links);
        // Its last look takes a while.
        let _ = tokio::task::spawn_blocking(move || drop(logging)).await;
        if detach {
            resolving.close().await;
        }
        // An error means that serving has ended already.
        let _ = stop_control.send(());
        if let Ok(Err(error)) = control.await {
            log::warn!("the control API did not end in order: {error}");
        }
        drop(running);
    }

    /// Takes what has happened on the host, and all that has happened besides: what follows from it is worked out once.
    fn follow_host(&mut self, first: Option<Event<u32>>) -> Result<()> {
        self.handle(first)?;
        for _ in 0..Resolving::BACKLOG {
            match self.resolving.waiting_event() {
                Some(event) => self.handle(Some(event))?,
                None => break,
            }
        }
        self.running.reconcile();
        Ok(())
    }

    fn handle(&mut self, event: Option<Event<u32>>) -> Result<()> {
        match event
            .context("watching the host's links and neighbours has failed: restart privatelink")?
        {
            Event::NextHop { key, state } => self.next_hop_changed(key, state),
            Event::Link(link) => self.link_changed(link),
            Event::LinkRemoved { ifindex, name } => self.link_removed(ifindex, &name),
        }
    }

    fn next_hop_changed(&self, number: u32, state: NextHop) -> Result<()> {
        let snapshot = self.running.snapshot();
        let Some((_, target)) = snapshot.target(number) else {
            return Ok(());
        };
        match &state {
            NextHop::Resolved { .. } => {
                log::info!("target {} has its next hop", target.end());
            }
            NextHop::Unresolved { reason } => {
                log::warn!("target {} has no next hop: {reason}", target.end());
            }
        }
        self.running.next_hops().insert(number, state);
        Ok(())
    }

    fn link_changed(&mut self, link: Link) -> Result<()> {
        let known = self.running.interfaces().get(&link.name).cloned();
        match known {
            Some(attached) if attached.link.ifindex == link.ifindex => {
                if attached.link.up != link.up {
                    log::warn!(
                        "interface {} is {}",
                        link.name,
                        if link.up { "up" } else { "down" }
                    );
                }
                self.running.interfaces().insert(link.name.clone(), Attached { link, ..attached });
            }
            _ => {
                log::info!("interface {} is there", link.name);
                attach(&self.running, &mut self.links, link);
                self.resolve();
            }
        }
        Ok(())
    }

    fn link_removed(&mut self, ifindex: u32, name: &str) -> Result<()> {
        let removed = {
            let mut interfaces = self.running.interfaces();
            let same =
                interfaces.get(name).is_some_and(|attached| attached.link.ifindex == ifindex);
            if same { interfaces.remove(name) } else { None }
        };
        if let Some(Attached { slot, .. }) = removed {
            log::warn!("interface {name} is gone: its flows wait for it to come back");
            self.running.former_slots().note(name, slot);
            self.links.forget(ifindex);
            self.resolve();
        }
        Ok(())
    }

    /// Follows the model that is in force now. Events are posted where it says.
    async fn follow_model(&mut self) {
        let snapshot = self.running.snapshot();
        follow_model(&self.running, &mut self.links);
        self.resolve();
        self.check();
        self.webhook.set(snapshot.model.webhook.clone());
        self.logging.follow();
        let metrics = self.metrics.follow(snapshot.model.metrics, &self.running).await;
        let web = self.web.follow(snapshot.model.web, &self.running).await;
        for error in [metrics, web].into_iter().filter_map(Result::err) {
            log::error!("{error:#}");
        }
    }

    /// Has the watched program run on every interface, or the usual one.
    fn swap_programs(&self, watched: bool) {
        let swapped = {
            let mut datapath = self.running.datapath();
            datapath.set_watched(watched).and_then(|()| self.links.swap_all(&mut datapath))
        };
        match swapped {
            Ok(()) => self.running.captures().swapped(watched),
            Err(error) => log::error!("the programs cannot be swapped for a capture: {error}"),
        }
    }

    /// Takes what the checks say, and all that they have said besides: what follows from it is worked out once.
    fn checked(&mut self, first: health::Event<u32>) {
        let mut changes = BTreeMap::new();
        let mut next = Some(first);
        for _ in 0..HEALTH_BACKLOG {
            match next {
                Some(health::Event::Changed { key, status }) => {
                    changes.insert(key, status);
                }
                Some(health::Event::Unanswered { key }) => self.resolving.doubt(key),
                None => break,
            }
            next = self.health.try_recv().ok();
        }
        if changes.is_empty() {
            return;
        }
        let cut = self.running.set_health(changes);
        if cut != 0 {
            log::warn!("{cut} flows of unhealthy targets ended");
        }
    }

    /// Has the targets checked that are wanted now.
    fn check(&mut self) {
        let standings = self.running.health().clone();
        let known = |number: &u32| Some(standings.get(*number)?.status.health);
        self.checker.set_checks(checks(&self.running), known);
    }

    /// Has the next hops resolved that are wanted now.
    fn resolve(&self) {
        self.resolving.watch(interface_names(&self.running.snapshot().model), hops(&self.running));
    }
}

/// The hops of all targets over the interfaces that are attached now.
fn hops(running: &Running) -> BTreeMap<u32, Hop> {
    let snapshot = running.snapshot();
    let model = &snapshot.model;
    let interfaces = running.interfaces();
    let hop = |(number, group, target): (u32, usize, &crate::model::Target)| {
        let vpc = model.target_groups[group].vpc;
        let attached = interfaces.values().filter(|attached| attached.vpc == model.vpcs[vpc].id);
        let balancers = model.load_balancers.iter().filter(|balancer| balancer.vpc == vpc);
        let hop = Hop {
            interfaces: attached.map(|attached| attached.link.ifindex).collect(),
            on_link: balancers
                .flat_map(|balancer| &balancer.addresses)
                .map(|of| of.address)
                .collect(),
            target: target.address,
        };
        (number, hop)
    };
    snapshot.numbering.targets(model).map(hop).collect()
}

/// Keeps leases off the ports that the host listens on now; `before` are those kept off so far.
fn reserve_ports(running: &Running, before: Option<&Ports>) -> Result<Ports> {
    let ports = Ports::listening().context("cannot read the host's sockets")?;
    running.datapath().set_reserved_ports(&ports.changes_from(before))?;
    Ok(ports)
}

/// Reloads at a signal; what came of it is in the log and on record.
fn reload(running: &Running) {
    service_manager::reloading();
    let path = running.config().display();
    let entry = Entry::new(Peer::default(), "SIGHUP");
    let entry = match running.reload() {
        Ok(cut) => {
            match cut {
                0 => log::info!("{path} is in force"),
                _ => log::warn!(
                    "{path} is in force: {cut} flows ended, since what they used is gone"
                ),
            }
            entry.done(cut as u64, false)
        }
        Err(error) => {
            log::error!("{path} is not in force, nothing has changed: {error}");
            entry.refused(&GatewayError::from(error).into())
        }
    };
    running.audit(&entry);
    service_manager::ready();
}

fn watch_transmissions(datapath: &mut Datapath) {
    if let Err(error) = datapath.watch_transmissions() {
        log::warn!("frames that an interface refuses after a redirect are not counted: {error}");
    }
}
