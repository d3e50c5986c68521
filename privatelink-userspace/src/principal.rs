//! Principals: whom a service lets connect, by ARN.

use crate::api::{ErrorBody, ErrorCode};

/// The account a principal belongs to, or `*`; `None` if it is no principal.
///
/// A user or role stands for its account: a vpc has an owner, but packets have no user.
pub fn account_of(principal: &str) -> Option<&str> {
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

/// Whether `text` is an account number: 12 digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The ARN that admits all of an account.
pub fn root_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// Whether one of these principals is the account's, or everybody.
pub fn admits<'p>(principals: impl IntoIterator<Item = &'p String>, account: &str) -> bool {
    let mut accounts = principals.into_iter().filter_map(|principal| account_of(principal));
    accounts.any(|of| of == "*" || of == account)
}

/// The answer to whoever names something else.
pub fn not_a_principal(text: &str) -> ErrorBody {
    let text = format!("\"{}\": not a principal; {FORM}", text.escape_debug());
    ErrorBody::new(ErrorCode::InvalidParameter, text)
}

/// What a principal looks like, for those who wrote something else.
pub const FORM: &str = "write \"*\" for everybody, or arn:aws:iam::ACCOUNT:root, \
                        …:user/NAME or …:role/NAME with the account's 12 digits";
