//! What a router of the provider's says about a client's segments reaches the client's own socket. Needs root.

use std::io::ErrorKind;

use privatelink_tests::{
    Daemon, ENDPOINT, Lab, Topology, connect, echo_targets, example, exchange, greeting, round_trip,
};

/// The provider's host refuses what comes from the load balancer, as a router with a filter does: ICMP
/// "communication administratively prohibited" (RFC 1812, section 5.2.7.1), made by its kernel about what it got.
#[test]
fn a_refusal_by_the_providers_network_ends_the_clients_attempt_at_once() {
    let lab = Lab::new(&Topology::overlap().without_targets()).unwrap();
    let _targets = echo_targets(&lab).unwrap();
    let daemon = Daemon::start(&lab, &example("overlap.toml"), &[]).unwrap();
    let (consumer, provider) =
        (lab.network("consumer-a").unwrap(), lab.network("provider").unwrap());
    let mut live = connect(consumer, None, ENDPOINT).unwrap();
    greeting(&mut live).unwrap();

    // The kernel looks local addresses up before anything else; and only a host that forwards says why it does not.
    provider.sysctl("ipv4/ip_forward", "1").unwrap();
    for rule in
        ["add pref 20 lookup local", "add pref 10 from 10.0.0.10 iif eth0 prohibit", "del pref 0"]
    {
        let words: Vec<_> = ["ip", "rule"].into_iter().chain(rule.split(' ')).collect();
        provider.run(&words).unwrap();
    }
    let refused = connect(consumer, None, ENDPOINT).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{refused}");

    // That attempt is over and nothing else.
    provider.run(&["ip", "rule", "del", "pref", "10"]).unwrap();
    assert_eq!(exchange(&mut live, b"still here").unwrap(), b"still here");
    round_trip(consumer, ENDPOINT).unwrap();
    assert_eq!(daemon.drops("pl-provider", "IcmpNoFlow").unwrap(), 0);
}
