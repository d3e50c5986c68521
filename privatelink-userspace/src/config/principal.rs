//! Principals: whom a service lets connect.

use std::collections::HashSet;

use super::document::{List, Text};
use super::error::Report;
use super::values::{is_account, items};

/// The accounts that a service's `allowed_principals` name.
pub(super) struct Allowed<'a> {
    everybody: bool,
    accounts: HashSet<&'a str>,
}

impl<'a> Allowed<'a> {
    /// Reads a service's `allowed_principals`, reporting what is none.
    pub(super) fn read(principals: &Option<List<Text<'a>>>, report: &mut Report<'_>) -> Self {
        let mut allowed = Self { everybody: false, accounts: HashSet::new() };
        for principal in items(principals) {
            match account_of(principal.get_ref()) {
                Some("*") => allowed.everybody = true,
                Some(account) => {
                    allowed.accounts.insert(account);
                }
                None => {
                    report.add(
                        principal.span(),
                        "not a principal",
                        "write \"*\" for everybody, or arn:aws:iam::ACCOUNT:root, \
                         …:user/NAME or …:role/NAME with the account's 12 digits",
                    );
                    // It may have been meant for any account: refuse none because of it.
                    allowed.everybody = true;
                }
            }
        }
        allowed
    }

    /// Whether endpoints of this account may be connected.
    pub(super) fn admits(&self, account: &str) -> bool {
        self.everybody || self.accounts.contains(account)
    }
}

/// The ARN that admits all of an account.
pub(super) fn root_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// The account a principal belongs to, or `*`.
///
/// A user or role stands for its account: a vpc has an owner, but packets have no user.
fn account_of(principal: &str) -> Option<&str> {
    if principal == "*" {
        return Some(principal);
    }
    let (account, who) = principal.strip_prefix("arn:aws:iam::")?.split_once(':')?;
    let name = who.strip_prefix("user/").or_else(|| who.strip_prefix("role/"));
    let named = name.is_some_and(|name| {
        // The characters of IAM names and paths (IAM user guide, "IAM identifiers").
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c))
    });
    (is_account(account) && (who == "root" || named)).then_some(account)
}
