//! Interfaces that go, come back, or leave their slot to another vpc's.

use privatelink_common::tcp::{ACK, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::connection::open;
use crate::scenarios;
use crate::world::{
    Engine, Kernel, Port, ProgramKind, at_client, at_target, drops, expect, flow, flows,
    from_client, from_target,
};

scenarios! {
    /// Slots are few and kernel indexes wrap around them: a flow's word "client behind slot 12" may outlive
    /// the interface that had slot 12. What follows it must not get a stranger's packets.
    fn a_clients_slot_that_another_vpc_got_is_gone(engine) {
        let opened = open(engine);
        engine.hand_over(Port::A, Port::B);
        let answer = from_target(&opened, SYN | ACK, b"for a only");
        assert_eq!(engine.receive(Port::Provider, &answer.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::Provider), [("InterfaceGone", 1)]);
        assert_eq!(flow(engine).reverse.packets, 0);
    }

    fn a_targets_slot_that_another_vpc_got_is_gone(engine) {
        open(engine);
        engine.hand_over(Port::Provider, Port::B);
        let more = from_client(Port::A, 40_000, ACK).with_payload(b"for the provider only");
        assert_eq!(engine.receive(Port::A, &more.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("InterfaceGone", 1)]);
        assert_eq!(flow(engine).forward.packets, 1);
    }

    fn no_flow_is_opened_towards_an_interface_that_is_gone(engine) {
        engine.detach(Port::Provider);
        let syn = from_client(Port::A, 40_000, SYN);
        assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Drop);
        assert_eq!(drops(engine, Port::A), [("InterfaceGone", 1)]);
        assert_eq!(flows(engine).len(), 0);
    }

    fn flows_go_on_when_the_interface_is_back(engine) {
        let opened = open(engine);
        engine.hand_over(Port::A, Port::B);
        engine.hand_over(Port::A, Port::A);
        let answer = from_target(&opened, SYN | ACK, b"back");
        expect(engine, Port::Provider, &answer, &at_client(&answer, Port::A, 40_000));
        let more = from_client(Port::A, 40_000, ACK).with_payload(b"and on");
        expect(engine, Port::A, &more, &at_target(&more, &opened));
    }
}

/// The kernel takes a deleted device out of the device map before the daemon hears of it.
#[test]
fn a_device_deleted_under_our_feet() {
    Kernel::run(ProgramKind::Xdp, &|text| text, |kernel| {
        let opened = open(kernel);
        let answer = from_target(&opened, SYN | ACK, &[]).bytes();
        assert_eq!(kernel.receive(Port::Provider, &answer).verdict, Verdict::Redirect);
        kernel.delete_device(Port::A);
        assert_eq!(kernel.receive(Port::Provider, &answer).verdict, Verdict::Drop);
        assert_eq!(drops(kernel, Port::A), [("InterfaceGone", 1)]);
    });
}
