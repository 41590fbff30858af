//! Line charts.

use std::fmt::Write as _;

use super::axis::Axes;
use super::frame::{Frame, KeyEntry, Sample};
use super::svg::Svg;
use super::{SIZE, color};

/// Series with at most this many points have a dot at each point.
const DOTTED_POINTS: usize = 60;
/// Radius of a dot in pixels.
const RADIUS: f64 = 2.5;

/// A named series of points. A point without a position, as [`f64::NAN`] or 0 on a logarithmic axis, is a gap: no line
/// crosses it.
#[derive(Clone, Debug)]
pub struct Series {
    /// The name of the series.
    pub name: String,
    /// The points of the series.
    pub points: Vec<(f64, f64)>,
}

/// Draws the series as SVG.
#[must_use]
pub fn chart(axes: &Axes<'_>, series: &[Series]) -> String {
    let place = |&(x, y): &(f64, f64)| (axes.x.place(x), axes.y.place(y));
    let lines: Vec<Vec<(f64, f64)>> = series.iter().map(|series| series.points.iter().map(place).collect()).collect();
    let seen = || lines.iter().flatten().filter(|place| has_position(**place));
    let x_span = axes.x.horizontal_span(seen().map(|place| place.0));
    let y_span = axes.y.vertical_span(seen().map(|place| place.1));
    // A single series needs no key.
    let named: &[Series] = if series.len() < 2 { &[] } else { series };
    let samples = (0..).map(Sample::Line);
    let key: Vec<_> =
        named.iter().zip(samples).map(|(Series { name, .. }, sample)| KeyEntry { name, sample }).collect();
    let frame = Frame::new(axes.title, SIZE.1, (&axes.x, x_span), (&axes.y, y_span), &key);
    let title = if axes.title.is_empty() { axes.y.name } else { axes.title };
    let mut svg = Svg::new(SIZE, title, &description(axes, series));
    frame.draw(&mut svg);
    for (index, line) in lines.iter().enumerate() {
        draw_line(&mut svg, &frame, line, &color(index));
    }
    svg.finish()
}

/// Draws the stretches of a line between its gaps. A stretch of one point is a dot.
fn draw_line(svg: &mut Svg, frame: &Frame<'_>, line: &[(f64, f64)], color: &str) {
    for stretch in line.split(|place| !has_position(*place)) {
        let points: Vec<_> = stretch.iter().map(|&place| frame.point(place)).collect();
        if points.len() > 1 {
            svg.polyline(&format!("plot-line {color}"), &points);
        }
        if points.len() == 1 || line.len() <= DOTTED_POINTS {
            for &point in &points {
                svg.circle(&format!("plot-dot {color}"), point, RADIUS);
            }
        }
    }
}

fn has_position(place: (f64, f64)) -> bool {
    place.0.is_finite() && place.1.is_finite()
}

/// Returns the chart in words: for each series the lowest and the highest value, and the number of gaps.
fn description(axes: &Axes<'_>, series: &[Series]) -> String {
    let mut text = format!("{} by {}.", axes.y.name, axes.x.name);
    for Series { name, points } in series {
        let values: Vec<f64> =
            points.iter().map(|point| point.1).filter(|&value| axes.y.place(value).is_finite()).collect();
        let gaps = points.len() - values.len();
        let label = |value: f64| (axes.y.label)(value);
        // Writing to a string cannot fail.
        let _ = match (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max)) {
            (Some(low), Some(high)) => {
                write!(text, " {name}: {} points from {} to {}", values.len(), label(low), label(high))
            }
            _ => write!(text, " {name}: no points"),
        };
        let _ = if gaps > 0 { write!(text, ", {gaps} without a value.") } else { write!(text, ".") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::axis::tests::axis;
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.into(), points: points.to_vec() }
    }

    #[test]
    fn several_series_are_drawn_and_named() {
        let points = [(10.0, 1.0), (1000.0, 100.0)];
        let axes = Axes { title: "a title", x: axis(true), y: axis(true) };
        let svg = chart(&axes, &[series("alpha", &points), series("be<ta", &points)]);
        assert_eq!(svg.matches("<polyline class=\"plot-line plot-1\"").count(), 1, "{svg}");
        assert_eq!(svg.matches("<polyline class=\"plot-line plot-2\"").count(), 1, "{svg}");
        assert!(svg.contains(">alpha</text>") && svg.contains(">be&lt;ta</text>"), "{svg}");
        assert!(svg.contains("<title>a title</title>"), "{svg}");
        assert!(!chart(&axes, &[series("alone", &points)]).contains(">alone</text>"));
    }

    #[test]
    fn line_does_not_cross_a_gap() {
        let axes = Axes { title: "", x: axis(false), y: axis(true) };
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0), (4.0, 0.0), (5.0, 1.0), (6.0, 2.0)];
        let svg = chart(&axes, &[series("latency", &points)]);
        assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 5, "a point between two gaps is a dot: {svg}");
        assert!(svg.contains("latency: 5 points from 1.0 to 4.0, 2 without a value."), "{svg}");
    }

    #[test]
    fn long_series_has_dots_only_between_gaps() {
        let axes = Axes { title: "", x: axis(false), y: axis(false) };
        let mut points: Vec<(f64, f64)> = (0..100).map(|x| (f64::from(x), 1.0)).collect();
        assert_eq!(chart(&axes, &[series("long", &points)]).matches("<circle").count(), 0);
        (points[50].1, points[52].1) = (f64::NAN, f64::NAN);
        assert_eq!(chart(&axes, &[series("long", &points)]).matches("<circle").count(), 1);
    }

    #[test]
    fn empty_chart_can_be_drawn() {
        let axes = Axes { title: "", x: axis(false), y: axis(true) };
        for svg in
            [chart(&axes, &[]), chart(&axes, &[series("one", &[(1.0, 1.0)])]), chart(&axes, &[series("none", &[])])]
        {
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
