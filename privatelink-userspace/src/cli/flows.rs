//! The flows: asked for, and shown in each form with the columns that were chosen, once or again and again.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::args::{FlowsArgs, Format};
use super::columns::Field;
use super::failure::Failure;
use super::output::{write_columns, write_csv};
use super::stdout::{copy, offer};
use super::watch::watch;
use crate::api::{FlowRow, write_listing};
use crate::control::{Answer, Client, ClientError, Question};

/// Lists the flows as the arguments say.
pub(super) async fn flows(args: &FlowsArgs) -> Result<(), Failure> {
    match args.watch {
        Some(pause) => watch(pause.duration(), || ask(args), |listing| show(args, listing)).await,
        None => show(args, ask(args).await?).await.map(drop),
    }
}

/// A listing as it came.
enum Listing {
    /// To be passed on as it arrives.
    Json(Answer),
    Rows(Vec<FlowRow<'static>>),
}

async fn ask(args: &FlowsArgs) -> Result<Listing, ClientError> {
    let client = Client::new(&args.query.socket);
    let question = Question::flows(&args.flow_query());
    if args.query.output == Format::Json && args.columns.is_empty() {
        client.open(&question).await.map(Listing::Json)
    } else {
        client.ask(&question).await.map(Listing::Rows)
    }
}

async fn show(args: &FlowsArgs, listing: Listing) -> Result<ControlFlow<()>, Failure> {
    match listing {
        Listing::Json(answer) => copy(answer).await,
        Listing::Rows(rows) => offer(|out| write(out, args, &rows)),
    }
}

fn write(out: &mut impl Write, args: &FlowsArgs, rows: &[FlowRow<'_>]) -> io::Result<()> {
    let fields = args.shown();
    match args.query.output {
        Format::Table => {
            let columns: Vec<_> = fields.iter().map(|field| field.column).collect();
            let cells = |row| fields.iter().map(|field| (field.cell)(row)).collect();
            write_columns(out, &columns, rows.iter().map(cells))
        }
        Format::Json => write_listing(out, rows.iter().map(|row| Part::of(row, &fields))),
        Format::Csv => {
            let names: Vec<_> = fields.iter().map(|field| field.name).collect();
            if args.columns.is_empty() {
                return write_csv(out, &names, rows);
            }
            let parts: Vec<_> = rows.iter().map(|row| Part::of(row, &fields)).collect();
            write_csv(out, &names, parts.iter().map(Part::values))
        }
    }
}

/// Fields of a row.
struct Part<'f> {
    row: Value,
    fields: &'f [Field],
}

impl<'f> Part<'f> {
    fn of(row: &FlowRow<'_>, fields: &'f [Field]) -> Self {
        // Cannot fail: texts and numbers.
        Self { row: serde_json::to_value(row).unwrap_or_default(), fields }
    }

    fn value(&self, field: &Field) -> &Value {
        &self.row[field.name]
    }

    fn values(&self) -> Vec<&Value> {
        self.fields.iter().map(|field| self.value(field)).collect()
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|field| (field.name, self.value(field))))
    }
}
