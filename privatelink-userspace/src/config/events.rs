//! `[events]`.

use std::path::Path;
use std::time::Duration;

use hyper::Uri;

use super::document::Text;
use super::error::Report;
use super::file::{self, File};
use super::names::nearest;
use super::values::{duration, items};
use super::{Host, Needed};
use crate::api::{EventKind, EventKinds};
use crate::model::Webhook;

/// How long the server may take to answer where the file does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where events are posted; `has` says what there is on this host.
pub(super) fn webhook(file: &File<'_>, has: Host<'_>, report: &mut Report<'_>) -> Option<Webhook> {
    let written = file.events.as_ref()?;
    let url = written.webhook.as_ref().and_then(|text| url(text, report));
    let secret_file = written.webhook_secret_file.as_ref();
    let secret_file = secret_file.and_then(|text| secret(text, has, report));
    let timeout = written.webhook_timeout.as_ref();
    let timeout = timeout.and_then(|text| duration(text, 1..=60, "timeout", report));
    let kinds = kinds(written, report);
    if written.webhook.is_none() {
        refuse_without_webhook(written, report);
    }
    Some(Webhook {
        url: url?,
        secret_file: secret_file.map(Path::to_owned),
        kinds,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
    })
}

fn url(text: &Text<'_>, report: &mut Report<'_>) -> Option<Uri> {
    let url: Option<Uri> = text.get_ref().parse().ok();
    let cause = match url.as_ref().map(|url| (url.scheme_str(), url.authority())) {
        Some((Some("http" | "https"), Some(host))) if host.as_str().contains('@') => {
            let remedy = "leave it out, and name a webhook_secret_file";
            report.add(text.span(), "a URL with a user name", remedy);
            return None;
        }
        Some((Some("http" | "https"), Some(host))) if !host.host().is_empty() => return url,
        Some((Some(scheme), _)) if !matches!(scheme, "http" | "https") => "neither http nor https",
        _ => "not a URL",
    };
    report.add(text.span(), cause, "write one such as \"https://hooks.example.com/privatelink\"");
    None
}

fn secret<'a>(text: &Text<'a>, has: Host<'_>, report: &mut Report<'_>) -> Option<&'a Path> {
    let path = Path::new(*text.get_ref());
    if !path.is_absolute() {
        let remedy = "write one from /, such as \"/etc/privatelink/webhook.secret\"";
        report.add(text.span(), "not an absolute path", remedy);
    } else if !has(Needed::Secret(path)) {
        let remedy =
            "write 1 to 4096 bytes into it, e.g. by \"openssl rand -hex 32\", and make it readable";
        report.add(text.span(), "no file with a secret on this host", remedy);
    }
    Some(path)
}

fn kinds(written: &file::Events<'_>, report: &mut Report<'_>) -> EventKinds {
    let mut kinds = Vec::new();
    for text in items(&written.kinds) {
        match text.get_ref().parse() {
            Ok(kind) => kinds.push(kind),
            Err(_) => {
                let known = EventKind::ALL.map(EventKind::name);
                let remedy = match nearest(text.get_ref(), &known) {
                    Some(near) => format!("did you mean {near}? The kinds are "),
                    None => "write any of ".to_owned(),
                };
                report.add(text.span(), "unknown kind of events", remedy + &known.join(", "));
            }
        }
    }
    if let Some(list) = written.kinds.as_ref().filter(|list| list.written_empty) {
        report.add(list.span.clone(), "empty", "leave it out to have all kinds");
    }
    EventKinds(kinds)
}

/// Without a webhook the other keys say nothing.
fn refuse_without_webhook(written: &file::Events<'_>, report: &mut Report<'_>) {
    let texts = [&written.webhook_secret_file, &written.webhook_timeout];
    let spans = texts.into_iter().flatten().map(Text::span);
    for span in spans.chain(written.kinds.as_ref().map(|list| list.span.clone())) {
        let remedy = "add webhook = \"https://hooks.example.com/privatelink\", or remove it";
        report.add(span, "says nothing without a webhook", remedy);
    }
}
