//! The report as one picture: for each case a bar of the median and a whisker from minimum to maximum for each way.

use std::fmt::Write as _;

use crate::report::Case;

const WIDTH: f64 = 900.0;
const BARS: f64 = 220.0;
const BARS_WIDTH: f64 = 480.0;
const LINE: f64 = 22.0;

/// The picture, as SVG.
pub(crate) fn svg(cases: &[Case]) -> String {
    let lines: usize = cases.iter().map(|case| case.series.len() + 2).sum();
    let height = LINE * (lines + 1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = LINE;
    for case in cases {
        text(&mut svg, 10.0, y, &format!("{}: {}, {}", case.group, case.title, case.unit), "bold");
        y += LINE;
        let spreads: Vec<_> =
            case.series.iter().map(|series| (series.name, series.spread())).collect();
        let most =
            spreads.iter().map(|(_, spread)| spread.maximum).fold(f64::MIN_POSITIVE, f64::max);
        let x = |figure: f64| BARS + BARS_WIDTH * figure.max(0.0) / most;
        for (name, spread) in &spreads {
            text(&mut svg, 20.0, y, name, "normal");
            rectangle(&mut svg, [BARS, y - 13.0, x(spread.median) - BARS, 16.0], color(name));
            let (low, high) = (x(spread.minimum), x(spread.maximum));
            rectangle(&mut svg, [low, y - 6.0, high - low, 2.0], "black");
            for end in [low, high] {
                rectangle(&mut svg, [end - 1.0, y - 10.0, 2.0, 10.0], "black");
            }
            text(&mut svg, BARS + BARS_WIDTH + 15.0, y, &figure(spread.median), "normal");
            y += LINE;
        }
        y += LINE;
    }
    svg + "</svg>\n"
}

fn color(name: &str) -> &'static str {
    if name == "privatelink" { "#2a7ab8" } else { "#b9c4cc" }
}

fn figure(median: f64) -> String {
    if median >= 1000.0 { format!("{median:.0}") } else { format!("{median:.1}") }
}

fn text(svg: &mut String, x: f64, y: f64, text: &str, weight: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-weight=\"{weight}\">{text}</text>");
}

fn rectangle(svg: &mut String, [x, y, width, height]: [f64; 4], fill: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
    );
}
