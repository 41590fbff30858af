//! Plots as SVG text: line charts, dot plots and heat maps.
//!
//! The plots name classes instead of colors. [`STYLE`] gives these classes dark and light colors, which follow the
//! reader's preference. A page includes the style once, and [`standalone`] adds the style to a single file. Each plot
//! has a title and a description for readers who do not see the picture.

mod axis;
mod dot_plot;
mod frame;
mod heat_map;
mod line_chart;
mod svg;

pub use axis::{Axes, Axis};
pub use dot_plot::{Dots, dot_plot};
pub use heat_map::{Column, HeatMap, heat_map};
pub use line_chart::{Series, chart};

/// A plot's size in pixels.
const SIZE: (f64, f64) = (800.0, 340.0);
/// The number of colors. They also differ in brightness, for readers who do not distinguish red from green.
const COLORS: usize = 6;

/// The style sheet of all plots.
pub const STYLE: &str = include_str!("style.css");

/// Returns a plot with its style, for a file of its own.
#[must_use]
pub fn standalone(svg: &str) -> String {
    svg.replacen('>', &format!(">\n<style>\n{STYLE}</style>"), 1)
}

/// Returns one SVG text with charts one above the other.
#[must_use]
pub fn stack(charts: &[String]) -> String {
    let (width, height) = (SIZE.0, SIZE.1 * charts.len() as f64);
    let mut svg = format!(
        "<svg class=\"plot\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n"
    );
    for (index, chart) in charts.iter().enumerate() {
        svg.push_str(&chart.replacen("<svg ", &format!("<svg y=\"{}\" ", SIZE.1 * index as f64), 1));
    }
    svg + "</svg>\n"
}

/// Returns the class of a series' color.
fn color(index: usize) -> String {
    format!("plot-{}", index % COLORS + 1)
}

#[cfg(test)]
mod tests {
    use super::axis::tests::axis;
    use super::*;

    fn one() -> String {
        let axes = Axes { title: "a title", x: axis(false), y: axis(false) };
        chart(&axes, &[Series { name: "alpha".into(), points: vec![(1.0, 1.0), (2.0, 3.0)] }])
    }

    #[test]
    fn plots_have_dark_and_light_colors() {
        for index in 0..COLORS {
            let variable = format!("--{}: #", color(index));
            assert_eq!(STYLE.matches(&variable).count(), 2, "a dark and a light {variable}");
        }
        assert_eq!(STYLE.matches("prefers-color-scheme: dark").count(), 1);
        let plot = one();
        assert!(!plot.contains('#') && !plot.contains("rgb"), "a color does not come from the style: {plot}");
    }

    #[test]
    fn file_of_its_own_contains_the_style_once() {
        let text = standalone(&stack(&[one(), one()]));
        assert_eq!((text.matches("<svg").count(), text.matches("</svg>").count()), (3, 3));
        assert_eq!(text.matches("<style>").count(), 1);
        assert!(text.contains("<svg y=\"340\" class=\"plot\""), "{text}");
        assert_eq!(text.matches("http").count(), 3, "only the namespaces: {text}");
    }
}
