//! Our data path inside this process: the real program, its maps as the daemon fills them, and no daemon beside it.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use privatelink_common::hash::Seeds;
use privatelink_common::records::{Mac, NextHop};
use privatelink_common::ticks::Tick;
use privatelink_tests::Namespace;
use privatelink_userspace::attach_choice::Mode;
use privatelink_userspace::config;
use privatelink_userspace::contents::zones::WHOLE_SHARE;
use privatelink_userspace::contents::{
    self, Contents, Fitness, Host, LinkFacts, counted_addresses,
};
use privatelink_userspace::datapath::{
    Attachment, Clock, Datapath, FlowTable, Links, Pins, Sizes, jiffies_per_second,
};
use privatelink_userspace::numbers::Numbering;
use privatelink_userspace::reconcile::Reconciler;

use crate::link::Link;
use crate::world::Interfaces;

/// The attached program and its maps. To be used on a thread inside the gateway's namespace.
pub(crate) struct Ours {
    // Dropped first: detaching needs the interfaces.
    _links: Links,
    datapath: Datapath,
    flow_table: FlowTable,
    slots: Vec<u32>,
}

impl Ours {
    /// MAC address of the clients.
    pub(crate) const CLIENT: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 1]);
    /// MAC address of the targets.
    pub(crate) const TARGET: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 2]);

    /// Loads the program, fills its maps for a configuration and attaches it to both interfaces, as suits their links.
    pub(crate) fn start(
        gateway: &Namespace,
        interfaces: &Interfaces,
        configuration: &str,
    ) -> Result<Self> {
        const MTU: u32 = 1500;
        let mode = interfaces.mode();
        let tcx = mode == Mode::Tcx;
        let model = config::parse("bench.toml", configuration)
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut links = HashMap::new();
        for name in [&interfaces.consumer, &interfaces.provider] {
            let Link { ifindex, mac, .. } = Link::of(gateway, name)?;
            let facts = LinkFacts { ifindex, mac: mac.bytes(), mtu: MTU, tcx };
            links.insert(name.clone(), facts);
        }
        let numbering = Numbering::in_order(&model)?;
        let records = contents::interfaces(&model, &numbering, &links)?;
        let provider = &links[&interfaces.provider];
        let slot = records.iter().find(|(_, record)| record.ifindex == provider.ifindex);
        let (&slot, _) = slot.context("the provider's interface has a slot")?;
        let hop = NextHop::new(Self::TARGET, slot as u16);
        let host = Host {
            interfaces: records,
            next_hop: &|_| hop,
            fitness: &|_| Fitness::Healthy,
            share: &|_| WHOLE_SHARE,
            marked: &|_| false,
            seeds: Seeds::of(7),
            generation: 0,
            jiffies_per_second: jiffies_per_second(),
        };
        let contents = Contents::new(&model, &numbering, &host);
        let (mut datapath, flow_table) = Datapath::load(Sizes::of(&model), None)?;
        if model.has_ipv6() {
            datapath.load_wide()?;
        }
        let (_, failed) = Reconciler::default().apply(&contents, &mut datapath);
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error.into());
        }
        flow_table.set_rules(&contents);
        let counted = counted_addresses(&model, &numbering);
        flow_table.count_addresses(counted.map(|(key, ..)| key))?;

        let pins = PathBuf::from(format!("/sys/fs/bpf/privatelink-{:08x}", rand::random::<u32>()));
        let mut attached = Links::new(Pins::open(&pins, false)?);
        for (interface, facts) in links {
            let ifindex = facts.ifindex;
            let hooks = mode.hooks(tcx);
            let to = Attachment { interface, ifindex, hooks, present: None };
            attached.attach(&mut datapath, &to)?;
        }
        let slots = contents.interfaces.keys().copied().collect();
        Ok(Self { _links: attached, datapath, flow_table, slots })
    }

    /// Live flows.
    pub(crate) fn live(&self) -> u64 {
        self.flow_table.live()
    }

    /// Ends all flows that are due at a moment; how many.
    pub(crate) fn sweep(&mut self, now: Tick) -> Result<usize> {
        Ok(self.flow_table.sweep(now, |endings| self.datapath.end(endings, now))?)
    }

    /// Adds up all flows as metrics do; how many hold a lease.
    pub(crate) fn tally(&self) -> u64 {
        self.flow_table.tally().leases().map(|(_, count)| count).sum()
    }

    /// The kernel's clock.
    pub(crate) fn clock(&mut self) -> Result<Clock> {
        Ok(self.datapath.clock()?)
    }

    /// Packets that it has dropped, for any reason.
    pub(crate) fn drops(&mut self) -> Result<u64> {
        let mut drops = 0;
        for &slot in &self.slots {
            drops += self.datapath.drops(slot)?.iter().sum::<u64>();
        }
        Ok(drops)
    }
}
