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

#[test]
fn its_interface_is_made_anew_and_the_daemon_restarts() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let (gateway, consumer) = (lab.gateway(), lab.network("consumer-a").unwrap());
    let gate = Arc::new(Gate::default());
    let _targets = ["10.0.1.10:8080", "10.0.1.11:8081"].map(|address| {
        let gate = Arc::clone(&gate);
        let serve = move |stream, peer| serve(stream, peer, &gate);
        Server::start(lab.network("provider").unwrap(), address.parse().unwrap(), serve).unwrap()
    });
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let mut stream = connect(consumer, None, ENDPOINT).unwrap();
    stream.write_all(b"question").unwrap();
    hear(&mut stream, b"heard");

    let before = mac(consumer, "eth0").unwrap();
    gateway.run(&["ip", "link", "del", "pl-consumer-a"]).unwrap();
    daemon.wait_log("interface pl-consumer-a is gone", PATIENCE).unwrap();
    veth(gateway, "pl-consumer-a", consumer, "eth0").unwrap();
    consumer.run(&["ip", "link", "set", "eth0", "address", &before]).unwrap();
    prepare_for_xdp(gateway, "pl-consumer-a", false).unwrap();
    prepare_for_xdp(consumer, "eth0", true).unwrap();
    add_address(consumer, "eth0", "10.0.2.20/16").unwrap();
    daemon.wait_log("interface pl-consumer-a is there", PATIENCE).unwrap();
    let home = daemon.home();
    daemon.stop().unwrap();
    let _next = Daemon::start_in(home, &lab, &example("overlap.toml"), &[]).unwrap();

    gate.open();
    hear(&mut stream, b"answer");
}
