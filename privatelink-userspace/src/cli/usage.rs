//! Usage: its columns are those that its rows have.

use std::io::{self, Write};

use super::args::{Format, UsageArgs};
use super::commands::{runtime, unanswered};
use super::failure::Failure;
use super::output::{Column, number, text, write_columns, write_csv};
use super::stdout::{copy, print};
use crate::api::{Parties, Party, UsageRow};
use crate::control::{Client, Question};

/// Lists usage as the arguments say.
pub(super) fn usage(args: &UsageArgs) -> Result<(), Failure> {
    let client = Client::new(&args.query.socket);
    let query = args.usage_query();
    let question = Question::usage(&query);
    if args.query.output == Format::Json {
        let answer = async { client.open(&question).await.map_err(unanswered) };
        return runtime()?.block_on(async { copy(answer.await?).await }).map(drop);
    }
    let rows = runtime()?.block_on(client.ask(&question)).map_err(unanswered)?;
    let parties = query.group_by.map_or_else(|| Party::ALL.to_vec(), |Parties(parties)| parties);
    print(|out| write(out, args.query.output == Format::Csv, &parties, &rows))
}

fn write(out: &mut impl Write, csv: bool, parties: &[Party], rows: &[UsageRow]) -> io::Result<()> {
    let priced = rows.first().is_some_and(|row| row.currency.is_some());
    let columns = columns(parties, priced);
    if csv {
        let names: Vec<_> = columns.iter().map(|column| column.header).collect();
        return write_csv(out, &names, rows);
    }
    write_columns(out, &columns, rows.iter().map(cells))
}

/// The fields of a row, in its order.
fn columns(parties: &[Party], priced: bool) -> Vec<Column> {
    let parties = Party::ALL.into_iter().filter(|party| parties.contains(party));
    let mut columns = vec![text("from"), text("to")];
    columns.extend(parties.map(|party| text(party.name())));
    columns.extend(
        ["endpoint_hours", "endpoint_seconds", "new_flows", "bytes_to_target", "bytes_to_client"]
            .map(number),
    );
    if priced {
        columns.extend(["endpoint_cost", "data_cost", "cost"].map(number));
        columns.push(text("currency"));
    }
    columns
}

fn cells(row: &UsageRow) -> Vec<String> {
    let UsageRow { from, to, account, endpoint, service, zone, .. } = row;
    let parties = [account, endpoint, service, zone].into_iter().flatten().cloned();
    let mut cells = vec![from.clone(), to.clone()];
    cells.extend(parties);
    let numbers = [
        row.endpoint_hours,
        row.endpoint_seconds,
        row.new_flows,
        row.bytes_to_target,
        row.bytes_to_client,
    ];
    cells.extend(numbers.map(|number| number.to_string()));
    let UsageRow { endpoint_cost, data_cost, cost, currency, .. } = row;
    cells.extend([endpoint_cost, data_cost, cost, currency].into_iter().flatten().cloned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priced() -> UsageRow {
        UsageRow {
            from: "2026-11-01T00:00:00Z".into(),
            to: "2026-12-01T00:00:00Z".into(),
            account: Some("222222222222".into()),
            zone: Some("us-east-1a".into()),
            endpoint_hours: 720,
            endpoint_seconds: 2_592_000,
            new_flows: 12,
            bytes_to_target: 1_000_000_000,
            bytes_to_client: 234_567_890_123,
            endpoint_cost: Some("7.20".into()),
            data_cost: Some("2.35567890123".into()),
            cost: Some("9.55567890123".into()),
            currency: Some("USD".into()),
            ..UsageRow::default()
        }
    }

    fn written(csv: bool, row: UsageRow) -> String {
        let mut out = Vec::new();
        write(&mut out, csv, &[Party::Zone, Party::Account], &[row]).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bill() {
        assert_eq!(
            written(true, priced()),
            "from,to,account,zone,endpoint_hours,endpoint_seconds,new_flows,bytes_to_target,bytes_to_client,endpoint_cost,data_cost,cost,currency\n\
             2026-11-01T00:00:00Z,2026-12-01T00:00:00Z,222222222222,us-east-1a,720,2592000,12,1000000000,234567890123,7.20,2.35567890123,9.55567890123,USD\n"
        );
        let table = written(false, priced());
        let words: Vec<_> = table.lines().map(|line| line.split_whitespace().count()).collect();
        assert_eq!(words, [13, 13], "{table}");
    }

    #[test]
    fn without_prices_there_are_no_costs() {
        let row = UsageRow {
            endpoint_cost: None,
            data_cost: None,
            cost: None,
            currency: None,
            ..priced()
        };
        let header = written(true, row.clone());
        assert!(header.lines().next().unwrap().ends_with(",bytes_to_client"), "{header}");
        assert!(header.ends_with(",234567890123\n"), "{header}");
        let mut out = Vec::new();
        write(&mut out, true, &Party::ALL, &[]).unwrap();
        let empty = String::from_utf8(out).unwrap();
        assert!(
            empty.starts_with("from,to,account,endpoint,service,zone,endpoint_hours,"),
            "{empty}"
        );
        assert_eq!(empty.lines().count(), 1);
    }
}
