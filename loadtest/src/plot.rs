//! Line charts as SVG text.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::{FontFamily, FontStyle};

use crate::machine::short;

/// A chart's size in pixels.
const SIZE: (u32, u32) = (860, 320);
const GREY: RGBColor = RGBColor(110, 118, 129);
const GRID: RGBColor = RGBColor(234, 238, 242);
const COLORS: [RGBColor; 3] = [RGBColor(9, 105, 218), RGBColor(207, 34, 46), RGBColor(26, 127, 55)];

/// Some points under a name.
pub(crate) struct Series<'a> {
    /// What the line shows.
    pub(crate) name: &'a str,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
}

/// How a chart's axes are to be read.
pub(crate) struct Axes<'a> {
    /// What the horizontal axis counts.
    pub(crate) x: &'a str,
    /// What the vertical axis counts.
    pub(crate) y: &'a str,
    /// What a place on the horizontal axis is called.
    pub(crate) x_label: &'a dyn Fn(&f64) -> String,
    /// Whether the vertical axis is logarithmic, as durations are best seen.
    pub(crate) logarithmic: bool,
}

/// Draws the series.
///
/// # Errors
/// When they cannot be drawn: never for finite numbers.
pub(crate) fn chart(axes: &Axes<'_>, series: &[Series<'_>]) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, axes, series).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw(svg: &mut String, axes: &Axes<'_>, series: &[Series<'_>]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || series.iter().flat_map(|series| series.points.iter());
    // Room above the lines, more where the key is to stand there.
    let headroom = match (series.len(), axes.logarithmic) {
        (0 | 1, _) => 1.1,
        (_, true) => 3.0,
        (_, false) => 1.4,
    };
    let highest = points().map(|point| point.1).fold(1.0, f64::max) * headroom;
    let lowest = points().map(|point| point.1).filter(|y| *y > 0.0).fold(highest, f64::min);
    let from = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let to = points().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
    let x_range = if from < to { from..to } else { from - 1.0..from + 1.0 };
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).margin_right(28).x_label_area_size(44).y_label_area_size(78);
    let font = || TextStyle::from((FontFamily::SansSerif, 13, FontStyle::Normal)).color(&GREY);
    // The two scales are different types: the same drawing, written once.
    macro_rules! drawn {
        ($chart:expr) => {{
            let mut chart = $chart;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(GRID)
                .axis_style(GREY)
                .label_style(font())
                .axis_desc_style(font())
                .y_labels(6)
                .x_desc(axes.x)
                .y_desc(axes.y)
                .x_label_formatter(axes.x_label)
                .y_label_formatter(&|y| short(*y))
                .draw()?;
            for (series, color) in series.iter().zip(COLORS) {
                let line = LineSeries::new(series.points.iter().copied(), color.stroke_width(2)).point_size(2);
                let key = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3));
                chart.draw_series(line)?.label(series.name).legend(key);
            }
            if series.len() > 1 {
                let corner = SeriesLabelPosition::UpperLeft;
                let labels = &mut chart.configure_series_labels();
                labels.position(corner).label_font(font()).background_style(WHITE).border_style(GRID).draw()?;
            }
        }};
    }
    if axes.logarithmic {
        drawn!(builder.build_cartesian_2d(x_range, (lowest * 0.8..highest).log_scale())?);
    } else {
        drawn!(builder.build_cartesian_2d(x_range, 0.0..highest)?);
    }
    root.present()?;
    Ok(())
}
