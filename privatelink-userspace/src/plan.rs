//! What changes between the model in force and another one.

mod resources;

use std::collections::{BTreeMap, BTreeSet};

use self::resources::{Attributes, Resource, resources};
use crate::api::{Change, PlanRow};
use crate::model::Model;

/// Every difference, in the order of kinds and ids: a row for each resource that is added or removed, and one for each
/// attribute of those that stay. `flows` are the live flows of endpoints and targets by their ids.
pub fn rows(before: &Model, after: &Model, flows: &BTreeMap<String, u64>) -> Vec<PlanRow> {
    let (before, after) = (resources(before), resources(after));
    let all: BTreeSet<&Resource> = before.keys().chain(after.keys()).collect();
    let rows =
        all.into_iter().flat_map(|resource| match (before.get(resource), after.get(resource)) {
            (Some(_), None) => {
                let flows_cut = flows.get(&resource.1).copied().unwrap_or(0);
                vec![PlanRow { flows_cut, ..row(resource, Change::Remove) }]
            }
            (None, _) => vec![row(resource, Change::Add)],
            (Some(before), Some(after)) => modified(resource, before, after),
        });
    rows.collect()
}

fn row((kind, id): &Resource, change: Change) -> PlanRow {
    PlanRow {
        change,
        kind: (*kind).into(),
        id: id.clone(),
        attribute: String::new(),
        before: String::new(),
        after: String::new(),
        flows_cut: 0,
    }
}

fn modified(resource: &Resource, before: &Attributes, after: &Attributes) -> Vec<PlanRow> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let rows = names.into_iter().filter(|&name| before.get(name) != after.get(name)).map(|name| {
        let text = |of: &Attributes| of.get(name).cloned().unwrap_or_default();
        PlanRow {
            attribute: (*name).into(),
            before: text(before),
            after: text(after),
            ..row(resource, Change::Modify)
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const OVERLAP: &str = include_str!("../../examples/overlap.toml");

    /// What changes if the first example is rewritten, a line each.
    fn plan(rewrite: impl Fn(&str) -> String) -> Vec<String> {
        let model = |text: &str| config::parse("overlap.toml", text).unwrap();
        let flows = BTreeMap::from([
            ("vpce-0b22222222222222b".to_owned(), 5),
            ("web/10.0.1.11:8081".to_owned(), 3),
        ]);
        let rows = rows(&model(OVERLAP), &model(&rewrite(OVERLAP)), &flows);
        let line = |row: PlanRow| {
            let PlanRow { change, kind, id, attribute, before, after, flows_cut } = row;
            format!("{} {kind} {id} {attribute}: {before} > {after}, {flows_cut}", change.name())
        };
        rows.into_iter().map(line).collect()
    }

    #[test]
    fn the_same_file_changes_nothing() {
        assert_eq!(plan(str::to_owned), [""; 0]);
        assert_eq!(plan(|text| text.replace("\n\n", "\n\n# a remark\n")), [""; 0]);
    }

    #[test]
    fn changes_are_told_by_resource_and_attribute() {
        let changed = plan(|text| {
            text.replace("us-east-1\"", "eu-west-1\"")
                .replace(".us-east-1.", ".eu-west-1.")
                .replace("acceptance_required = false", "acceptance_required = true")
                .replace("port = 8081", "port = 8082")
                .replace("interval = \"5s\"", "interval = \"20s\"")
        });
        let service = "endpoint_service vpce-svc-0e123abc123198abc";
        assert_eq!(
            changed,
            [
                "modify endpoint vpce-0a11111111111111a state: available > pendingAcceptance, 0",
                "modify endpoint vpce-0b22222222222222b state: available > pendingAcceptance, 0",
                &format!("modify {service} acceptance_required: false > true, 0"),
                "modify gateway  region: us-east-1 > eu-west-1, 0",
                "remove target web/10.0.1.11:8081 :  > , 3",
                "add target web/10.0.1.11:8082 :  > , 0",
                "modify target_group web health_check.interval: 5s > 20s, 0",
            ]
        );
    }

    #[test]
    fn what_goes_tells_its_flows() {
        let endpoint = OVERLAP.rfind("[[endpoint]]").unwrap();
        let changed = plan(|text| text[..endpoint].to_owned());
        assert_eq!(changed, ["remove endpoint vpce-0b22222222222222b :  > , 5"]);
    }
}
