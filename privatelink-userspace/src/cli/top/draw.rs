//! Draws a screen.

use std::borrow::Cow;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Cell, Clear, Gauge, Paragraph, Row, Sparkline, Table};

use super::lines::{Column, Line, columns};
use super::number::short;
use super::rates::Rates;
use super::screen::Screen;
use super::widths::{fitting, shortened};

/// Least width and height that hold something of use.
const LEAST: (u16, u16) = (40, 10);

/// Height from which on there are charts.
const WITH_CHARTS: u16 = 18;

/// What there is a chart of.
const CHARTS: [(&str, Measure); 3] = [
    ("bytes/s", Rates::bytes),
    ("packets/s", |rates| rates.packets),
    ("new/s", |rates| rates.new_flows),
];

/// One of the rates.
type Measure = fn(&Rates) -> f64;

const FOOT: &str =
    "1-5 view  Enter open  Esc back  bpnfi sort  / find  Space pause  ? help  q quit";

const HELP: &str = "\
1 endpoints  2 services  3 targets  4 flows
5 or d drop reasons     Tab the next of these

Enter            what the line is made of
Esc, Backspace   back
Up, Down, PgUp, PgDn, Home, End

b bytes  p packets  n new flows  f flows  i id
sort by it; the same again: reversed

/ filter by a part of what a line says
Space pause      ? help      q, Ctrl-C quit

Bytes are those of IP packets. Flows are the
1000 that have carried most.

Any key goes on.";

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    bright: Style,
    alarming: Style,
    chart: Style,
}

impl Theme {
    /// In colour, or without any.
    pub(super) fn new(in_colour: bool) -> Self {
        let colour = |colour| if in_colour { Style::new().fg(colour) } else { Style::new() };
        Self {
            bright: colour(Color::Cyan).add_modifier(Modifier::BOLD),
            alarming: colour(Color::Red).add_modifier(Modifier::BOLD),
            chart: colour(Color::Green),
        }
    }
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen<'_>, theme: Theme) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("too small: {} x {} at least", LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let charts = if area.height >= WITH_CHARTS { 3 } else { 0 };
    let [head, table, sums, history, title, lines, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(charts),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, screen, theme);
    draw_fill(frame, table, screen, theme);
    let said = match screen.fault {
        Some(fault) => Text::styled(fault, theme.alarming),
        None => Text::from(screen.sums()),
    };
    frame.render_widget(said, sums);
    if charts > 0 {
        draw_history(frame, history, screen, theme);
    }
    frame.render_widget(Text::styled(&*screen.title, theme.bright), title);
    draw_lines(frame, lines, screen, theme);
    let text = match screen.typed {
        Some(filter) => format!("/{filter}_  Enter keeps it, Esc clears it"),
        None => FOOT.to_owned(),
    };
    frame.render_widget(Text::from(text), foot);
    if screen.shows_help {
        draw_help(frame, area);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, screen: &Screen<'_>, theme: Theme) {
    let mut text = Text::from(Span::styled(screen.head(), theme.bright));
    if let Some(notice) = screen.notice() {
        text.push_span("  ");
        text.push_span(Span::styled(notice, theme.alarming));
    }
    frame.render_widget(text, area);
}

/// How full the flow table is: in words, and as a bar.
fn draw_fill(frame: &mut Frame<'_>, area: Rect, screen: &Screen<'_>, theme: Theme) {
    let words = Text::from(screen.filled());
    let width = Constraint::Length(words.width() as u16);
    let [left, right] = Layout::horizontal([width, Constraint::Fill(1)]).spacing(2).areas(area);
    frame.render_widget(words, left);
    let label = format!("{:.1} %", screen.fill() * 100.0);
    let bar = Gauge::default().ratio(screen.fill()).label(label).gauge_style(theme.chart);
    frame.render_widget(bar, right);
}

/// Three charts beside each other.
fn draw_history(frame: &mut Frame<'_>, area: Rect, screen: &Screen<'_>, theme: Theme) {
    let areas: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2).areas(area);
    for ((name, of), area) in CHARTS.into_iter().zip(areas) {
        let data = screen.history.columns(area.width.into(), of);
        let most = data.iter().copied().max().unwrap_or_default();
        let title = format!("{name} 1 min, max {}", short(most as f64));
        let chart = Sparkline::default().data(data).style(theme.chart);
        frame.render_widget(chart.block(Block::new().title(title)), area);
    }
}

fn draw_lines(frame: &mut Frame<'_>, area: Rect, screen: &Screen<'_>, theme: Theme) {
    let all = columns(screen.view);
    let shown = fitting(all, &screen.lines, area.width.into());
    // Whole pages, so that lines stand still while the choice moves among them.
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let first = screen.chosen.unwrap_or_default() / height * height;
    let rows = screen.lines.iter().enumerate().skip(first).take(height).map(|(at, line)| {
        let is_chosen = screen.chosen == Some(at);
        let style =
            if is_chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        row(line, all, &shown).style(style)
    });
    // No wider than the screen.
    let widths = shown.iter().map(|&(_, width)| Constraint::Length(width as u16));
    let header = shown.iter().map(|&(at, _)| cell(all[at].header.into(), all[at]));
    let table = Table::new(rows, widths).header(Row::new(header).style(theme.bright));
    frame.render_widget(table.column_spacing(1), area);
}

fn row<'l>(line: &'l Line, all: &[Column], shown: &[(usize, usize)]) -> Row<'l> {
    let cells = shown.iter().filter_map(|&(at, width)| Some((line.cells.get(at)?, all[at], width)));
    cells.map(|(text, column, width)| cell(shortened(text, width), column)).collect()
}

fn cell(text: Cow<'_, str>, column: Column) -> Cell<'_> {
    let side = if column.is_number { Alignment::Right } else { Alignment::Left };
    Cell::from(Text::from(text).alignment(side))
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) =
        (HELP.lines().map(str::len).max().unwrap_or_default(), HELP.lines().count());
    let [area] = Layout::horizontal([Constraint::Max(width as u16 + 4)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    let [area] = Layout::vertical([Constraint::Max(height as u16 + 2)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" keys ");
    frame.render_widget(Paragraph::new(HELP).block(block), area);
}

#[cfg(test)]
mod tests;
