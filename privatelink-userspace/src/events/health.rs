//! What there is to tell of a target's health.

use crate::api::HealthChange;
use crate::health::{Health, Reason, State, Status};
use crate::model::{Target, TargetGroup};

/// The change of a target's health from one to another: of the state, or of the reason why it is unhealthy.
pub fn health_change(
    group: &TargetGroup,
    target: &Target,
    before: Health,
    status: &Status,
) -> Option<HealthChange> {
    let Health { state, reason } = status.health;
    let is_news = before.state != state || (state == State::Unhealthy && before.reason != reason);
    is_news.then(|| HealthChange {
        target_group: group.name.clone(),
        target: target.end().to_string(),
        before: before.state.name().into(),
        state: state.name().into(),
        reason: reason.map_or("", Reason::code).into(),
        description: status.last_error.clone().unwrap_or_default(),
    })
}
