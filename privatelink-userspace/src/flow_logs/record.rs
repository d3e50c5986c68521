//! A flow log record, and its two forms.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use privatelink_common::drop_reason::DropReason;
use privatelink_common::ipv4;
use privatelink_common::tcp::{ACK, FIN, RST, SYN};

use super::field::{Field, version};
use super::names::Interface;
use crate::model::LogForm;

/// What went one way in an interval, or was refused in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'n> {
    /// The interface that saw it.
    pub interface: Option<&'n Interface>,
    /// Name of the group of its flow's target.
    pub target_group: Option<&'n str>,
    /// Name of the load balancer of its flow.
    pub load_balancer: Option<&'n str>,
    /// Which way it went.
    pub way: Way,
    /// Sender and receiver, as the interface sees them.
    pub ends: [SocketAddr; 2],
    /// Sender and receiver on the other side of the translation.
    pub translated: Option<[SocketAddr; 2]>,
    /// IP protocol number.
    pub protocol: u8,
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets.
    pub bytes: u64,
    /// TCP flags, as seen.
    pub flags: u8,
    /// Begin and end, seconds since 1970.
    pub time: [u64; 2],
    /// Why it was refused, if it was.
    pub refused: Option<DropReason>,
    /// Handshake times on the consumer's and on the provider's side, microseconds.
    pub rtts: [Option<u32>; 2],
    /// Packets that brought nothing new.
    pub retransmissions: Option<u32>,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the interface.
    Ingress,
    /// From the interface.
    Egress,
}

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'v> {
    Nothing,
    Number(u64),
    Text(&'v str),
    Address(IpAddr),
    Socket(SocketAddr),
}

impl<'v> Value<'v> {
    fn text(text: Option<&'v str>) -> Self {
        text.map_or(Self::Nothing, Self::Text)
    }

    fn number(number: Option<u32>) -> Self {
        number.map_or(Self::Nothing, |number| Self::Number(number.into()))
    }
}

/// AWS's `tcp-flags`: an ACK is told only of a SYN-ACK, which goes to the client.
const fn tcp_flags(way: Way, flags: u8) -> u64 {
    let kept = match way {
        Way::Egress if flags & SYN != 0 => FIN | SYN | RST | ACK,
        _ => FIN | SYN | RST,
    };
    (flags & kept) as u64
}

impl Record<'_> {
    fn value<'v>(&'v self, field: Field, fields: &[Field], region: &'v str) -> Value<'v> {
        let [source, destination] = self.ends;
        let translated = |end: usize| self.translated.map(|ends| ends[end]);
        let address = |end| translated(end).map_or(Value::Nothing, |of| Value::Address(of.ip()));
        let port =
            |end| translated(end).map_or(Value::Nothing, |of| Value::Number(of.port().into()));
        let interface = |of: fn(&Interface) -> &str| Value::text(self.interface.map(of));
        match field {
            Field::Version => Value::Number(version(fields)),
            Field::AccountId => interface(|of| &of.account),
            Field::InterfaceId => interface(|of| &of.id),
            Field::SourceAddress => Value::Address(source.ip()),
            Field::DestinationAddress => Value::Address(destination.ip()),
            Field::SourcePort => Value::Number(source.port().into()),
            Field::DestinationPort => Value::Number(destination.port().into()),
            Field::Protocol => Value::Number(self.protocol.into()),
            Field::Packets => Value::Number(self.packets),
            Field::Bytes => Value::Number(self.bytes),
            Field::Start => Value::Number(self.time[0]),
            Field::End => Value::Number(self.time[1]),
            Field::Action if self.refused.is_some() => Value::Text("REJECT"),
            Field::Action => Value::Text("ACCEPT"),
            Field::LogStatus => Value::Text("OK"),
            Field::VpcId => interface(|of| &of.vpc),
            Field::TcpFlags if self.protocol == ipv4::TCP => {
                Value::Number(tcp_flags(self.way, self.flags))
            }
            Field::TcpFlags => Value::Number(0),
            Field::Type if source.is_ipv4() => Value::Text("IPv4"),
            Field::Type => Value::Text("IPv6"),
            Field::PacketSourceAddress => address(0),
            Field::PacketDestinationAddress => address(1),
            Field::PacketSourcePort => port(0),
            Field::PacketDestinationPort => port(1),
            Field::Region => Value::text(Some(region)),
            Field::ZoneId => interface(|of| &of.zone),
            Field::FlowDirection if self.way == Way::Ingress => Value::Text("ingress"),
            Field::FlowDirection => Value::Text("egress"),
            Field::RejectReason => Value::text(self.refused.map(DropReason::name)),
            Field::EndpointId => Value::text(self.interface.and_then(|of| of.endpoint.as_deref())),
            Field::ServiceId => Value::text(self.interface.and_then(|of| of.service.as_deref())),
            Field::LoadBalancer => Value::text(self.load_balancer),
            Field::TargetGroup => Value::text(self.target_group),
            Field::Target => match self.way {
                Way::Ingress => translated(1),
                Way::Egress => translated(0),
            }
            .map_or(Value::Nothing, Value::Socket),
            Field::Nat => match self.way {
                Way::Ingress => translated(0),
                Way::Egress => translated(1),
            }
            .map_or(Value::Nothing, Value::Socket),
            Field::ConsumerRtt => Value::number(self.rtts[0]),
            Field::ProviderRtt => Value::number(self.rtts[1]),
            Field::Retransmissions => Value::number(self.retransmissions),
            Field::SubnetId
            | Field::InstanceId
            | Field::SublocationType
            | Field::SublocationId
            | Field::PacketSourceService
            | Field::PacketDestinationService
            | Field::TrafficPath => Value::Nothing,
        }
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a line is written and gone, and few are no record")]
pub enum Line<'n> {
    /// A record.
    Record(Record<'n>),
    /// Records of this time are missing, seconds since 1970.
    Skipped([u64; 2]),
}

impl Line<'_> {
    fn value<'v>(&'v self, field: Field, fields: &[Field], region: &'v str) -> Value<'v> {
        match (self, field) {
            (Self::Record(record), _) => record.value(field, fields, region),
            (Self::Skipped(_), Field::Version) => Value::Number(version(fields)),
            (Self::Skipped([start, _]), Field::Start) => Value::Number(*start),
            (Self::Skipped([_, end]), Field::End) => Value::Number(*end),
            (Self::Skipped(_), Field::LogStatus) => Value::Text("SKIPDATA"),
            (Self::Skipped(_), _) => Value::Nothing,
        }
    }

    /// Writes the line, with its end.
    pub fn write(&self, to: &mut String, form: LogForm, fields: &[Field], region: &str) {
        let is_json = form == LogForm::Json;
        for (at, &field) in fields.iter().enumerate() {
            let between = match (is_json, at) {
                (true, 0) => "{",
                (true, _) => ",",
                (false, 0) => "",
                (false, _) => " ",
            };
            to.push_str(between);
            let value = self.value(field, fields, region);
            if is_json {
                write_json(to, field, value);
            } else {
                write_text(to, value);
            }
        }
        to.push_str(if is_json { "}\n" } else { "\n" });
    }
}

/// Names have no spaces, and nothing that JSON would escape.
fn write_text(to: &mut String, value: Value<'_>) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Nothing | Value::Text("") => to.write_char('-'),
        Value::Number(number) => write!(to, "{number}"),
        Value::Text(text) => to.write_str(text),
        Value::Address(address) => write!(to, "{address}"),
        Value::Socket(socket) => write!(to, "{socket}"),
    };
}

fn write_json(to: &mut String, field: Field, value: Value<'_>) {
    let _ = write!(to, "\"{}\":", field.name());
    let _ = match value {
        Value::Nothing => to.write_str("null"),
        Value::Number(number) => write!(to, "{number}"),
        Value::Text(text) => write!(to, "\"{text}\""),
        Value::Address(address) => write!(to, "\"{address}\""),
        Value::Socket(socket) => write!(to, "\"{socket}\""),
    };
}

/// The line that stands at the head of each file: the names of the fields.
pub fn header(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    names.join(" ") + "\n"
}
