//! Dot plots: one row for each name, one dot for each series.

use super::axis::{Axis, widened_to_marks};
use super::color;
use super::frame::{Frame, KeyEntry, Sample};
use super::svg::Svg;

/// Height of a row in pixels.
const ROW: f64 = 20.0;
/// Pixels above and below the rows: title, key and axis.
const MARGIN: f64 = 110.0;
/// Radius of a dot in pixels.
const RADIUS: f64 = 4.0;
/// The color of the first series, which is the base of the others.
const BASE_COLOR: usize = 5;

/// One series: a value for each row. A value of 0 is not drawn.
#[derive(Clone, Debug)]
pub struct Dots<'a> {
    /// The name of the series.
    pub name: &'a str,
    /// The values, in the order of the rows.
    pub values: Vec<f64>,
}

/// Draws the rows from top to bottom along a logarithmic axis.
#[must_use]
pub fn dot_plot(title: &str, axis: &Axis<'_>, names: &[&str], series: &[Dots<'_>]) -> String {
    let height = names.len().max(1) as f64 * ROW + MARGIN;
    // The first row stands at the top, and the vertical axis rises.
    let row = |index: usize| (names.len().saturating_sub(1 + index)) as f64;
    let rows: Vec<f64> = (0..names.len()).map(row).collect();
    let name_of = |place: f64| {
        let index = rows.iter().position(|row| (row - place).abs() < 0.5);
        index.map_or(String::new(), |index| names[index].to_owned())
    };
    let y = Axis::linear("", &name_of).marked(&rows);
    let places = |dots: &Dots<'_>| -> Vec<(f64, f64)> {
        let places = dots.values.iter().zip(&rows).map(|(&value, &row)| (axis.place(value), row));
        places.filter(|place| place.0.is_finite()).collect()
    };
    let dots: Vec<Vec<(f64, f64)>> = series.iter().map(places).collect();
    let (from, to) = axis.horizontal_span(dots.iter().flatten().map(|dot| dot.0));
    let entry = |(index, name)| KeyEntry { name, sample: Sample::Dot(dot_color(index)) };
    let key: Vec<KeyEntry<'_>> = series.iter().map(|dots| dots.name).enumerate().map(entry).collect();
    let y_span = (-0.6, names.len().max(1) as f64 - 0.4);
    let frame = Frame::new(title, height, (axis, widened_to_marks(from, to)), (&y, y_span), &key);
    let mut svg = Svg::new((super::SIZE.0, height), title, &description(axis, names, series));
    frame.draw(&mut svg);
    for (index, dots) in dots.iter().enumerate() {
        let class = format!("plot-dot {}", color(dot_color(index)));
        for &dot in dots {
            svg.circle(&class, frame.point(dot), RADIUS);
        }
    }
    svg.finish()
}

/// Returns grey for the first series, and the colors in their order for the others.
fn dot_color(index: usize) -> usize {
    if index == 0 { BASE_COLOR } else { index - 1 }
}

/// Returns the plot in words: each row with its values.
fn description(axis: &Axis<'_>, names: &[&str], series: &[Dots<'_>]) -> String {
    let value = |dots: &Dots<'_>, row: usize| {
        let value = dots.values.get(row).copied().filter(|&value| axis.place(value).is_finite());
        format!("{} {}", dots.name, value.map_or("-".into(), |value| (axis.label)(value)))
    };
    let row = |(row, name): (usize, &&str)| {
        let values: Vec<String> = series.iter().map(|dots| value(dots, row)).collect();
        format!(" {name}: {}.", values.join(", "))
    };
    let rows: String = names.iter().enumerate().map(row).collect();
    format!("{}.{rows}", axis.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_name_and_a_dot_of_each_series() {
        let axis = Axis::logarithmic("time", &|value| format!("{value:.0}"));
        let series = [Dots { name: "one", values: vec![1.0, 10.0] }, Dots { name: "two", values: vec![100.0, 0.0] }];
        let svg = dot_plot("a title", &axis, &["alpha", "beta"], &series);
        for text in [">alpha<", ">beta<", ">one<", ">two<", ">a title<", ">100<"] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
        assert!(svg.contains("<desc>time. alpha: one 1, two 100. beta: one 10, two -.</desc>"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3 + 2, "three dots and two of the key");
        assert!(dot_plot("", &axis, &[], &[]).ends_with("</svg>\n"));
    }
}
