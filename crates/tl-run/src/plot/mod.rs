//! Plots as SVG files.
//!
//! The decision behind it: a plot is plain data (lines, bars, dots, marks) in few colours, drawn by one function, so that all
//! look alike. A report draws them anew in its dark theme by the colours alone, which stand in the file as attributes.

mod kinds;

pub use kinds::{PlotFile, rate_plot};
pub(crate) use kinds::{
    number_plots, overlaid_plots, precision_recall_plot, reliability_plot, roc_plot, training_plots,
};

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color, DashedLineSeries, DrawingArea, EmptyElement, IntoDrawingArea, IntoFont,
    LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text and axes.
const INK: RGBColor = RGBColor(31, 35, 40);
/// What stands behind.
const GRID: RGBColor = RGBColor(216, 222, 228);
/// What is beside the point.
const GREY: RGBColor = RGBColor(110, 119, 129);
const BLUE: RGBColor = RGBColor(9, 105, 218);
const ORANGE: RGBColor = RGBColor(188, 76, 0);
const GREEN: RGBColor = RGBColor(26, 127, 55);
const PURPLE: RGBColor = RGBColor(130, 80, 223);
const RED: RGBColor = RGBColor(207, 34, 46);
const TEAL: RGBColor = RGBColor(17, 99, 110);
/// Of lines that are all alike.
const ROUND: [RGBColor; 6] = [BLUE, ORANGE, GREEN, PURPLE, RED, TEAL];

const SIZE: (u32, u32) = (560, 330);
const FONT: (&str, i32) = ("sans-serif", 17);
/// About the width of a letter in pixels.
const LETTER: f64 = 7.8;

#[derive(Clone, Debug)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    dashed: bool,
}

impl Line {
    fn new(name: &str, colour: RGBColor, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, colour, dashed: false }
    }

    fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }
}

/// From corner to corner.
type Bar = ((f64, f64), (f64, f64), RGBColor);
/// How a value on an axis is written.
type Label = Box<dyn Fn(&f64) -> String>;

/// What one picture shows.
struct Plot {
    x: String,
    y: String,
    x_range: (f64, f64),
    y_range: (f64, f64),
    x_label: Label,
    y_label: Label,
    bars: Vec<Bar>,
    lines: Vec<Line>,
    dots: Vec<(f64, f64)>,
    /// Vertical lines with a name.
    marks: Vec<(f64, String)>,
}

impl Plot {
    fn new((x, y): (&str, &str), x_range: (f64, f64), y_range: (f64, f64)) -> Self {
        Self {
            x: x.to_owned(),
            y: y.to_owned(),
            x_range,
            y_range,
            x_label: plain(x_range),
            y_label: plain(y_range),
            bars: Vec::new(),
            lines: Vec::new(),
            dots: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The file; empty if there is nothing to draw.
    fn svg(&self) -> String {
        let finite =
            [self.x_range, self.y_range].iter().all(|(a, b)| a.is_finite() && b.is_finite() && a < b);
        let mut svg = String::new();
        if !finite || self.draw(&mut svg).is_none() {
            return String::new();
        }
        svg
    }

    fn draw(&self, svg: &mut String) -> Option<()> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE).ok()?;
        self.legend(&area)?;
        let ((left, right), (low, high)) = (self.x_range, self.y_range);
        let mut chart = ChartBuilder::on(&area)
            .margin_top(if self.lines.iter().any(|line| !line.name.is_empty()) { 34 } else { 14 })
            .margin_right(18)
            .margin_bottom(4)
            .margin_left(4)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(left..right, low..high)
            .ok()?;
        chart
            .configure_mesh()
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(GREY)
            .x_labels(7)
            .y_labels(6)
            .label_style(FONT.into_font().color(&INK))
            .axis_desc_style(FONT.into_font().color(&INK))
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&self.x_label)
            .y_label_formatter(&self.y_label)
            .draw()
            .ok()?;
        let inside = |(x, y): (f64, f64)| (x.clamp(left, right), y.clamp(low, high));
        for (from, to, colour) in &self.bars {
            chart
                .draw_series([Rectangle::new([inside(*from), inside(*to)], colour.mix(0.35).filled())])
                .ok()?;
        }
        let dots = self.dots.iter().map(|dot| Circle::new(inside(*dot), 3, BLUE.mix(0.5).filled()));
        chart.draw_series(dots).ok()?;
        for (at, _) in &self.marks {
            chart.draw_series(DashedLineSeries::new([(*at, low), (*at, high)], 4, 4, GREY.into())).ok()?;
        }
        for line in &self.lines {
            let points = line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
            let points: Vec<_> = points.copied().map(inside).collect();
            let style = line.colour.stroke_width(2);
            match (line.dashed, &points[..]) {
                (_, [alone]) => {
                    chart.draw_series([Circle::new(*alone, 3, line.colour.filled())]).map(|_| ()).ok()?;
                }
                (true, _) => {
                    chart.draw_series(DashedLineSeries::new(points, 6, 4, style)).map(|_| ()).ok()?;
                }
                (false, _) => chart.draw_series(LineSeries::new(points, style)).map(|_| ()).ok()?,
            }
        }
        let width = f64::from(SIZE.0) - 94.0;
        let mut free = f64::NEG_INFINITY;
        for (at, name) in &self.marks {
            let (from, long) = ((at - left) / (right - left) * width, name.chars().count() as f64 * LETTER);
            // What has no room to its right stands to its left; what has none there either has no name.
            let flip = from + long > width;
            let start = if flip { from - long - 6.0 } else { from };
            if start < free || start < 0.0 {
                continue;
            }
            free = start + long + 8.0;
            let anchor = Pos::new(if flip { HPos::Right } else { HPos::Left }, VPos::Top);
            let style = ("sans-serif", 16).into_font().color(&GREY).pos(anchor);
            let shift = (if flip { -4 } else { 4 }, 2);
            let name = EmptyElement::at((*at, high)) + Text::new(name.clone(), shift, style);
            chart.draw_series([name]).ok()?;
        }
        drop(chart);
        area.present().ok()
    }

    fn legend(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Option<()> {
        let mut x = 76;
        for line in self.lines.iter().filter(|line| !line.name.is_empty()) {
            let style = line.colour.stroke_width(3);
            let parts: &[(i32, i32)] = if line.dashed { &[(0, 8), (12, 20)] } else { &[(0, 20)] };
            for (from, to) in parts {
                area.draw(&PathElement::new([(x + from, 16), (x + to, 16)], style)).ok()?;
            }
            let anchor = Pos::new(HPos::Left, VPos::Center);
            let text = FONT.into_font().color(&INK).pos(anchor);
            area.draw(&Text::new(line.name.clone(), (x + 26, 16), text)).ok()?;
            x += 44 + (line.name.chars().count() as f64 * LETTER) as i32;
        }
        Some(())
    }
}

/// A value with as many decimals as tell its neighbours apart.
fn plain((low, high): (f64, f64)) -> Label {
    let step = ((high - low).abs() / 6.0).max(f64::MIN_POSITIVE);
    let decimals = (-step.log10().floor()).clamp(0.0, 8.0) as usize;
    Box::new(move |value| format!("{value:.decimals$}"))
}

/// The range of the values with a little room on both sides; none without values.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    // A line that is nearly flat stays in the middle.
    let room = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-6);
    (!values.is_empty()).then_some((low - room, high + room))
}
