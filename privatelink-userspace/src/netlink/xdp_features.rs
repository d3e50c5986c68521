//! What a device does by XDP, as its driver says: the family `netdev` of generic netlink, since Linux 6.3.

use std::fmt::Debug;
use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla,
    NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};

// linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;
const NETDEV_XDP_ACT_RX_SG: u64 = 32;
const NETDEV_XDP_ACT_NDO_XMIT_SG: u64 = 64;

/// What a device takes to send from XDP of other devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// Nothing.
    Nothing,
    /// Frames of one buffer; or it receives no others.
    OneBuffer,
    /// Frames of several buffers too, as it receives them.
    Any,
}

impl Sends {
    const fn of(features: u64) -> Self {
        const SEVERAL: u64 = NETDEV_XDP_ACT_RX_SG | NETDEV_XDP_ACT_NDO_XMIT_SG;
        match features {
            _ if features & NETDEV_XDP_ACT_NDO_XMIT == 0 => Self::Nothing,
            _ if features & SEVERAL != SEVERAL => Self::OneBuffer,
            _ => Self::Any,
        }
    }
}

/// What a device takes to send from XDP of other devices. Many a driver takes something once it has a program itself, and not
/// before. `None` where the kernel does not tell: it redirects no frame of several buffers then, whichever the driver.
pub fn sends(ifindex: u32) -> Option<Sends> {
    let features = ask(ifindex).inspect_err(|error| {
        log::debug!("the XDP features of interface {ifindex} are unknown: {error}");
    });
    features.ok()?.map(Sends::of)
}

fn ask(ifindex: u32) -> io::Result<Option<u64>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let name = GenlCtrlAttrs::FamilyName(Device::family_name().to_owned());
    let family = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    let family = exchange(&socket, GenlMessage::from_payload(family))?;
    let id = family.nlas.iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    });
    let id = id.ok_or_else(|| io::Error::other("the family has no id"))?;
    let index = DefaultNla::new(NETDEV_A_DEV_IFINDEX, ifindex.to_ne_bytes().to_vec());
    let mut question = GenlMessage::from_payload(Device(vec![index]));
    question.set_resolved_family_id(id);
    let device = exchange(&socket, question)?;
    Ok(device.0.iter().find_map(|attribute| {
        let mut value = [0; 8];
        let found =
            attribute.kind() == NETDEV_A_DEV_XDP_FEATURES && attribute.value_len() == value.len();
        found.then(|| {
            attribute.emit_value(&mut value);
            u64::from_ne_bytes(value)
        })
    }))
}

/// Sends a question and takes its one answer.
fn exchange<F>(socket: &Socket, mut question: GenlMessage<F>) -> io::Result<F>
where
    F: GenlFamily + Emitable + ParseableParametrized<[u8], GenlHeader> + Clone + Debug,
{
    question.finalize();
    let mut question = NetlinkMessage::from(question);
    question.header.flags = NLM_F_REQUEST;
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<GenlMessage<F>>::deserialize(&bytes).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(message) => Ok(message.into_parts().1),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::Error::other("the answer is none")),
    }
}

/// A device, by its attributes.
#[derive(Clone, Debug)]
struct Device(Vec<DefaultNla>);

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        NETDEV_CMD_DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        self.0.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(bytes: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(bytes);
        let attributes = attributes.map(|attribute| DefaultNla::parse(&attribute?));
        attributes.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_sends() {
        for (features, sends) in [
            (0, Sends::Nothing),
            // Everything but sending.
            (0b101_1011, Sends::Nothing),
            (0b000_0111, Sends::OneBuffer),
            (0b010_0111, Sends::OneBuffer),
            (0b100_0111, Sends::OneBuffer),
            (0b110_0111, Sends::Any),
        ] {
            assert_eq!(Sends::of(features), sends, "{features:#b}");
        }
    }
}
