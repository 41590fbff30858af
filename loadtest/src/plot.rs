//! Line charts as SVG text.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontFamily, FontStyle};

/// A chart's size in pixels.
const SIZE: (u32, u32) = (860, 320);
/// Width of a letter and height of a line in the key, in pixels.
const LETTER: (u32, u32) = (8, 22);
/// Start and end of the stroke before a name in the key, in pixels.
const STROKE: (i32, i32) = (8, 26);
/// Top of the key in pixels: level with the highest mark, or below a title.
const KEY_TOP: i32 = 22;
/// Approximate number of marks on an axis.
const MARKS: f64 = 6.0;
/// From this many powers of ten on, an axis marks only powers of ten.
const MANY_DECADES: f64 = 3.0;
pub(crate) const INK: RGBColor = RGBColor(31, 35, 40);
pub(crate) const GREY: RGBColor = RGBColor(110, 118, 129);
pub(crate) const GRID: RGBColor = RGBColor(234, 238, 242);
/// Colors that also differ in brightness, for readers who do not distinguish red from green.
pub(crate) const COLORS: [RGBColor; 6] = [
    RGBColor(9, 105, 218),
    RGBColor(207, 34, 46),
    RGBColor(26, 127, 55),
    RGBColor(154, 103, 0),
    RGBColor(130, 80, 223),
    RGBColor(110, 118, 129),
];

/// A named series of points.
#[derive(Clone, Debug)]
pub struct Series {
    /// The name of the series.
    pub name: String,
    /// The points of the series.
    pub points: Vec<(f64, f64)>,
}

/// The description of an axis.
#[derive(Clone, Copy)]
pub struct Axis<'a> {
    /// The quantity, with its unit.
    pub name: &'a str,
    /// Whether equal distances are equal ratios, which suits durations and sizes.
    pub logarithmic: bool,
    /// Returns the label of a value.
    pub label: &'a dyn Fn(f64) -> String,
    /// The values that are marked. A horizontal axis covers all of them. An empty list marks round numbers.
    pub marks: &'a [f64],
}

/// The description of a chart.
#[derive(Clone, Copy)]
pub struct Axes<'a> {
    /// The title; empty where the text around the chart names it.
    pub title: &'a str,
    /// The horizontal axis.
    pub x: Axis<'a>,
    /// The vertical axis.
    pub y: Axis<'a>,
}

impl<'a> Axis<'a> {
    /// Returns a linear axis. A vertical one starts at 0.
    #[must_use]
    pub fn linear(name: &'a str, label: &'a dyn Fn(f64) -> String) -> Self {
        Self { name, logarithmic: false, label, marks: &[] }
    }

    /// Returns a logarithmic axis.
    #[must_use]
    pub fn logarithmic(name: &'a str, label: &'a dyn Fn(f64) -> String) -> Self {
        Self { logarithmic: true, ..Self::linear(name, label) }
    }

    /// Returns the axis with marks at these values.
    #[must_use]
    pub fn marked(self, marks: &'a [f64]) -> Self {
        Self { marks, ..self }
    }

    /// Returns the position of a value. The chart's own axes are linear, so a logarithmic axis maps values to
    /// logarithms.
    pub(crate) fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.log10() } else { value }
    }

    /// Returns the value at a position, without the rounding error of the power.
    pub(crate) fn value(&self, place: f64) -> f64 {
        let value = if self.logarithmic { 10_f64.powf(place) } else { place };
        format!("{value:.9e}").parse().unwrap_or(value)
    }

    /// Returns the chart's axis between two positions.
    pub(crate) fn scale(&self, (from, to): (f64, f64)) -> Scale {
        Scale { line: (from..to).into(), marks: self.marks(from, to) }
    }

    /// Returns the positions of the marks between two positions.
    fn marks(&self, from: f64, to: f64) -> Vec<f64> {
        let all = match (self.marks, self.logarithmic) {
            ([], true) => decades(from, to),
            ([], false) => round(from, to),
            (given, _) => given.iter().map(|&value| self.place(value)).collect(),
        };
        let slack = (to - from) * 1e-9;
        all.into_iter().filter(|&place| (from - slack..=to + slack).contains(&place)).collect()
    }
}

/// A linear axis of the chart, with its marks.
pub(crate) struct Scale {
    line: RangedCoordf64,
    marks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        self.line.map(place, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.line.range()
    }
}

/// Returns round numbers at equal distances.
fn round(from: f64, to: f64) -> Vec<f64> {
    let rough = (to - from) / MARKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|times| times * power).into_iter().find(|&step| step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = (from / step).ceil();
    let marks = std::iter::successors(Some(first), |mark| Some(mark + 1.0)).map(|mark| mark * step);
    marks.take_while(|&mark| mark <= to + step * 1e-9).collect()
}

/// Returns the powers of ten between two exponents as exponents, and twice and five times these where there are few.
fn decades(from: f64, to: f64) -> Vec<f64> {
    let times: &[f64] = if to - from > MANY_DECADES { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = std::iter::successors(Some(from.floor()), |power| Some(power + 1.0));
    powers
        .take_while(|&power| power <= to)
        .flat_map(|power| times.iter().map(move |time| power + time.log10()))
        .collect()
}

/// Draws the series as SVG.
///
/// # Errors
/// Fails when the chart cannot be drawn, which does not happen with finite numbers.
pub fn chart(axes: &Axes<'_>, series: &[Series]) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, axes, series).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

/// Returns one SVG text with charts one above the other.
#[must_use]
pub fn stack(charts: &[String]) -> String {
    let height = SIZE.1 as usize * charts.len();
    let mut svg = format!(
        "<svg width=\"{0}\" height=\"{height}\" viewBox=\"0 0 {0} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n",
        SIZE.0
    );
    for (index, chart) in charts.iter().enumerate() {
        svg.push_str(&chart.replacen("<svg ", &format!("<svg y=\"{}\" ", SIZE.1 as usize * index), 1));
    }
    svg + "</svg>\n"
}

/// Returns the lowest and the highest position.
pub(crate) fn span(places: impl Iterator<Item = f64>) -> (f64, f64) {
    let (from, to) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), at| (from.min(at), to.max(at)));
    match from <= to {
        true if from < to => (from, to),
        true => (from - 1.0, from + 1.0),
        false => (0.0, 1.0),
    }
}

pub(crate) fn font(color: RGBColor) -> TextStyle<'static> {
    let plain = TextStyle::from((FontFamily::SansSerif, 13, FontStyle::Normal));
    TextStyle { color: color.to_backend_color(), ..plain }
}

/// Draws the lines, axes and labels of a plot. A vertical axis with an empty name has no description.
pub(crate) fn draw_mesh(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<Scale, Scale>>,
    x: &Axis<'_>,
    y_name: &str,
    y_label: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let x_label = |&place: &f64| (x.label)(x.value(place));
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(GREY);
    mesh.label_style(font(GREY)).axis_desc_style(font(GREY)).x_desc(x.name);
    if !y_name.is_empty() {
        mesh.y_desc(y_name);
    }
    mesh.x_label_formatter(&x_label).y_label_formatter(y_label).draw()?;
    Ok(())
}

fn draw(svg: &mut String, axes: &Axes<'_>, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    let place = |&(x, y): &(f64, f64)| (axes.x.place(x), axes.y.place(y));
    // Zero has no logarithm, so it has no position.
    let places = |series: &Series| -> Vec<(f64, f64)> {
        series.points.iter().map(place).filter(|place| place.0.is_finite() && place.1.is_finite()).collect()
    };
    let lines: Vec<_> = series.iter().map(places).collect();
    let marks = axes.x.marks.iter().map(|&value| axes.x.place(value));
    let x = span(lines.iter().flatten().map(|place| place.0).chain(marks));
    let y = span(lines.iter().flatten().map(|place| place.1));
    // A logarithmic axis gets a margin above and below; a linear axis starts at 0.
    let y = if axes.y.logarithmic { (y.0 - 0.1, y.1 + 0.1) } else { (0.0, y.1.max(f64::MIN_POSITIVE) * 1.08) };
    let mut root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    if !axes.title.is_empty() {
        root = root.margin(8, 0, 12, 12).titled(axes.title, font(INK))?;
    }
    let width = root.dim_in_pixel().0;
    let (plot, key) = root.split_horizontally(width.saturating_sub(key_width(series)));
    let mut builder = ChartBuilder::on(&plot);
    builder.margin(12).margin_right(28).x_label_area_size(44).y_label_area_size(84);
    let mut chart = builder.build_cartesian_2d(axes.x.scale(x), axes.y.scale(y))?;
    draw_mesh(&mut chart, &axes.x, axes.y.name, &|&place| (axes.y.label)(axes.y.value(place)))?;
    for (line, color) in lines.into_iter().zip(COLORS.iter().cycle()) {
        chart.draw_series(LineSeries::new(line, color.stroke_width(2)).point_size(2))?;
    }
    draw_key(&key, series)?;
    root.present()?;
    Ok(())
}

/// Returns the width of the key, which stands beside the plot. A single series needs no key.
fn key_width(series: &[Series]) -> u32 {
    let longest = series.iter().map(|series| series.name.chars().count()).max().unwrap_or(0);
    let letters = u32::try_from(longest).unwrap_or(0) * LETTER.0;
    if series.len() < 2 { 0 } else { letters + STROKE.1.unsigned_abs() + 12 }
}

fn draw_key(area: &DrawingArea<SVGBackend<'_>, Shift>, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    if series.len() < 2 {
        return Ok(());
    }
    let mut middle = KEY_TOP;
    for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
        area.draw(&PathElement::new([(STROKE.0 - 8, middle), (STROKE.1 - 8, middle)], color.stroke_width(3)))?;
        area.draw(&Text::new(series.name.clone(), (STROKE.1, middle - 7), font(INK)))?;
        middle += LETTER.1.cast_signed();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(logarithmic: bool) -> Axis<'static> {
        Axis { logarithmic, ..Axis::linear("things", &|value| format!("{value:.1}")) }
    }

    #[test]
    fn default_marks_are_round_numbers() {
        assert_eq!(round(0.0, 11.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(round(3.0, 6.0), [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]);
        let values = |from: f64, to: f64| -> Vec<f64> {
            let places = axis(true).marks(from.log10(), to.log10());
            places.into_iter().map(|place| axis(true).value(place)).collect()
        };
        assert_eq!(values(1.0, 60.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(values(5.0, 20_000.0), [10.0, 100.0, 1000.0, 10_000.0]);
    }

    #[test]
    fn given_marks_outside_the_range_are_left_out() {
        let axis = axis(true).marked(&[1.0, 10.0, 100.0]);
        assert_eq!(axis.marks(0.0, 1.0), [0.0, 1.0]);
    }

    #[test]
    fn several_series_are_drawn_and_named() {
        let series = |name: &str| Series { name: name.into(), points: vec![(10.0, 1.0), (1000.0, 100.0), (0.0, 0.0)] };
        let axes = Axes { title: "a title", x: axis(true), y: axis(true) };
        let svg = chart(&axes, &[series("alpha"), series("beta")]).unwrap();
        assert_eq!(svg.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#0969DA\"").count(), 2, "{svg}");
        assert!(svg.contains("alpha") && svg.contains("beta") && svg.contains("a title"), "{svg}");
        assert!(!chart(&axes, &[series("alone")]).unwrap().contains("alone"));
    }

    #[test]
    fn empty_chart_can_be_drawn() {
        let axes = Axes { title: "", x: axis(false), y: axis(true) };
        assert!(chart(&axes, &[]).is_ok());
        assert!(chart(&axes, &[Series { name: "one".into(), points: vec![(1.0, 1.0)] }]).is_ok());
    }
}
