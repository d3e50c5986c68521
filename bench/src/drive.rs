//! Drives a program under test over flows, and opens flows in it, by BPF_PROG_TEST_RUN.

use anyhow::{Result, ensure};
use privatelink_common::records::Mac;
use privatelink_tests::Namespace;

use crate::link::Link;
use crate::object::{Object, Run};
use crate::ours::Ours;
use crate::records::{self, Drive, ONWARD, Tuple};
use crate::world::{ACK, Interfaces, SYN};

/// The number under which the object drives privatelink's program.
pub(crate) const OURS: u32 = 2;

/// Flows opened at once.
const AT_ONCE: usize = 1 << 18;

/// One direction of all flows, as the driver sends it.
#[derive(Clone, Copy)]
pub(crate) struct Direction {
    /// What it is called.
    pub(crate) name: &'static str,
    driver: &'static str,
    ingress: Link,
    macs: [Mac; 2],
}

/// What the frames of a driver are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// TCP segments over IPv4.
    Tcp,
    /// UDP datagrams over IPv4.
    Udp,
    /// TCP segments over IPv6.
    TcpOverIpv6,
}

impl Form {
    /// As the driver's programs know it.
    const fn number(self) -> u32 {
        match self {
            Self::Tcp => records::TCP,
            Self::Udp => records::UDP,
            Self::TcpOverIpv6 => records::TCP_OVER_IPV6,
        }
    }

    /// Bytes of a frame: the shortest that has bare headers.
    pub(crate) const fn length(self) -> usize {
        match self {
            Self::Tcp | Self::Udp => 60,
            Self::TcpOverIpv6 => 74,
        }
    }
}

/// The driver, and both directions of what it drives.
pub(crate) struct Driver {
    /// Its programs and maps.
    pub(crate) object: Object,
    /// What its frames are.
    pub(crate) form: Form,
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
        Ok(Self { object, form: Form::Tcp, forward, reverse })
    }

    /// Opens flows by complete handshakes, one for each client, not all at once: on a busy machine the first would have been
    /// half-open for too long.
    pub(crate) fn open(&mut self, clients: &[Tuple]) -> Result<()> {
        let mut answers = Vec::new();
        for some in clients.chunks(AT_ONCE) {
            self.object.set_tuples("FORWARD", some)?;
            self.shake_hands(some.len() as u32)?;
            answers.extend(self.object.tuples("REVERSE")?.into_iter().take(some.len()));
        }
        self.object.set_tuples("FORWARD", clients)?;
        self.object.set_tuples("REVERSE", &answers)
    }

    /// Opens the first flows.
    fn shake_hands(&mut self, flows: u32) -> Result<()> {
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
        let form = self.form.number();
        let drive = Drive { count: flows, program, flags, macs, form, ..Drive::default() };
        self.object.set_drive(drive)?;
        let (ifindex, length) = (direction.ingress.ifindex, self.form.length());
        let run = self.object.run(direction.driver, ifindex, length, packets)?;
        Ok((run, self.object.drive()?))
    }
}

/// Both addresses of a frame, receiver first, as programs write them.
pub(crate) fn words([to, from]: [Mac; 2]) -> [u16; 6] {
    let ([a, b, c], [d, e, f]) = (to.0, from.0);
    [a, b, c, d, e, f]
}
