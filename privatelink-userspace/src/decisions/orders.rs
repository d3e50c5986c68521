//! What a provider's orders do to the decisions.

use std::time::SystemTime;

use super::{Connection, Decisions};
use crate::api::{ErrorBody, ErrorCode, Order};
use crate::model::{EndpointService, Model};
use crate::principal::{account_of, admits, not_a_principal, root_arn};
use crate::words;

impl Decisions {
    /// Carries out an order about a service of the model that is declared, to which these decisions have been applied. Returns the endpoints it is about, by their indexes.
    ///
    /// # Errors
    ///
    /// The order is refused as a whole; these decisions are then good for nothing.
    pub fn carry_out(
        &mut self,
        order: &Order,
        service: &str,
        declared: &Model,
        now: SystemTime,
    ) -> Result<Vec<usize>, ErrorBody> {
        let at = At::find(service, declared)?;
        match order {
            Order::Accept(order) => {
                let chosen = at.endpoints(&order.endpoints, &order.principals)?;
                let reason = reason(order.reason.as_deref(), "the provider has accepted it")?;
                let listed = self.listed(at.service);
                if let Some(&shut_out) = chosen.iter().find(|&&e| !admits(&listed, at.account(e))) {
                    return Err(not_admitted(&at, shut_out));
                }
                self.decide(&at, &chosen, true, reason, now);
                Ok(chosen)
            }
            Order::Reject(order) => {
                let chosen = at.endpoints(&order.endpoints, &order.principals)?;
                let reason = reason(order.reason.as_deref(), "the provider has rejected it")?;
                self.decide(&at, &chosen, false, reason, now);
                Ok(chosen)
            }
            Order::Allow(order) => {
                let accounts = some_accounts(&order.principals)?;
                let decided = self.principals.entry(service.to_owned()).or_default();
                for principal in &order.principals {
                    decided.allow(&at.service.allowed_principals, principal);
                }
                Ok(at.of_accounts(&accounts))
            }
            Order::Revoke(order) => {
                let accounts = some_accounts(&order.principals)?;
                let reason =
                    reason(order.reason.as_deref(), "the provider has revoked its principal")?;
                let decided = self.principals.entry(service.to_owned()).or_default();
                for principal in &order.principals {
                    decided.revoke(&at.service.allowed_principals, principal);
                }
                let listed = self.listed(at.service);
                let mut shut_out = at.of_accounts(&accounts);
                shut_out.retain(|&endpoint| !admits(&listed, at.account(endpoint)));
                self.decide(&at, &shut_out, false, reason, now);
                Ok(shut_out)
            }
        }
    }

    fn listed(&self, service: &EndpointService) -> Vec<String> {
        let declared = &service.allowed_principals;
        let decided = self.principals.get(&service.id);
        decided.map_or_else(|| declared.clone(), |decided| decided.listed(declared))
    }

    fn decide(
        &mut self,
        at: &At<'_>,
        endpoints: &[usize],
        accept: bool,
        reason: &str,
        now: SystemTime,
    ) {
        for &index in endpoints {
            let connection = self.connections.entry(at.model.endpoints[index].id.clone());
            let new = || Connection::new(&at.service.id, at.account(index), now);
            connection.or_insert_with(new).decide(accept, reason, now);
        }
    }
}

/// A service of a model.
struct At<'m> {
    model: &'m Model,
    index: usize,
    service: &'m EndpointService,
}

impl<'m> At<'m> {
    fn find(id: &str, model: &'m Model) -> Result<Self, ErrorBody> {
        let found = model.services.iter().enumerate().find(|(_, service)| service.id == id);
        let (index, service) = found.ok_or_else(|| {
            let text = format!("{id}: no such endpoint service; see `privatelink services`");
            ErrorBody::new(ErrorCode::ServiceNotFound, text)
        })?;
        Ok(Self { model, index, service })
    }

    fn account(&self, endpoint: usize) -> &'m str {
        &self.model.vpcs[self.model.endpoints[endpoint].vpc].account
    }

    /// The service's endpoints for which `wanted` says so.
    fn filtered(&self, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let endpoints = self.model.endpoints.iter().enumerate();
        let ours = endpoints.filter(|(_, endpoint)| endpoint.service == self.index);
        ours.map(|(index, _)| index).filter(|&index| wanted(index)).collect()
    }

    fn of_accounts(&self, accounts: &[&str]) -> Vec<usize> {
        self.filtered(|index| accounts.contains(&self.account(index)) || accounts.contains(&"*"))
    }

    /// The endpoints that are named, in the order of the configuration, each once.
    fn endpoints(&self, ids: &[String], principals: &[String]) -> Result<Vec<usize>, ErrorBody> {
        if ids.is_empty() && principals.is_empty() {
            let text = "no endpoint is named: give endpoints, principals or both";
            return Err(ErrorBody::new(ErrorCode::MissingParameter, text));
        }
        let by_account = self.of_accounts(&accounts(principals)?);
        let not_found = |what: String| {
            let text = format!("{what} at {}; see `privatelink connection list`", self.service.id);
            ErrorBody::new(ErrorCode::EndpointNotFound, text)
        };
        for id in ids {
            if self.filtered(|index| self.model.endpoints[index].id == *id).is_empty() {
                return Err(not_found(format!("{id}: no such endpoint")));
            }
        }
        for principal in principals {
            if self.of_accounts(&accounts(std::slice::from_ref(principal))?).is_empty() {
                return Err(not_found(format!("{principal}: no endpoint of this account")));
            }
        }
        Ok(self.filtered(|index| {
            ids.contains(&self.model.endpoints[index].id) || by_account.contains(&index)
        }))
    }
}

fn some_accounts(principals: &[String]) -> Result<Vec<&str>, ErrorBody> {
    if principals.is_empty() {
        let text = "no principal is named: give principals";
        return Err(ErrorBody::new(ErrorCode::MissingParameter, text));
    }
    accounts(principals)
}

fn accounts(principals: &[String]) -> Result<Vec<&str>, ErrorBody> {
    let accounts = principals
        .iter()
        .map(|principal| account_of(principal).ok_or_else(|| not_a_principal(principal)));
    accounts.collect()
}

fn not_admitted(at: &At<'_>, endpoint: usize) -> ErrorBody {
    let (id, account) = (&at.model.endpoints[endpoint].id, at.account(endpoint));
    let text = format!(
        "{id}: {} does not admit account {account}; allow it first: `privatelink service allow {} {}`",
        at.service.id,
        at.service.id,
        root_arn(account),
    );
    ErrorBody::new(ErrorCode::InvalidState, text)
}

fn reason<'r>(given: Option<&'r str>, otherwise: &'r str) -> Result<&'r str, ErrorBody> {
    let Some(given) = given else { return Ok(otherwise) };
    match words::fault(given) {
        None => Ok(given),
        Some(fault) => {
            let text = format!("reason: {fault}; {}", words::FORM);
            Err(ErrorBody::new(ErrorCode::InvalidParameter, text))
        }
    }
}
