//! Drives a program under test over flows, and opens flows in it, by BPF_PROG_TEST_RUN.

use anyhow::{Result, ensure};
use privatelink_common::records::Mac;
use privatelink_tests::Namespace;

use crate::link::Link;
use crate::object::{Object, Run};
use crate::ours::Ours;
use crate::records::{Drive, ONWARD, Tuple};
use crate::world::{ACK, Interfaces, SYN};

/// The number under which the object drives privatelink's program.
pub(crate) const OURS: u32 = 2;

/// One direction of all flows, as the driver sends it.
#[derive(Clone, Copy)]
pub(crate) struct Direction {
    /// What it is called.
    pub(crate) name: &'static str,
    driver: &'static str,
    ingress: Link,
    macs: [Mac; 2],
}

/// The driver, and both directions of what it drives.
pub(crate) struct Driver {
    /// Its programs and maps.
    pub(crate) object: Object,
    /// From client to target.
    pub(crate) forward: Direction,
    /// From target to client.
    pub(crate) reverse: Direction,
}

impl Driver {
    /// Drives the program that is attached to the interfaces, with room for so many flows, and so many entries of the
    /// NAT compared with. To be used on a thread inside the gateway's namespace.
    pub(crate) fn new(
        gateway: &Namespace,
        interfaces: &Interfaces,
        flows: u32,
        nat: u32,
    ) -> Result<Self> {
        let [consumer, provider] =
            [Link::of(gateway, &interfaces.consumer)?, Link::of(gateway, &interfaces.provider)?];
        let forward = Direction {
            name: "client to target",
            driver: "forward",
            ingress: consumer,
            macs: [consumer.mac, Ours::CLIENT],
        };
        let reverse = Direction {
            name: "target to client",
            driver: "reverse",
            ingress: provider,
            macs: [provider.mac, Ours::TARGET],
        };
        let mut object = Object::load(flows, nat)?;
        object.set_device(ONWARD, provider.ifindex)?;
        object.set_program(OURS, &consumer.program()?)?;
        Ok(Self { object, forward, reverse })
    }

    /// Opens flows by complete handshakes, one for each client.
    pub(crate) fn open(&mut self, clients: &[Tuple]) -> Result<()> {
        let flows = clients.len() as u32;
        self.object.set_tuples("FORWARD", clients)?;
        let opening = Direction { driver: "open", ..self.forward };
        for (direction, flags) in [(opening, SYN), (self.reverse, SYN | ACK), (self.forward, ACK)] {
            // A frame is looked at by the next run, so one more run for the last frame.
            let drive = self.run(&direction, flows, flows + 1, OURS, flags)?.1;
            let (name, forwarded) = (direction.name, drive.forwarded);
            ensure!(
                forwarded == u64::from(flows),
                "{name}, flags {flags:#x}: only {forwarded} were forwarded"
            );
        }
        Ok(())
    }

    /// Sends so many packets of the first `flows` flows, in turn.
    pub(crate) fn run(
        &mut self,
        direction: &Direction,
        flows: u32,
        packets: u32,
        program: u32,
        flags: u32,
    ) -> Result<(Run, Drive)> {
        let macs = words(direction.macs);
        self.object.set_drive(Drive { count: flows, program, flags, macs, ..Drive::default() })?;
        let run = self.object.run(direction.driver, direction.ingress.ifindex, packets)?;
        Ok((run, self.object.drive()?))
    }
}

/// Both addresses of a frame, receiver first, as programs write them.
pub(crate) fn words([to, from]: [Mac; 2]) -> [u16; 6] {
    let ([a, b, c], [d, e, f]) = (to.0, from.0);
    [a, b, c, d, e, f]
}
