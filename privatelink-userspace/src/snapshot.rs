//! The model in force at one moment, with its numbers.

use std::collections::HashMap;

use crate::model::{Endpoint, EndpointService, Model, Target, TargetGroup, Vpc};
use crate::numbers::Numbering;

/// A model with its numbers, and the way back from number to resource.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The model.
    pub model: Model,
    /// The numbers of its resources.
    pub numbering: Numbering,
    vpcs: HashMap<u16, usize>,
    endpoints: HashMap<u32, usize>,
    targets: HashMap<u32, (usize, usize)>,
}

impl Snapshot {
    /// Of a model and its numbers.
    pub fn new(model: Model, numbering: Numbering) -> Self {
        let targets = numbering.targets.iter().enumerate().flat_map(|(group, numbers)| {
            numbers.iter().zip(0..).map(move |(&number, target)| (number, (group, target)))
        });
        Self {
            vpcs: numbering.vpcs.iter().copied().zip(0..).collect(),
            endpoints: numbering.endpoints.iter().copied().zip(0..).collect(),
            targets: targets.collect(),
            numbering,
            model,
        }
    }

    /// The vpc with a number.
    pub fn vpc(&self, number: u16) -> Option<&Vpc> {
        self.model.vpcs.get(*self.vpcs.get(&number)?)
    }

    /// The endpoint with a number.
    pub fn endpoint(&self, number: u32) -> Option<&Endpoint> {
        self.model.endpoints.get(*self.endpoints.get(&number)?)
    }

    /// The service of an endpoint.
    pub fn service(&self, endpoint: &Endpoint) -> Option<&EndpointService> {
        self.model.services.get(endpoint.service)
    }

    /// The numbers of all targets in the group of a target.
    pub fn numbers_beside(&self, target: u32) -> Option<&[u32]> {
        let (group, _) = self.targets.get(&target)?;
        self.numbering.targets.get(*group).map(Vec::as_slice)
    }

    /// The target with a number, and its group.
    pub fn target(&self, number: u32) -> Option<(&TargetGroup, &Target)> {
        let &(group, target) = self.targets.get(&number)?;
        let group = self.model.target_groups.get(group)?;
        Some((group, group.targets.get(target)?))
    }
}
