//! Pages: what is listed, of whom, and which line is chosen.

use crate::api::{FlowQuery, FlowSort};

/// Most flows that are asked for at once.
const FLOWS: usize = 1000;

/// What a page lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Endpoints.
    Endpoints,
    /// Endpoint services.
    Services,
    /// Targets.
    Targets,
    /// Flows.
    Flows,
    /// Drop reasons.
    Drops,
}

impl View {
    /// All of them, in the order of their keys.
    pub(super) const ALL: [Self; 5] =
        [Self::Endpoints, Self::Services, Self::Targets, Self::Flows, Self::Drops];

    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Services => "services",
            Self::Targets => "targets",
            Self::Flows => "flows",
            Self::Drops => "drops",
        }
    }

    /// The one after it, and after the last the first.
    pub(super) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or_default();
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// Whose lines a page has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everybody's.
    #[default]
    All,
    /// Those of a service, by id.
    Service(String),
    /// Those of an endpoint, by id.
    Endpoint(String),
    /// Those of a target, `ip:port`.
    Target(String),
}

/// A page, and which of its lines is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// What it lists.
    pub(super) view: View,
    /// Whose.
    pub(super) scope: Scope,
    /// Where the chosen line stood.
    index: usize,
    /// Which line is chosen, wherever it stands now; `None` is the first.
    key: Option<String>,
}

impl Page {
    /// With the first line chosen.
    pub(super) const fn new(view: View, scope: Scope) -> Self {
        Self { view, scope, index: 0, key: None }
    }

    /// What it says above its lines.
    pub(super) fn title(&self) -> String {
        let view = self.view.name();
        match &self.scope {
            Scope::All => view.to_owned(),
            Scope::Service(of) | Scope::Endpoint(of) | Scope::Target(of) => {
                format!("{view} of {of}")
            }
        }
    }

    /// How to ask for its flows, if it lists flows: those that have carried most.
    pub(super) fn flow_query(&self) -> Option<FlowQuery> {
        let query =
            FlowQuery { sort: Some(FlowSort::Bytes), limit: Some(FLOWS), ..FlowQuery::default() };
        let scoped = match &self.scope {
            Scope::All => query,
            Scope::Service(id) => FlowQuery { service: Some(id.clone()), ..query },
            Scope::Endpoint(id) => FlowQuery { endpoint: Some(id.clone()), ..query },
            Scope::Target(target) => FlowQuery { target: target.parse().ok(), ..query },
        };
        (self.view == View::Flows).then_some(scoped)
    }

    /// Where the chosen line stands among these; `None` if there are none. One that is gone leaves its place to another.
    pub(super) fn chosen(&self, keys: &[&str]) -> Option<usize> {
        let last = keys.len().checked_sub(1)?;
        let Some(key) = &self.key else { return Some(0) };
        let found = keys.iter().position(|of| of == key);
        Some(found.unwrap_or(self.index.min(last)))
    }

    /// Chooses the line so many places further on, or as far as there are lines.
    pub(super) fn step(&mut self, keys: &[&str], by: isize) {
        let Some(chosen) = self.chosen(keys) else { return };
        self.index = chosen.saturating_add_signed(by).min(keys.len() - 1);
        // Whoever stands at the top stays there, whichever line that is.
        self.key = (self.index > 0).then(|| keys[self.index].to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_follow_each_other() {
        let mut view = View::Endpoints;
        for expected in View::ALL.into_iter().skip(1).chain([View::Endpoints]) {
            view = view.next();
            assert_eq!(view, expected);
        }
    }

    #[test]
    fn the_chosen_line_is_followed_wherever_it_goes() {
        let mut page = Page::new(View::Endpoints, Scope::All);
        assert_eq!(page.chosen(&[]), None);
        assert_eq!(page.chosen(&["a", "b", "c"]), Some(0));
        page.step(&["a", "b", "c"], 1);
        assert_eq!(page.chosen(&["a", "b", "c"]), Some(1));
        assert_eq!(page.chosen(&["b", "c", "a"]), Some(0), "it has moved");
        assert_eq!(page.chosen(&["a", "c"]), Some(1), "it is gone");
        assert_eq!(page.chosen(&["a"]), Some(0), "and so is what came after it");
        assert_eq!(page.chosen(&["a", "b", "c"]), Some(1), "it is back");
    }

    #[test]
    fn steps_end_at_the_first_and_the_last_line() {
        let lines = ["a", "b", "c"];
        let mut page = Page::new(View::Endpoints, Scope::All);
        for (by, expected) in
            [(2, 2), (1, 2), (-1, 1), (-10, 0), (10, 2), (isize::MIN, 0), (isize::MAX, 2)]
        {
            page.step(&lines, by);
            assert_eq!(page.chosen(&lines), Some(expected), "{by}");
        }
        page.step(&[], 1);
        page.step(&lines, -2);
        assert_eq!(page.chosen(&["b", "c", "a"]), Some(0), "the top stays the top");
    }

    #[test]
    fn only_flows_are_asked_for_and_never_all_of_them() {
        let query = |view, scope| Page::new(view, scope).flow_query();
        assert_eq!(query(View::Services, Scope::All), None);
        assert_eq!(query(View::Endpoints, Scope::Service("s".into())), None);
        let all = query(View::Flows, Scope::All).unwrap();
        assert_eq!((all.sort, all.limit), (Some(FlowSort::Bytes), Some(1000)));
        let one = query(View::Flows, Scope::Endpoint("e".into())).unwrap();
        assert_eq!(one, FlowQuery { endpoint: Some("e".into()), ..all.clone() });
        let one = query(View::Flows, Scope::Service("s".into())).unwrap();
        assert_eq!(one, FlowQuery { service: Some("s".into()), ..all.clone() });
        let one = query(View::Flows, Scope::Target("10.0.1.10:8080".into())).unwrap();
        assert_eq!(one, FlowQuery { target: "10.0.1.10:8080".parse().ok(), ..all });
    }
}
