//! Two network namespaces joined by a veth.

use std::fs::File;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns};

/// Ethernet address of `v1`.
pub(crate) const FAR_MAC: &str = "02:00:00:00:00:02";

/// Two namespaces, removed when dropped, also by a panic.
pub(crate) struct Lab {
    /// Name of our namespace.
    pub(crate) near: String,
    /// Name of the provider's namespace.
    pub(crate) far: String,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

impl Lab {
    /// `v1` has 10.9.0.2 and answers ARP only as a machine with strict reverse path filtering does;
    /// `v0` is up and has no address, `lo` has its own.
    pub(crate) fn new() -> Self {
        let lab = Self::without_loopback();
        lab.near("link set lo up");
        lab
    }

    /// The same, but `lo` was never up, so that there is no address at all on our side.
    pub(crate) fn without_loopback() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let id = format!("{:08x}", rand::random::<u32>());
        let lab = Self { near: format!("pl-{id}-n"), far: format!("pl-{id}-f") };
        run("ip", &["netns", "add", &lab.near]);
        run("ip", &["netns", "add", &lab.far]);
        lab.cable();
        for setting in ["all.rp_filter=1", "v1.rp_filter=1", "v1.arp_notify=1"] {
            lab.sysctl(&lab.far, &format!("net.ipv4.conf.{setting}"));
        }
        lab
    }

    /// The same with IPv6: `v1` has 2001:db8:9::2 too and announces a changed MAC, `v0` only its link-local address.
    pub(crate) fn with_ipv6() -> Self {
        let lab = Self::new();
        lab.sysctl(&lab.far, "net.ipv6.conf.v1.ndisc_notify=1");
        lab.far("address add 2001:db8:9::2/64 dev v1 nodad");
        lab
    }

    /// The veth, with everything on its far end.
    pub(crate) fn cable(&self) {
        self.near(&format!(
            "link add v0 type veth peer name v1 address {FAR_MAC} netns {}",
            self.far
        ));
        self.near("link set v0 up");
        self.far("link set v1 up");
        self.far("address add 10.9.0.2/24 dev v1");
    }

    /// `ip` in our namespace.
    pub(crate) fn near(&self, arguments: &str) -> String {
        ip(&self.near, arguments)
    }

    /// `ip` in the provider's namespace.
    pub(crate) fn far(&self, arguments: &str) -> String {
        ip(&self.far, arguments)
    }

    /// Sets an offload of `v1`.
    pub(crate) fn far_offload(&self, setting: &str) {
        let mut words = vec!["netns", "exec", &self.far, "ethtool", "-K", "v1"];
        words.extend(setting.split(' '));
        run("ip", &words);
    }

    /// Sets a sysctl in a namespace.
    pub(crate) fn sysctl(&self, namespace: &str, assignment: &str) {
        run("ip", &["netns", "exec", namespace, "sysctl", "-qw", assignment]);
    }

    /// Has the kernel doubt and probe neighbours in tenths of a second. Its own pace is 30 s of trust,
    /// 5 s of delay and three probes a second apart.
    pub(crate) fn quick_probes(&self) {
        for pace in
            ["base_reachable_time_ms=200", "delay_first_probe_time=1", "retrans_time_ms=100"]
        {
            for family in ["ipv4", "ipv6"] {
                self.sysctl(&self.near, &format!("net.{family}.neigh.v0.{pace}"));
            }
        }
    }

    /// The neighbour entry for the target, as `ip` shows it.
    pub(crate) fn neighbour(&self) -> String {
        self.near("-d neigh show to 10.9.0.2")
    }

    /// The neighbour entry for the IPv6 target.
    pub(crate) fn neighbour6(&self) -> String {
        self.near("-d neigh show to 2001:db8:9::2")
    }

    /// Runs async code in our namespace, on a thread of its own.
    pub(crate) fn inside<T: Send>(&self, code: impl AsyncFnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace =
                    File::open(format!("/run/netns/{}", self.near)).expect("the namespace");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(code())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("starting a program");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ip(namespace: &str, arguments: &str) -> String {
    let mut all = vec!["-n", namespace];
    all.extend(arguments.split_whitespace());
    run("ip", &all)
}
