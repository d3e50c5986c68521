//! What is shown, and how keys and answers change it.

use std::ops::ControlFlow;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::history::History;
use super::lines::{Line, Sample, Sort, all_drops, all_rates, lines};
use super::page::{Page, Scope, View};
use super::screen::Screen;
use crate::api::FlowQuery;

/// How many lines PgUp and PgDn go.
const LEAP: isize = 10;

/// Samples that follow each other faster are compared with the one before, since their rates would leap.
const LEAST_ELAPSED: Duration = Duration::from_millis(100);

/// What the daemon is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing, for now.
    Nothing,
    /// Totals, and these flows.
    Sample(Option<FlowQuery>),
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Top {
    interval: Duration,
    before: Option<Sample>,
    now: Sample,
    history: History,
    /// Why the last question was not answered.
    fault: Option<String>,
    page: Page,
    /// The pages that lead to this one.
    behind: Vec<Page>,
    sort: Sort,
    reversed: bool,
    filter: String,
    is_typing: bool,
    is_paused: bool,
    shows_help: bool,
}

impl Top {
    /// With a first answer; others are to follow every `interval`.
    pub(super) fn new(first: Sample, interval: Duration) -> Self {
        Self {
            interval,
            before: None,
            now: first,
            history: History::default(),
            fault: None,
            page: Page::new(View::Endpoints, Scope::All),
            behind: Vec::new(),
            sort: Sort::Bytes,
            reversed: false,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            shows_help: false,
        }
    }

    /// What to ask for next.
    pub(super) fn wanted(&self) -> Wanted {
        if self.is_paused { Wanted::Nothing } else { Wanted::Sample(self.page.flow_query()) }
    }

    /// Takes an answer, or why there is none.
    pub(super) fn answer(&mut self, answer: Result<Sample, String>) {
        let next = match answer {
            Ok(next) => next,
            Err(fault) => {
                self.fault = Some(fault);
                return;
            }
        };
        self.fault = None;
        match next.since(&self.now) {
            None => {
                self.before = None;
                self.history.clear();
            }
            Some(elapsed) => {
                let last = std::mem::take(&mut self.now);
                if elapsed >= LEAST_ELAPSED {
                    self.before = Some(last);
                }
            }
        }
        self.now = next;
        if let (Some(before), Some(rates)) =
            (&self.before, all_rates(self.before.as_ref(), &self.now))
        {
            let [from, to] = [before, &self.now].map(|sample| sample.totals.uptime_ms);
            self.history.note(from, to, rates);
        }
    }

    /// Takes a key; breaks if it is to end all.
    pub(super) fn key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return ControlFlow::Break(()),
            KeyCode::Char(_) if is_control => {}
            code if self.is_typing => self.typed(code),
            KeyCode::Char('q') => return ControlFlow::Break(()),
            _ if self.shows_help => self.shows_help = false,
            code => self.command(code),
        }
        ControlFlow::Continue(())
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    fn command(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('1') => self.turn_to(View::Endpoints),
            KeyCode::Char('2') => self.turn_to(View::Services),
            KeyCode::Char('3') => self.turn_to(View::Targets),
            KeyCode::Char('4') => self.turn_to(View::Flows),
            KeyCode::Char('5' | 'd') => self.turn_to(View::Drops),
            KeyCode::Tab => self.turn_to(self.page.view.next()),
            KeyCode::Enter => self.open(),
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            KeyCode::Char('b') => self.sort_by(Sort::Bytes),
            KeyCode::Char('p') => self.sort_by(Sort::Packets),
            KeyCode::Char('n') => self.sort_by(Sort::NewFlows),
            KeyCode::Char('f') => self.sort_by(Sort::Flows),
            KeyCode::Char('i') => self.sort_by(Sort::Id),
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.step(-LEAP),
            KeyCode::PageDown => self.step(LEAP),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char(' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('?') => self.shows_help = true,
            _ => {}
        }
    }

    fn turn_to(&mut self, view: View) {
        self.page = Page::new(view, Scope::All);
        self.behind.clear();
        self.filter.clear();
    }

    fn open(&mut self) {
        let lines = self.lines();
        let chosen = self.chosen(&lines).and_then(|at| lines[at].opens.clone());
        if let Some((view, scope)) = chosen {
            self.behind.push(std::mem::replace(&mut self.page, Page::new(view, scope)));
            self.filter.clear();
        }
    }

    /// Takes the filter away, or else goes to the page before.
    fn back(&mut self) {
        if !self.filter.is_empty() {
            self.filter.clear();
        } else if let Some(page) = self.behind.pop() {
            self.page = page;
        }
    }

    /// Sorts by another measure, or by the same the other way round.
    fn sort_by(&mut self, sort: Sort) {
        self.reversed = self.sort == sort && !self.reversed;
        self.sort = sort;
    }

    fn step(&mut self, by: isize) {
        let lines = self.lines();
        let keys: Vec<&str> = lines.iter().map(|line| &*line.key).collect();
        self.page.step(&keys, by);
    }

    /// The lines of the page that the filter lets pass, in their order.
    fn lines(&self) -> Vec<Line> {
        let mut lines = lines(&self.page, self.before.as_ref(), &self.now);
        lines.retain(|line| line.cells.iter().any(|cell| cell.contains(&self.filter)));
        lines.sort_by(|a, b| self.sort.compare(self.reversed, a, b));
        lines
    }

    fn chosen(&self, lines: &[Line]) -> Option<usize> {
        let keys: Vec<&str> = lines.iter().map(|line| &*line.key).collect();
        self.page.chosen(&keys)
    }

    /// What is to be seen.
    pub(super) fn screen(&self) -> Screen<'_> {
        let lines = self.lines();
        Screen {
            totals: &self.now.totals,
            interval: self.interval,
            is_paused: self.is_paused,
            fault: self.fault.as_deref(),
            rates: all_rates(self.before.as_ref(), &self.now),
            drops: all_drops(self.before.as_ref(), &self.now),
            history: &self.history,
            view: self.page.view,
            title: self.title(lines.len()),
            chosen: self.chosen(&lines),
            lines,
            typed: self.is_typing.then_some(&*self.filter),
            shows_help: self.shows_help,
        }
    }

    fn title(&self, count: usize) -> String {
        let page = self.page.title();
        let sort = self.sort.name();
        let reversed = if self.reversed { ", reversed" } else { "" };
        let filter = match &*self.filter {
            "" => String::new(),
            filter => format!(", with {filter:?}"),
        };
        format!("{page}: {count}, by {sort}{reversed}{filter}")
    }
}

#[cfg(test)]
mod tests;
