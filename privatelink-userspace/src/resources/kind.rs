//! Kinds of resources, and how they refer to each other.

use serde_json::{Map, Value};

use crate::api::ErrorCode;

/// A kind of resource that the control API can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `[[target_group]]`.
    TargetGroup,
    /// `[[load_balancer]]`.
    LoadBalancer,
    /// `[[endpoint_service]]`.
    Service,
    /// `[[security_group]]`.
    SecurityGroup,
    /// `[[endpoint]]`.
    Endpoint,
}

/// What a resource refers to: which resource, or `Err` with the id of a vpc.
pub type Reference = Result<(ResourceKind, String), String>;

impl ResourceKind {
    /// All of them, each after those that it may refer to.
    pub const ALL: [Self; 5] =
        [Self::TargetGroup, Self::LoadBalancer, Self::Service, Self::SecurityGroup, Self::Endpoint];

    /// The table that it is in the configuration.
    pub const fn table(self) -> &'static str {
        match self {
            Self::TargetGroup => "target_group",
            Self::LoadBalancer => "load_balancer",
            Self::Service => "endpoint_service",
            Self::SecurityGroup => "security_group",
            Self::Endpoint => "endpoint",
        }
    }

    /// The kind that a table of the configuration is.
    pub fn of_table(table: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.table() == table)
    }

    /// Its routes' first part.
    pub const fn route(self) -> &'static str {
        match self {
            Self::TargetGroup => "target-groups",
            Self::LoadBalancer => "load-balancers",
            Self::Service => "services",
            Self::SecurityGroup => "security-groups",
            Self::Endpoint => "endpoints",
        }
    }

    /// Its name in words.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::TargetGroup => "target group",
            Self::LoadBalancer => "load balancer",
            Self::Service => "endpoint service",
            Self::SecurityGroup => "security group",
            Self::Endpoint => "endpoint",
        }
    }

    /// The command that lists all of them.
    pub const fn listing(self) -> &'static str {
        match self {
            Self::TargetGroup => "`privatelink target-group list`",
            Self::LoadBalancer => "`privatelink load-balancer list`",
            Self::Service => "`privatelink services`",
            Self::SecurityGroup => "`privatelink security-group list`",
            Self::Endpoint => "`privatelink endpoints`",
        }
    }

    /// The key that tells one from the others.
    pub const fn key(self) -> &'static str {
        match self {
            Self::TargetGroup | Self::LoadBalancer => "name",
            Self::Service | Self::SecurityGroup | Self::Endpoint => "id",
        }
    }

    /// How an id begins that is made up; names are not.
    pub const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::TargetGroup | Self::LoadBalancer => None,
            Self::Service => Some("vpce-svc-"),
            Self::SecurityGroup => Some("sg-"),
            Self::Endpoint => Some("vpce-"),
        }
    }

    /// That there is none.
    pub const fn not_found(self) -> ErrorCode {
        match self {
            Self::TargetGroup => ErrorCode::TargetGroupNotFound,
            Self::LoadBalancer => ErrorCode::LoadBalancerNotFound,
            Self::Service => ErrorCode::ServiceNotFound,
            Self::SecurityGroup => ErrorCode::SecurityGroupNotFound,
            Self::Endpoint => ErrorCode::EndpointNotFound,
        }
    }

    /// That there is one already.
    pub const fn duplicate(self) -> ErrorCode {
        match self {
            Self::TargetGroup => ErrorCode::DuplicateTargetGroup,
            Self::LoadBalancer => ErrorCode::DuplicateLoadBalancer,
            Self::SecurityGroup => ErrorCode::DuplicateSecurityGroup,
            Self::Service | Self::Endpoint => ErrorCode::ResourceAlreadyExists,
        }
    }

    /// That others refer to one.
    pub const fn in_use(self) -> ErrorCode {
        match self {
            Self::TargetGroup | Self::LoadBalancer => ErrorCode::ResourceInUse,
            Self::Service => ErrorCode::ExistingConnections,
            Self::SecurityGroup | Self::Endpoint => ErrorCode::DependencyViolation,
        }
    }

    /// What a resource of this kind refers to.
    pub fn references(self, settings: &Map<String, Value>) -> Vec<Reference> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let vpc = settings.get("vpc").and_then(text).map(Err);
        let listed = |key: &str| settings.get(key).and_then(Value::as_array).into_iter().flatten();
        let (kind, names): (_, Vec<String>) = match self {
            Self::TargetGroup | Self::SecurityGroup => return vpc.into_iter().collect(),
            Self::LoadBalancer => {
                let groups = listed("listener").filter_map(|listener| listener.get("target_group"));
                (Self::TargetGroup, groups.filter_map(text).collect())
            }
            Self::Service => {
                (Self::LoadBalancer, listed("load_balancers").filter_map(text).collect())
            }
            Self::Endpoint => {
                (Self::SecurityGroup, listed("security_groups").filter_map(text).collect())
            }
        };
        let service = settings.get("service").and_then(text).filter(|_| self == Self::Endpoint);
        // By its id, or by the name that ends in it.
        let service = service.map(|name| Ok((Self::Service, after_dots(&name).to_owned())));
        vpc.into_iter()
            .chain(names.into_iter().map(|name| Ok((kind, name))))
            .chain(service)
            .collect()
    }
}

fn after_dots(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_kind_refers_to() {
        use ResourceKind as K;
        let found = |kind: K, settings: &str| -> Vec<Reference> {
            kind.references(&serde_json::from_str(settings).unwrap())
        };
        let to = |kind: K, id: &str| -> Reference { Ok((kind, id.to_owned())) };
        let vpc = || -> Reference { Err("v".to_owned()) };
        assert_eq!(found(K::TargetGroup, r#"{"name":"web","vpc":"v"}"#), [vpc()]);
        assert_eq!(found(K::SecurityGroup, r#"{"vpc":"v"}"#), [vpc()]);
        assert_eq!(
            found(K::LoadBalancer, r#"{"vpc":"v","listener":[{"target_group":"web"},{}]}"#),
            [vpc(), to(K::TargetGroup, "web")]
        );
        assert_eq!(
            found(K::Service, r#"{"load_balancers":["a","b"]}"#),
            [to(K::LoadBalancer, "a"), to(K::LoadBalancer, "b")]
        );
        let service = "com.amazonaws.vpce.us-east-1.vpce-svc-1";
        assert_eq!(
            found(
                K::Endpoint,
                &format!(r#"{{"vpc":"v","service":"{service}","security_groups":["sg-a"]}}"#)
            ),
            [vpc(), to(K::SecurityGroup, "sg-a"), to(K::Service, "vpce-svc-1")]
        );
        assert_eq!(found(K::Endpoint, r#"{"vpc":1,"service":["x"],"security_groups":"sg"}"#), []);
    }
}
