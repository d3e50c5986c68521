//! What can be asked of a daemon: a route, what is sent there, and the type of the answer.

use std::marker::PhantomData;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;

use super::Settings;
use crate::api::{
    CaptureEnded, CaptureQuery, ConnectionQuery, ConnectionRow, DeleteQuery, Deleted, DropRow,
    EndpointRow, Event, EventQuery, FlowQuery, FlowRow, Interval, Order, Ordered, PlanRow,
    Registered, Reloaded, ResourceBody, ServiceQuery, ServiceRow, Status, TargetRow, Totals,
    TraceLine, UsageQuery, UsageRow,
};
use crate::resources::ResourceKind;

/// A question that is answered with a `T`.
#[derive(Clone, Debug)]
pub struct Question<T> {
    method: Method,
    target: String,
    body: Vec<u8>,
    takes: Duration,
    answer: PhantomData<fn() -> T>,
}

impl<T> Question<T> {
    fn get(target: impl Into<String>) -> Self {
        let target = target.into();
        let takes = Duration::ZERO;
        Self { method: Method::GET, target, body: Vec::new(), takes, answer: PhantomData }
    }

    fn post(target: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: Method::POST, body, ..Self::get(target) }
    }

    /// Method of the request.
    pub(super) const fn method(&self) -> &Method {
        &self.method
    }

    /// Body of the request.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// How long the daemon takes its time over the answer.
    pub(super) const fn takes(&self) -> Duration {
        self.takes
    }

    /// Path and query of the request.
    pub(super) fn target(&self) -> &str {
        &self.target
    }
}

impl Question<Status> {
    /// State of the daemon and its interfaces.
    pub fn status() -> Self {
        Self::get("/v1/status")
    }
}

impl Question<Totals> {
    /// Counters and gauges of everything.
    pub fn totals() -> Self {
        Self::get("/v1/totals")
    }
}

impl Question<Vec<ServiceRow>> {
    /// The endpoint services that the query asks for.
    pub fn services(query: &ServiceQuery) -> Self {
        Self::get(with_query("/v1/services", query))
    }
}

impl Question<Vec<EndpointRow>> {
    /// Every endpoint.
    pub fn endpoints() -> Self {
        Self::get("/v1/endpoints")
    }
}

impl Question<Vec<ConnectionRow>> {
    /// The endpoints that the query asks for, as the owners of their services see them.
    pub fn connections(query: &ConnectionQuery) -> Self {
        Self::get(with_query("/v1/connections", query))
    }
}

impl Question<Vec<PlanRow>> {
    /// What a reload would change.
    pub fn plan() -> Self {
        Self::get("/v1/plan")
    }
}

impl Question<Ordered> {
    /// To carry out an order about a service.
    pub fn order(service: &str, order: &Order) -> Self {
        let mut target = "/v1/services/".to_owned();
        percent_encode(service, &mut target);
        target.push('/');
        target.push_str(order.verb());
        // Cannot fail: strings and booleans.
        Self::post(target, serde_json::to_vec(order).unwrap_or_default())
    }
}

impl Question<Reloaded> {
    /// To put the configuration file in force anew.
    pub fn reload() -> Self {
        Self::post("/v1/reload", Vec::new())
    }
}

impl Question<Vec<ResourceBody>> {
    /// Every resource of a kind.
    pub fn described(kind: ResourceKind) -> Self {
        Self::get(format!("/v1/{}", kind.route()))
    }
}

impl Question<ResourceBody> {
    /// One resource.
    pub fn describe(kind: ResourceKind, id: &str) -> Self {
        Self::get(one(kind, id))
    }

    /// To make a resource.
    pub fn make(kind: ResourceKind, request: &Settings) -> Self {
        Self::post(format!("/v1/{}", kind.route()), json(request))
    }

    /// To change keys of a resource.
    pub fn modify(kind: ResourceKind, id: &str, changes: &Settings) -> Self {
        Self { method: Method::PATCH, ..Self::post(one(kind, id), json(changes)) }
    }
}

impl Question<Deleted> {
    /// To delete a resource.
    pub fn delete(kind: ResourceKind, id: &str, query: DeleteQuery) -> Self {
        Self { method: Method::DELETE, ..Self::get(with_query(&one(kind, id), &query)) }
    }
}

impl Question<Registered> {
    /// To register a target with a target group.
    pub fn register(group: &str, target: Settings) -> Self {
        Self::targets_of(group, "register", target)
    }

    /// To deregister a target from a target group.
    pub fn deregister(group: &str, target: Settings) -> Self {
        Self::targets_of(group, "deregister", target)
    }

    fn targets_of(group: &str, verb: &str, target: Settings) -> Self {
        let route = format!("{}/{verb}", one(ResourceKind::TargetGroup, group));
        let targets = serde_json::Value::from(vec![serde_json::Value::Object(target)]);
        Self::post(route, json(&std::iter::once(("targets".to_owned(), targets)).collect()))
    }
}

/// The route of one resource.
fn one(kind: ResourceKind, id: &str) -> String {
    let mut route = format!("/v1/{}/", kind.route());
    percent_encode(id, &mut route);
    route
}

fn json(object: &Settings) -> Vec<u8> {
    // Cannot fail: what was JSON before.
    serde_json::to_vec(object).unwrap_or_default()
}

impl Question<Vec<TargetRow>> {
    /// Every target of every target group.
    pub fn targets() -> Self {
        Self::get("/v1/targets")
    }
}

impl Question<Vec<FlowRow<'static>>> {
    /// The flows the query asks for, in its order.
    pub fn flows(query: &FlowQuery) -> Self {
        let takes = query.interval().map_or(Duration::ZERO, Interval::duration);
        Self { takes, ..Self::get(with_query("/v1/flows", query)) }
    }
}

impl Question<Vec<DropRow>> {
    /// Drops by interface and reason.
    pub fn drops() -> Self {
        Self::get("/v1/drops")
    }
}

impl Question<Vec<UsageRow>> {
    /// The usage that the query asks for.
    pub fn usage(query: &UsageQuery) -> Self {
        Self::get(with_query("/v1/usage", query))
    }
}

impl Question<Event> {
    /// What has happened, and what happens.
    pub fn events(query: &EventQuery) -> Self {
        Self::get(with_query("/v1/events", query))
    }
}

impl Question<Vec<u8>> {
    /// Packets as a pcapng file.
    pub fn capture(query: &CaptureQuery) -> Self {
        Self::get(with_query("/v1/capture", query))
    }
}

impl Question<TraceLine> {
    /// Packets as lines.
    pub fn trace(query: &CaptureQuery) -> Self {
        Self::get(with_query("/v1/trace", query))
    }
}

impl Question<CaptureEnded> {
    /// To end the capture that runs.
    pub fn end_capture() -> Self {
        Self { method: Method::DELETE, ..Self::get("/v1/capture") }
    }
}

/// Appends the fields of `query` that are set.
fn with_query(route: &str, query: &impl Serialize) -> String {
    let mut target = route.to_owned();
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) else {
        return target;
    };
    for (index, (name, value)) in fields.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        match value {
            serde_json::Value::String(text) => percent_encode(text, &mut target),
            other => percent_encode(&other.to_string(), &mut target),
        }
    }
    target
}

/// Leaves only the unreserved characters of RFC 3986 section 2.3 as they are.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FlowSort;

    #[test]
    fn only_the_set_fields_go_into_the_query() {
        let query = |query: &FlowQuery| with_query("/v1/flows", query);
        assert_eq!(query(&FlowQuery::default()), "/v1/flows");
        let endpoint = FlowQuery { endpoint: Some("vpce-1".into()), ..FlowQuery::default() };
        assert_eq!(query(&endpoint), "/v1/flows?endpoint=vpce-1");
        let two = FlowQuery { sort: Some(FlowSort::Bytes), limit: Some(5), ..FlowQuery::default() };
        assert_eq!(query(&two), "/v1/flows?limit=5&sort=bytes");
    }

    #[test]
    fn measuring_rates_takes_its_time() {
        let minute = Interval::try_from(60_000).ok();
        let rates = FlowQuery { rate_ms: minute, ..FlowQuery::default() };
        assert_eq!(Question::flows(&rates).takes(), Duration::from_secs(60));
        assert_eq!(Question::flows(&FlowQuery::default()).takes(), Duration::ZERO);
    }

    #[test]
    fn what_has_a_meaning_in_a_query_is_encoded() {
        let odd = FlowQuery { vpc: Some("a&b=c d+%/ü".into()), ..FlowQuery::default() };
        assert_eq!(with_query("/v1/flows", &odd), "/v1/flows?vpc=a%26b%3Dc%20d%2B%25%2F%C3%BC");
    }
}
