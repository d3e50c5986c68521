//! The routes of resources: to make, describe, change and delete them.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, patch, post};

use super::change::{Asked, Outcome, change, parse, parse_none};
use super::routes::{Route, Shared, listing, refuse, shown};
use super::{Gateway, GatewayError};
use crate::api::{DeleteQuery, ErrorCode};
use crate::resources::ResourceKind;

/// The routes of every kind of resource.
pub(super) fn routes() -> Vec<Route> {
    use ResourceKind::{Endpoint, LoadBalancer, SecurityGroup, Service, TargetGroup};
    let mut routes = vec![
        (Method::GET, "/v1/target-groups", list(TargetGroup)),
        (Method::GET, "/v1/load-balancers", list(LoadBalancer)),
        (Method::GET, "/v1/security-groups", list(SecurityGroup)),
        (Method::POST, "/v1/target-groups/{id}/register", register()),
        (Method::POST, "/v1/target-groups/{id}/deregister", deregister()),
    ];
    for (kind, all, one) in [
        (TargetGroup, "/v1/target-groups", "/v1/target-groups/{id}"),
        (LoadBalancer, "/v1/load-balancers", "/v1/load-balancers/{id}"),
        (Service, "/v1/services", "/v1/services/{id}"),
        (SecurityGroup, "/v1/security-groups", "/v1/security-groups/{id}"),
        (Endpoint, "/v1/endpoints", "/v1/endpoints/{id}"),
    ] {
        routes.extend([
            (Method::POST, all, make(kind)),
            (Method::GET, one, describe(kind)),
            (Method::PATCH, one, modify(kind)),
            (Method::DELETE, one, remove(kind)),
        ]);
    }
    routes
}

const NOTHING_CUT: Outcome = Outcome { flows_cut: 0, dry_run: false };

fn list(kind: ResourceKind) -> MethodRouter<Shared> {
    listing(move |gateway: &dyn Gateway| gateway.described(kind))
}

fn describe(kind: ResourceKind) -> MethodRouter<Shared> {
    get(async move |State(gateway): State<Shared>, Path(id): Path<String>| {
        shown(gateway, move |gateway| gateway.describe(&(kind, id))).await
    })
}

fn make(kind: ResourceKind) -> MethodRouter<Shared> {
    post(async move |State(gateway): State<Shared>, asked: Asked| {
        change(gateway, asked, move |gateway, body| {
            Ok((gateway.make(kind, parse(body)?)?, NOTHING_CUT))
        })
        .await
    })
}

fn modify(kind: ResourceKind) -> MethodRouter<Shared> {
    patch(async move |State(gateway): State<Shared>, Path(id): Path<String>, asked: Asked| {
        change(gateway, asked, move |gateway, body| {
            Ok((gateway.modify(&(kind, id), parse(body)?)?, NOTHING_CUT))
        })
        .await
    })
}

fn remove(kind: ResourceKind) -> MethodRouter<Shared> {
    delete(
        async move |State(gateway): State<Shared>,
                    Path(id): Path<String>,
                    query: Result<Query<DeleteQuery>, QueryRejection>,
                    asked: Asked| {
            let query = match query {
                Ok(Query(query)) => query,
                Err(rejection) => {
                    return refuse(ErrorCode::InvalidParameter, rejection.body_text());
                }
            };
            change(gateway, asked, move |gateway, body| {
                parse_none(body)?;
                let deleted = gateway.delete(&(kind, id), query)?;
                let outcome = Outcome { flows_cut: deleted.flows_cut, dry_run: query.dry_run };
                Ok((deleted, outcome))
            })
            .await
        },
    )
}

fn register() -> MethodRouter<Shared> {
    post(async move |State(gateway): State<Shared>, Path(id): Path<String>, asked: Asked| {
        change(gateway, asked, move |gateway, body| {
            Ok((gateway.register(&id, parse(body)?)?, NOTHING_CUT))
        })
        .await
    })
}

fn deregister() -> MethodRouter<Shared> {
    post(async move |State(gateway): State<Shared>, Path(id): Path<String>, asked: Asked| {
        change(gateway, asked, move |gateway, body| -> Result<_, GatewayError> {
            Ok((gateway.deregister(&id, &parse(body)?)?, NOTHING_CUT))
        })
        .await
    })
}
