//! A client that waits for an answer says nothing that would tell where it is: it gets the answer all the same over an
//! interface that was made anew meanwhile. Needs root.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Server, Topology, add_address, connect, example, is_leased, mac,
    prepare_for_xdp, veth,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What holds answers back.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// Hears a question, says so, and answers when it may.
fn serve(mut stream: TcpStream, peer: SocketAddr, gate: &Gate) -> io::Result<()> {
    if !is_leased(&peer) {
        return Ok(());
    }
    stream.read_exact(&mut [0; 8])?;
    stream.write_all(b"heard")?;
    gate.pass();
    stream.write_all(b"answer")
}

fn hear(stream: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, expected);
}

/// A client that waits.
struct Site {
    stream: TcpStream,
    gate: Arc<Gate>,
    _targets: [Server; 2],
    lab: Lab,
}

impl Site {
    /// With the daemon.
    fn new() -> (Self, Daemon) {
        let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
        let gate = Arc::new(Gate::default());
        let targets = ["10.0.1.10:8080", "10.0.1.11:8081"].map(|address| {
            let (gate, provider) = (Arc::clone(&gate), lab.network("provider").unwrap());
            let serve = move |stream, peer| serve(stream, peer, &gate);
            Server::start(provider, address.parse().unwrap(), serve).unwrap()
        });
        let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
        let mut stream = connect(lab.network("consumer-a").unwrap(), None, ENDPOINT).unwrap();
        stream.write_all(b"question").unwrap();
        hear(&mut stream, b"heard");
        (Self { stream, gate, _targets: targets, lab }, daemon)
    }

    fn delete(&self) {
        self.lab.gateway().run(&["ip", "link", "del", "pl-consumer-a"]).unwrap();
    }

    fn make(&self, client: &str) {
        let (gateway, consumer) = (self.lab.gateway(), self.lab.network("consumer-a").unwrap());
        veth(gateway, "pl-consumer-a", consumer, "eth0").unwrap();
        consumer.run(&["ip", "link", "set", "eth0", "address", client]).unwrap();
        prepare_for_xdp(gateway, "pl-consumer-a", false).unwrap();
        prepare_for_xdp(consumer, "eth0", true).unwrap();
        add_address(consumer, "eth0", "10.0.2.20/16").unwrap();
    }

    fn client(&self) -> String {
        mac(self.lab.network("consumer-a").unwrap(), "eth0").unwrap()
    }
}

#[test]
fn its_interface_is_made_anew_and_then_the_daemon_restarts() {
    let (mut site, daemon) = Site::new();
    let client = site.client();
    site.delete();
    daemon.wait_log("interface pl-consumer-a is gone", PATIENCE).unwrap();
    site.make(&client);
    daemon.wait_log("interface pl-consumer-a is there", PATIENCE).unwrap();
    let home = daemon.home();
    daemon.stop().unwrap();
    let _next = Daemon::start_in(home, &site.lab, &example("overlap.toml"), &[]).unwrap();
    site.gate.open();
    hear(&mut site.stream, b"answer");
}

#[test]
fn its_interface_is_made_anew_while_no_daemon_runs() {
    let (mut site, daemon) = Site::new();
    let (client, home) = (site.client(), daemon.home());
    daemon.stop().unwrap();
    site.delete();
    site.make(&client);
    let _next = Daemon::start_in(home, &site.lab, &example("overlap.toml"), &[]).unwrap();
    site.gate.open();
    hear(&mut site.stream, b"answer");
}
