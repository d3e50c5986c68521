//! `[flow_logs]` and `[access_log]`.

use std::path::Path;
use std::time::Duration;

use super::document::{Number, Text};
use super::error::Report;
use super::file::{self, File};
use super::names::nearest;
use super::values::{duration, number};
use super::{Host, Needed};
use crate::flow_logs::{DEFAULT, Field, FormatFault, parse_format};
use crate::model::{AccessLog, Destination, FlowLogs, LogFile, LogForm, TrafficType};

/// What stands for standard output.
const STDOUT: &str = "stdout";
const DEFAULT_BYTES: u64 = 64 << 20;
const DEFAULT_TIME: Duration = Duration::from_secs(3600);
const DEFAULT_KEEP: usize = 168;
/// AWS's default.
const DEFAULT_INTERVAL: u64 = 600;

/// The keys that say where lines go.
struct Keys<'f, 'a> {
    destination: &'f Option<Text<'a>>,
    form: &'f Option<Text<'a>>,
    replace_bytes: &'f Option<Number>,
    replace_after: &'f Option<Text<'a>>,
    keep: &'f Option<Number>,
}

/// The flow logs, if there are to be any; `has` says what there is on this host.
pub(super) fn flow_logs(
    file: &File<'_>,
    has: Host<'_>,
    report: &mut Report<'_>,
) -> Option<FlowLogs> {
    let file::FlowLogs {
        destination,
        form,
        traffic_type,
        max_aggregation_interval,
        log_format,
        replace_bytes,
        replace_after,
        keep,
        ..
    } = file.flow_logs.as_ref()?;
    let keys = Keys { destination, form, replace_bytes, replace_after, keep };
    let traffic = traffic_type.as_ref().map(|text| traffic(text, report));
    let interval = max_aggregation_interval.as_ref().map(|number| interval(number, report));
    let fields = log_format.as_ref().map(|text| fields(text, report));
    Some(FlowLogs {
        to: to(&keys, has, report)?,
        traffic: traffic.unwrap_or(TrafficType::All),
        interval: Duration::from_secs(interval.unwrap_or(DEFAULT_INTERVAL)),
        fields: fields.unwrap_or_else(|| DEFAULT.to_vec()),
    })
}

/// The access log, if there is to be one; `has` says what there is on this host.
pub(super) fn access_log(
    file: &File<'_>,
    has: Host<'_>,
    report: &mut Report<'_>,
) -> Option<AccessLog> {
    let file::AccessLog { destination, form, replace_bytes, replace_after, keep, .. } =
        file.access_log.as_ref()?;
    let to = to(&Keys { destination, form, replace_bytes, replace_after, keep }, has, report)?;
    let other = file.flow_logs.as_ref().and_then(|logs| logs.destination.as_ref());
    if let (Some(own), Some(other)) = (destination, other)
        && to.file.is_some()
        && own.get_ref() == other.get_ref()
    {
        report.add(own.span(), "the flow log's file too", "give each log a file of its own");
    }
    Some(AccessLog { to })
}

fn to(keys: &Keys<'_, '_>, has: Host<'_>, report: &mut Report<'_>) -> Option<Destination> {
    let most_bytes = keys.replace_bytes.as_ref();
    let most_bytes =
        most_bytes.and_then(|bytes| number(bytes, 1 << 20..=1 << 40, "size of a file", report));
    let longest = keys.replace_after.as_ref();
    let longest = longest.and_then(|text| duration(text, 60..=31 * 86_400, "time", report));
    let keep = keys.keep.as_ref();
    let keep = keep.and_then(|keep| number(keep, 0..=100_000, "number of files", report));
    let form = keys.form.as_ref().and_then(|text| form(text, report));
    let destination = keys.destination.as_ref()?;
    let path = Path::new(*destination.get_ref());
    let is_stdout = *destination.get_ref() == STDOUT;
    if is_stdout {
        let spans = [keys.replace_bytes, keys.keep].into_iter().flatten().map(Number::span);
        for span in spans.chain(keys.replace_after.as_ref().map(Text::span)) {
            report.add(span, "says nothing of standard output", "remove it");
        }
    } else if !path.is_absolute() || path.file_name().is_none() {
        let remedy =
            "write \"stdout\", or a file from /, such as \"/var/log/privatelink/flow.log\"";
        report.add(destination.span(), "not an absolute path", remedy);
    } else if !has(Needed::LogFile(path)) {
        let remedy = "make its directory, and let the daemon write there";
        report.add(destination.span(), "no file that can be written on this host", remedy);
    }
    let file = LogFile {
        path: path.to_owned(),
        most_bytes: most_bytes.unwrap_or(DEFAULT_BYTES),
        longest: longest.unwrap_or(DEFAULT_TIME),
        keep: keep.unwrap_or(DEFAULT_KEEP),
    };
    Some(Destination {
        file: (!is_stdout).then_some(file),
        form: form.unwrap_or(if is_stdout { LogForm::Json } else { LogForm::Text }),
    })
}

fn form(text: &Text<'_>, report: &mut Report<'_>) -> Option<LogForm> {
    match *text.get_ref() {
        "text" => Some(LogForm::Text),
        "json" => Some(LogForm::Json),
        _ => {
            report.add(text.span(), "not a form of lines", "write \"text\" or \"json\"");
            None
        }
    }
}

fn traffic(text: &Text<'_>, report: &mut Report<'_>) -> TrafficType {
    match *text.get_ref() {
        "ACCEPT" => TrafficType::Accept,
        "REJECT" => TrafficType::Reject,
        "ALL" => TrafficType::All,
        _ => {
            let remedy = "write \"ALL\", \"ACCEPT\" or \"REJECT\"";
            report.add(text.span(), "not a traffic type", remedy);
            TrafficType::All
        }
    }
}

fn interval(written: &Number, report: &mut Report<'_>) -> u64 {
    match *written.get_ref() {
        60 => 60,
        600 => 600,
        _ => {
            report.add(written.span(), "not an aggregation interval", "write 60 or 600 (seconds)");
            DEFAULT_INTERVAL
        }
    }
}

fn fields(text: &Text<'_>, report: &mut Report<'_>) -> Vec<Field> {
    let fault = match parse_format(text.get_ref()) {
        Ok(fields) => return fields,
        Err(fault) => fault,
    };
    let (cause, remedy) = match fault {
        FormatFault::Empty => {
            ("empty".to_owned(), "leave it out for the default format".to_owned())
        }
        FormatFault::NotAField(word) => (
            format!("{word} is not of the form ${{field}}"),
            "write as in \"${srcaddr} ${dstaddr}\", with spaces between".to_owned(),
        ),
        FormatFault::Unknown(name) => {
            let known: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
            let remedy = match nearest(name, &known) {
                Some(near) => format!("did you mean ${{{near}}}?"),
                None => format!("the fields are {}", known.join(", ")),
            };
            (format!("there is no field {name}"), remedy)
        }
    };
    report.add(text.span(), cause, remedy);
    DEFAULT.to_vec()
}
