//! The text of an SVG picture. Colors come from classes, so that a style sheet can give dark and light ones.

use std::fmt::Write as _;

use crate::markup::escape;

/// A position in pixels, from the left and from the top.
pub(super) type Point = (f64, f64);

/// The side of a text's position on which the text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The text starts at its position.
    Start,
    /// The position is the middle of the text.
    Middle,
    /// The text ends at its position.
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// An SVG picture that is being drawn.
pub(super) struct Svg(String);

// Writing to a string cannot fail, so the results of `write!` are dropped.
impl Svg {
    /// Starts a picture of this width and height in pixels. Screen readers read the title and the description.
    pub(super) fn new((width, height): Point, title: &str, description: &str) -> Self {
        Self(format!(
            "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n\
             <rect class=\"plot-paper\" width=\"{width}\" height=\"{height}\"/>\n",
            escape(title),
            escape(description)
        ))
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, class: &str, from: Point, to: Point) {
        let (x1, y1, x2, y2) = (short(from.0), short(from.1), short(to.0), short(to.1));
        let _ = writeln!(self.0, "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>");
    }

    /// Draws a line through several points.
    pub(super) fn polyline(&mut self, class: &str, points: &[Point]) {
        let _ = write!(self.0, "<polyline class=\"{class}\" points=\"");
        for (x, y) in points {
            let _ = write!(self.0, "{},{} ", short(*x), short(*y));
        }
        self.0.truncate(self.0.trim_end().len());
        self.0.push_str("\"/>\n");
    }

    /// Draws a filled circle.
    pub(super) fn circle(&mut self, class: &str, middle: Point, radius: f64) {
        let (x, y, r) = (short(middle.0), short(middle.1), short(radius));
        let _ = writeln!(self.0, "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"/>");
    }

    /// Draws rectangles of one opacity. Each has two opposite corners.
    pub(super) fn rectangles(&mut self, class: &str, opacity: f64, corners: &[(Point, Point)]) {
        let _ = write!(self.0, "<path class=\"{class}\" fill-opacity=\"{}\" d=\"", short(opacity));
        for (from, to) in corners {
            let (x, y) = (short(from.0), short(from.1));
            let _ = write!(self.0, "M{x} {y}H{}V{}H{x}z", short(to.0), short(to.1));
        }
        self.0.push_str("\"/>\n");
    }

    /// Writes a text. The position's height is that of the line on which the letters stand.
    pub(super) fn text(&mut self, class: &str, at: Point, anchor: Anchor, text: &str) {
        if text.is_empty() {
            return;
        }
        let (x, y, anchor) = (short(at.0), short(at.1), anchor.name());
        let text = escape(text);
        let _ = writeln!(self.0, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
    }

    /// Ends the picture and returns its text.
    pub(super) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}

/// Returns a number with at most two digits after the point.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_two_digits_after_the_point() {
        assert_eq!([1.0, 10.0, 0.5, 1.0 / 3.0].map(short), ["1", "10", "0.5", "0.33"]);
    }

    #[test]
    fn texts_are_escaped_and_empty_texts_left_out() {
        let mut svg = Svg::new((10.0, 20.0), "a < b", "\"c\"");
        svg.text("plot-label", (1.0, 2.5), Anchor::End, "<x>");
        svg.text("plot-label", (1.0, 2.5), Anchor::End, "");
        let text = svg.finish();
        assert!(text.contains("<title>a &lt; b</title>\n<desc>&quot;c&quot;</desc>"), "{text}");
        assert!(text.contains("x=\"1\" y=\"2.5\" text-anchor=\"end\">&lt;x&gt;</text>"), "{text}");
        assert_eq!(text.matches("<text").count(), 1);
    }
}
