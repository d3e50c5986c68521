//! From the tables of the file to the [`Model`]: what is common to provider and consumer side.
//!
//! A mistake is reported and the work goes on with whatever stands for the missing value, so that
//! the mistakes behind it are found too. Such a model never leaves this module.

use privatelink_common::limits::{
    MAX_ADDRESSES, MAX_ENDPOINTS, MAX_INTERFACES, MAX_LOAD_BALANCERS, MAX_POOLS, MAX_TARGETS,
    MAX_VPCS,
};
use toml::de::DeTable;

use super::addresses::Addresses;
use super::consumer;
use super::document::{Placed, Text};
use super::error::{Errors, Parts, Report};
use super::events;
use super::file::File;
use super::names::{Form, Names};
use super::tags::check_tags;
use super::values::{at_most, items};
use super::vpcs;
use super::{Host, flow_limits, listen, logs, provider, usage};
use crate::contents::zones;
use crate::model::Model;

/// What the parts of the file are checked against, besides the model built so far.
pub(super) struct Scope<'a> {
    /// The region, if it is a valid one.
    pub(super) region: Option<&'a str>,
    /// Names of the vpcs.
    pub(super) vpcs: Names<'a>,
    /// Names of the target groups.
    pub(super) target_groups: Names<'a>,
    /// Names of the load balancers.
    pub(super) load_balancers: Names<'a>,
    /// Ids of the endpoint services.
    pub(super) services: Names<'a>,
    /// Ids of the security groups.
    pub(super) security_groups: Names<'a>,
    /// Who holds which address.
    pub(super) addresses: Addresses<'a>,
}

/// Reads a configuration; `has` says what there is on this host.
pub(super) fn check(text: &str, parts: Parts<'_>, has: Host<'_>) -> Result<Model, Errors> {
    let mut report = Report::new(parts, text);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let span = error.span().unwrap_or(text.len()..text.len());
            let cause = format!("not valid TOML: {}", error.message());
            report.add(span, cause, "correct it as https://toml.io says");
            return report.finish(Model::default());
        }
    };
    let file = File::from_document(document.get_ref(), &mut report);
    let model = resolve(&file, has, &mut report);
    report.finish(model)
}

fn resolve(file: &File<'_>, has: Host<'_>, report: &mut Report<'_>) -> Model {
    let mut scope = scope(file, report);
    let mut model = Model {
        region: scope.region.unwrap_or_default().to_owned(),
        flow_capacity: flow_limits::capacity(file, report),
        metrics: listen::metrics(file, report),
        web: listen::web(file, report),
        webhook: events::webhook(file, has, report),
        flow_logs: logs::flow_logs(file, has, report),
        access_log: logs::access_log(file, has, report),
        usage: usage::terms(file, report),
        vpcs: vpcs::vpcs(file, has, report),
        ..Model::default()
    };
    model.wide_flow_capacity = flow_limits::wide_capacity(file, &model, report);
    model.target_groups = provider::target_groups(file, &mut scope, &model.vpcs, report);
    model.load_balancers = provider::load_balancers(file, &mut scope, &model, report);
    model.services = provider::services(file, &scope, &model, report);
    model.endpoints = consumer::endpoints(file, &mut scope, &model, report);
    check_tags(file, report);
    limits(file, &model, report);
    model
}

fn scope<'a>(file: &File<'a>, report: &mut Report<'_>) -> Scope<'a> {
    let name = ("name", Form::Name);
    Scope {
        region: region(file.region.as_ref(), report),
        vpcs: Names::collect(
            "vpc",
            "[[vpc]]",
            ("id", Form::Name),
            items(&file.vpc).iter().map(|vpc| &vpc.id),
            report,
        ),
        target_groups: Names::collect(
            "target group",
            "[[target_group]]",
            name,
            items(&file.target_group).iter().map(|group| &group.name),
            report,
        ),
        load_balancers: Names::collect(
            "load balancer",
            "[[load_balancer]]",
            name,
            items(&file.load_balancer).iter().map(|balancer| &balancer.name),
            report,
        ),
        services: Names::collect(
            "endpoint service",
            "[[endpoint_service]]",
            ("id", Form::Id("vpce-svc-")),
            items(&file.endpoint_service).iter().map(|service| &service.id),
            report,
        ),
        security_groups: Names::collect(
            "security group",
            "[[security_group]]",
            ("id", Form::HyphenId("sg-")),
            items(&file.security_group).iter().map(|group| &group.id),
            report,
        ),
        addresses: Addresses::default(),
    }
}

fn region<'a>(text: Option<&Text<'a>>, report: &mut Report<'_>) -> Option<&'a str> {
    let text = text?;
    let region = *text.get_ref();
    // No dot: a service name has the region between two dots.
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !region.is_empty() && region.chars().all(right) {
        return Some(region);
    }
    let remedy = "use lower-case letters, digits and '-', e.g. us-east-1";
    report.add(text.span(), "not a valid region", remedy);
    None
}

fn limits(file: &File<'_>, model: &Model, report: &mut Report<'_>) {
    let vpcs = items(&file.vpc);
    let interfaces = vpcs.iter().flat_map(|vpc| items(&vpc.interfaces));
    let groups = items(&file.target_group);
    let targets = groups.iter().flat_map(|group| items(&group.targets));
    let balancers = items(&file.load_balancer);
    let endpoints = items(&file.endpoint);
    let nat = balancers.iter().flat_map(|balancer| items(&balancer.addresses)).map(Placed::span);
    let consumer = endpoints.iter().flat_map(|endpoint| items(&endpoint.addresses));
    let addresses = nat.chain(consumer.map(Placed::span));
    at_most(MAX_VPCS, "vpcs", vpcs.iter().map(Placed::span), report);
    at_most(MAX_INTERFACES, "interfaces", interfaces.map(Placed::span), report);
    let pools = zones::pools(model).into_iter().filter_map(|pool| groups.get(pool.group));
    let faces =
        zones::faces(model).into_iter().filter_map(|face| balancers.get(face.load_balancer));
    at_most(MAX_POOLS, "target groups and zones of theirs", pools.map(Placed::span), report);
    at_most(
        MAX_LOAD_BALANCERS,
        "load balancers and zones of theirs",
        faces.map(Placed::span),
        report,
    );
    at_most(MAX_TARGETS, "targets", targets.map(Placed::span), report);
    at_most(MAX_ENDPOINTS, "endpoints", endpoints.iter().map(Placed::span), report);
    at_most(MAX_ADDRESSES, "addresses of load balancers and endpoints", addresses, report);
}
