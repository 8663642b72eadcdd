//! Plots as SVG files.

use plotters::prelude::{
    BLACK, ChartBuilder, Color, IntoDrawingArea, IntoLogRange, LineSeries, RGBColor, SVGBackend, WHITE,
};

const MEASURED: RGBColor = RGBColor(150, 150, 150);
const SMOOTHED: RGBColor = RGBColor(42, 111, 219);
const MARK: RGBColor = RGBColor(217, 130, 43);

/// The range test: loss over rate, the rate in decades. `tried` has the rate, the loss and the smoothed loss of each
/// step; `suggested` is marked. Empty if there is nothing to draw.
#[must_use]
pub fn rate_plot(tried: &[(f64, f64, f64)], suggested: Option<f64>) -> String {
    let mut svg = String::new();
    let drawn = draw(&mut svg, tried, suggested);
    if drawn.is_none() { String::new() } else { svg }
}

fn draw(svg: &mut String, tried: &[(f64, f64, f64)], suggested: Option<f64>) -> Option<()> {
    let (first, last) = (tried.first()?.0, tried.last()?.0);
    let smoothed = || tried.iter().map(|point| point.2);
    let (low, high) = (smoothed().fold(f64::INFINITY, f64::min), smoothed().fold(0.0, f64::max));
    // What explodes at the end must not flatten the rest.
    let top = high.min(low + 3.0 * (tried.first()?.2 - low).max(0.1));
    let (low, top) = (low - 0.1 * (top - low), top + 0.1 * (top - low));
    let area = SVGBackend::with_string(svg, (720, 400)).into_drawing_area();
    area.fill(&WHITE).ok()?;
    let range = (first..last.max(first * 10.0)).log_scale();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(range, low..top)
        .ok()?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.0))
        .x_desc("learning rate")
        .y_desc("loss")
        .x_label_formatter(&|rate| format!("{rate:.0e}"))
        .draw()
        .ok()?;
    let line = |of: fn(&(f64, f64, f64)) -> f64| {
        tried.iter().map(move |point| (point.0, of(point).clamp(low, top))).collect::<Vec<_>>()
    };
    chart.draw_series(LineSeries::new(line(|point| point.1), MEASURED.mix(0.6))).ok()?;
    chart.draw_series(LineSeries::new(line(|point| point.2), SMOOTHED.stroke_width(2))).ok()?;
    if let Some(rate) = suggested {
        chart.draw_series(LineSeries::new([(rate, low), (rate, top)], MARK.stroke_width(2))).ok()?;
    }
    area.present().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_a_whole_svg_file() {
        let tried: Vec<_> =
            (0..50).map(|i| (1e-6 * 1.3f64.powi(i), 2.0, 2.0 - 0.01 * f64::from(i))).collect();
        let svg = rate_plot(&tried, Some(1e-4));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.matches("<polyline").count() >= 3 && svg.contains("learning rate"));
        assert_eq!(rate_plot(&[], None), "");
    }
}
