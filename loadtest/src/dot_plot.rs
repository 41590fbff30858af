//! Dot plots as SVG text: one row for each name, one dot for each series.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::plot::{Axis, COLORS, GREY, INK, draw_mesh, font, span};

/// Width of the plot and height of a row in pixels.
const SIZE: (u32, u32) = (860, 20);
/// Pixels above and below the rows: title and axis.
const MARGIN: u32 = 110;
/// Pixels beside the rows for their names.
const NAMES_WIDTH: u32 = 130;
/// Radius of a dot in pixels.
const RADIUS: i32 = 4;
/// Pixels between two entries of the key.
const KEY_STEP: i32 = 150;

/// One series: a value for each row. A value of 0 is not drawn.
#[derive(Clone, Debug)]
pub struct Dots<'a> {
    /// The name of the series.
    pub name: &'a str,
    /// The values, in the order of the rows.
    pub values: Vec<f64>,
}

/// Draws the rows from top to bottom.
///
/// # Errors
/// Fails when the plot cannot be drawn, which does not happen with finite numbers.
pub fn dot_plot(title: &str, axis: &Axis<'_>, names: &[&str], series: &[Dots<'_>]) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, title, axis, names, series).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    title: &str,
    axis: &Axis<'_>,
    names: &[&str],
    series: &[Dots<'_>],
) -> Result<(), Box<dyn std::error::Error>> {
    let height = u32::try_from(names.len().max(1))?.saturating_mul(SIZE.1) + MARGIN;
    // The first row stands at the top, and the vertical axis rises.
    let row = |index: usize| (names.len() - 1 - index) as f64;
    let place = |values: &Dots<'_>| -> Vec<(f64, f64)> {
        let places = values.values.iter().enumerate().map(|(index, &value)| (axis.place(value), row(index)));
        places.filter(|place| place.0.is_finite()).collect()
    };
    let dots: Vec<Vec<(f64, f64)>> = series.iter().map(place).collect();
    let (from, to) = span(dots.iter().flatten().map(|dot| dot.0));
    let root = SVGBackend::with_string(svg, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title.to_owned(), (12, 12), font(INK)))?;
    draw_key(&root, series)?;
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).margin_top(58).margin_right(28).x_label_area_size(40).y_label_area_size(NAMES_WIDTH);
    let rows: Vec<f64> = (0..names.len()).map(row).collect();
    let y = Axis::linear("", &|_| String::new()).marked(&rows).scale((-0.6, names.len() as f64 - 0.4));
    let mut chart = builder.build_cartesian_2d(axis.scale((from - 0.1, to + 0.1)), y)?;
    let name_of = |place: &f64| {
        let index = (0..names.len()).find(|&index| (row(index) - place).abs() < 0.5);
        index.map_or(String::new(), |index| names[index].to_owned())
    };
    draw_mesh(&mut chart, axis, "", &name_of)?;
    for (dots, color) in dots.into_iter().zip(dot_colors()) {
        chart.draw_series(dots.into_iter().map(|dot| Circle::new(dot, RADIUS, color.filled())))?;
    }
    root.present()?;
    Ok(())
}

/// Returns grey for the first series, which is the base of the others, and colors for these.
fn dot_colors() -> impl Iterator<Item = RGBColor> {
    std::iter::once(GREY).chain(COLORS)
}

fn draw_key(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    series: &[Dots<'_>],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut left = NAMES_WIDTH.cast_signed() + 16;
    for (series, color) in series.iter().zip(dot_colors()) {
        area.draw(&Circle::new((left, 42), RADIUS, color.filled()))?;
        area.draw(&Text::new(series.name.to_owned(), (left + 10, 35), font(INK)))?;
        left += KEY_STEP;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_name_and_a_dot_of_each_series() {
        let axis = Axis::logarithmic("time", &|value| format!("{value:.0}"));
        let series = [Dots { name: "one", values: vec![1.0, 10.0] }, Dots { name: "two", values: vec![100.0, 0.0] }];
        let svg = dot_plot("a title", &axis, &["alpha", "beta"], &series).unwrap();
        for text in ["alpha", "beta", "one", "two", "a title", "100"] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 3 + 2, "three dots and two of the key");
        assert!(dot_plot("", &axis, &[], &[]).is_ok());
    }
}
