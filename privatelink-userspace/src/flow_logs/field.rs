//! What a flow log record can say, by the names that AWS gives it and some of our own.

use std::str::FromStr;

/// Declares the fields: name as in a format, the version of AWS's format it came with (0: ours), and what it is.
macro_rules! fields {
    ($($field:ident = $name:literal, $version:literal, $about:literal;)+) => {
        /// A field of a flow log record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {
            $(#[doc = $about] $field,)+
        }

        impl Field {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$field,)+];

            /// Its name, as in a format.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$field => $name,)+ }
            }

            /// Version of AWS's format that it came with; 0 of those that are ours.
            pub const fn version(self) -> u64 {
                match self { $(Self::$field => $version,)+ }
            }

            /// What it says.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$field => $about,)+ }
            }
        }
    };
}

fields! {
    Version = "version", 2, "highest version of AWS's format that a field of the record is of";
    AccountId = "account-id", 2, "account of the interface's vpc";
    InterfaceId = "interface-id", 2, "the endpoint's, or load balancer's, interface: made of its id and the address's zone";
    SourceAddress = "srcaddr", 2, "sender, as the interface sees it";
    DestinationAddress = "dstaddr", 2, "receiver, as the interface sees it";
    SourcePort = "srcport", 2, "port of the sender";
    DestinationPort = "dstport", 2, "port of the receiver";
    Protocol = "protocol", 2, "IP protocol number";
    Packets = "packets", 2, "packets of this direction in the interval";
    Bytes = "bytes", 2, "bytes of their IP packets, as they arrive";
    Start = "start", 2, "begin of the interval, or of the flow in it; seconds since 1970";
    End = "end", 2, "the last packet; seconds since 1970";
    Action = "action", 2, "ACCEPT or REJECT";
    LogStatus = "log-status", 2, "OK, or SKIPDATA where records are missing";
    VpcId = "vpc-id", 3, "vpc of the interface";
    SubnetId = "subnet-id", 3, "always -: there are no subnets here";
    InstanceId = "instance-id", 3, "always -";
    TcpFlags = "tcp-flags", 3, "FIN 1, SYN 2, RST 4, SYN-ACK 18, as seen for the first time in the interval, or-ed; 0 of UDP";
    Type = "type", 3, "IPv4 or IPv6, as the interface sees it";
    PacketSourceAddress = "pkt-srcaddr", 3, "sender on the other side of the translation: the NAT address, or the target";
    PacketDestinationAddress = "pkt-dstaddr", 3, "receiver on the other side of the translation: the target, or the NAT address";
    Region = "region", 4, "region of the configuration";
    ZoneId = "az-id", 4, "zone of the interface's address";
    SublocationType = "sublocation-type", 4, "always -";
    SublocationId = "sublocation-id", 4, "always -";
    PacketSourceService = "pkt-src-aws-service", 5, "always -";
    PacketDestinationService = "pkt-dst-aws-service", 5, "always -";
    FlowDirection = "flow-direction", 5, "ingress: to the endpoint; egress: to the client";
    TrafficPath = "traffic-path", 5, "always -";
    RejectReason = "reject-reason", 8, "drop reason of a REJECT";
    EndpointId = "endpoint-id", 0, "vpce-…";
    ServiceId = "service-id", 0, "vpce-svc-…";
    LoadBalancer = "load-balancer", 0, "name of the load balancer";
    TargetGroup = "target-group", 0, "name of the target group";
    Target = "target", 0, "address and port of the target";
    Nat = "nat", 0, "NAT address and leased port";
    PacketSourcePort = "pkt-srcport", 0, "port that belongs to pkt-srcaddr";
    PacketDestinationPort = "pkt-dstport", 0, "port that belongs to pkt-dstaddr";
    ConsumerRtt = "consumer-rtt-us", 0, "handshake time on the consumer's side, microseconds; - of UDP";
    ProviderRtt = "provider-rtt-us", 0, "handshake time on the provider's side, microseconds; - of UDP";
    Retransmissions = "retransmissions", 0, "packets of this direction so far that brought nothing new; - of UDP";
}

/// AWS's default format, version 2.
pub const DEFAULT: [Field; 14] = [
    Field::Version,
    Field::AccountId,
    Field::InterfaceId,
    Field::SourceAddress,
    Field::DestinationAddress,
    Field::SourcePort,
    Field::DestinationPort,
    Field::Protocol,
    Field::Packets,
    Field::Bytes,
    Field::Start,
    Field::End,
    Field::Action,
    Field::LogStatus,
];

impl FromStr for Field {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|field| field.name() == name).ok_or(())
    }
}

/// Why a format is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatFault<'f> {
    /// It has no field.
    Empty,
    /// Not of the form `${field}`.
    NotAField(&'f str),
    /// There is no such field.
    Unknown(&'f str),
}

/// The fields of a format such as `${version} ${srcaddr}`: with spaces between.
pub fn parse_format(format: &str) -> Result<Vec<Field>, FormatFault<'_>> {
    let fields = format.split_whitespace().map(|word| {
        let name = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let name = name.ok_or(FormatFault::NotAField(word))?;
        name.parse().map_err(|()| FormatFault::Unknown(name))
    });
    let fields: Vec<Field> = fields.collect::<Result<_, _>>()?;
    if fields.is_empty() { Err(FormatFault::Empty) } else { Ok(fields) }
}

/// Version of AWS's format that these fields make: the highest of theirs, at least 2.
pub(super) fn version(fields: &[Field]) -> u64 {
    fields.iter().map(|field| field.version()).fold(2, u64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let default = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";
        assert_eq!(parse_format(default).unwrap(), DEFAULT);
        let own = parse_format("${endpoint-id}  ${pkt-dstaddr}").unwrap();
        assert_eq!(own, [Field::EndpointId, Field::PacketDestinationAddress]);
        assert_eq!((version(&own), version(&DEFAULT)), (3, 2));
        assert_eq!(parse_format(" "), Err(FormatFault::Empty));
        assert_eq!(parse_format("${version},${end}"), Err(FormatFault::Unknown("version},${end")));
        assert_eq!(parse_format("$version"), Err(FormatFault::NotAField("$version")));
        assert_eq!(parse_format("${srcadr}"), Err(FormatFault::Unknown("srcadr")));
    }

    #[test]
    fn names_are_unique() {
        for field in Field::ALL {
            assert_eq!(field.name().parse(), Ok(*field));
        }
    }
}
