//! Error answers: a code for programs, and words.

use serde::{Deserialize, Serialize};

/// An error answer of the control API, with an HTTP status of 4xx or 5xx; nothing has changed then, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct ErrorBody {
    /// What kind of error.
    pub code: ErrorCode,
    /// What went wrong and what to do, in one line; for a configuration file, one line per mistake.
    pub error: String,
}

impl ErrorBody {
    /// With a text.
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self { code, error: error.into() }
    }
}

/// Kinds of errors, by AWS's names where AWS has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// No such endpoint service.
    #[serde(rename = "InvalidVpcEndpointServiceId.NotFound")]
    ServiceNotFound,
    /// No such endpoint at this service.
    #[serde(rename = "InvalidVpcEndpointId.NotFound")]
    EndpointNotFound,
    /// No such vpc.
    #[serde(rename = "InvalidVpcID.NotFound")]
    VpcNotFound,
    /// No such security group.
    #[serde(rename = "InvalidGroup.NotFound")]
    SecurityGroupNotFound,
    /// No such target group.
    TargetGroupNotFound,
    /// No such load balancer.
    LoadBalancerNotFound,
    /// No such target in the target group.
    #[serde(rename = "InvalidTarget")]
    TargetNotFound,
    /// There is a target group of this name already.
    #[serde(rename = "DuplicateTargetGroupName")]
    DuplicateTargetGroup,
    /// There is a load balancer of this name already.
    #[serde(rename = "DuplicateLoadBalancerName")]
    DuplicateLoadBalancer,
    /// There is a security group of this id already.
    #[serde(rename = "InvalidGroup.Duplicate")]
    DuplicateSecurityGroup,
    /// There is a resource of this id already.
    ResourceAlreadyExists,
    /// The client token was used with another body.
    IdempotentParameterMismatch,
    /// Others refer to it.
    ResourceInUse,
    /// Others refer to it.
    DependencyViolation,
    /// The service has endpoints.
    #[serde(rename = "ExistingVpcEndpointConnections")]
    ExistingConnections,
    /// It is declared in the configuration file, and changed there.
    DeclaredInFile,
    /// A value is not what it must be.
    InvalidParameter,
    /// A value is missing.
    MissingParameter,
    /// Not possible in the state that the resource is in.
    InvalidState,
    /// The body is not JSON, or not of the fields and types that the route takes.
    MalformedBody,
    /// The body is too long.
    BodyTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// No such route.
    UnknownRoute,
    /// The route takes another method.
    MethodNotAllowed,
    /// The configuration file is refused.
    InvalidConfiguration,
    /// The maps, or the flow table, have no room for it.
    ResourceLimitExceeded,
    /// The daemon starts or stops.
    Unavailable,
    /// The daemon has failed.
    InternalFailure,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::ServiceNotFound,
        Self::EndpointNotFound,
        Self::VpcNotFound,
        Self::SecurityGroupNotFound,
        Self::TargetGroupNotFound,
        Self::LoadBalancerNotFound,
        Self::TargetNotFound,
        Self::DuplicateTargetGroup,
        Self::DuplicateLoadBalancer,
        Self::DuplicateSecurityGroup,
        Self::ResourceAlreadyExists,
        Self::IdempotentParameterMismatch,
        Self::ResourceInUse,
        Self::DependencyViolation,
        Self::ExistingConnections,
        Self::DeclaredInFile,
        Self::InvalidParameter,
        Self::MissingParameter,
        Self::InvalidState,
        Self::MalformedBody,
        Self::BodyTooLarge,
        Self::RequestTimeout,
        Self::UnknownRoute,
        Self::MethodNotAllowed,
        Self::InvalidConfiguration,
        Self::ResourceLimitExceeded,
        Self::Unavailable,
        Self::InternalFailure,
    ];

    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidParameter
            | Self::MissingParameter
            | Self::MalformedBody
            | Self::IdempotentParameterMismatch => 400,
            Self::ServiceNotFound
            | Self::EndpointNotFound
            | Self::VpcNotFound
            | Self::SecurityGroupNotFound
            | Self::TargetGroupNotFound
            | Self::LoadBalancerNotFound
            | Self::TargetNotFound
            | Self::UnknownRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::InvalidState
            | Self::ResourceLimitExceeded
            | Self::DuplicateTargetGroup
            | Self::DuplicateLoadBalancer
            | Self::DuplicateSecurityGroup
            | Self::ResourceAlreadyExists
            | Self::ResourceInUse
            | Self::DependencyViolation
            | Self::ExistingConnections
            | Self::DeclaredInFile => 409,
            Self::BodyTooLarge => 413,
            Self::InvalidConfiguration => 422,
            Self::InternalFailure => 500,
            Self::Unavailable => 503,
        }
    }
}
