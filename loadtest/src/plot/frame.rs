//! The frame of a plot: title, key, axes with marks and names, and the positions within them in pixels.

use super::axis::Axis;
use super::svg::{Anchor, Point, Svg};
use super::{SIZE, color};

/// Approximate width of a letter in pixels.
const LETTER: f64 = 7.5;
/// Height of a line of text in pixels.
const LINE: f64 = 20.0;
/// Distance from the left and right edge in pixels.
const EDGE: f64 = 12.0;
/// Width of the labels of a vertical axis in pixels.
const LABELS: f64 = 76.0;
/// Height of the labels and the name of a horizontal axis in pixels.
const FOOT: f64 = 48.0;
/// Length of the sample before a name in the key, and the distance to the next entry, in pixels.
const SAMPLE: (f64, f64) = (22.0, 18.0);

/// A linear scale from positions on an axis to pixels.
#[derive(Clone, Copy, Debug)]
struct Scale {
    places: (f64, f64),
    pixels: (f64, f64),
}

impl Scale {
    fn pixel(&self, place: f64) -> f64 {
        let share = (place - self.places.0) / (self.places.1 - self.places.0);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }
}

/// An entry of a key: a name and how its sample is drawn.
pub(super) struct KeyEntry<'a> {
    /// The name.
    pub(super) name: &'a str,
    /// The form of the sample.
    pub(super) sample: Sample,
}

/// The forms of a sample in a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    /// A line of a series' color.
    Line(usize),
    /// A dot of a series' color.
    Dot(usize),
    /// A square of the heat map's color with an opacity.
    Square(f64),
}

/// The parts of a plot around its data.
pub(super) struct Frame<'a> {
    title: &'a str,
    x: &'a Axis<'a>,
    y: &'a Axis<'a>,
    x_scale: Scale,
    y_scale: Scale,
    /// The entries of the key, each with its position.
    key: Vec<(Point, &'a KeyEntry<'a>)>,
}

impl<'a> Frame<'a> {
    /// Returns the frame of a plot of this height, whose axes have these lowest and highest positions.
    pub(super) fn new(
        title: &'a str,
        height: f64,
        (x, x_span): (&'a Axis<'a>, (f64, f64)),
        (y, y_span): (&'a Axis<'a>, (f64, f64)),
        entries: &'a [KeyEntry<'a>],
    ) -> Self {
        let first = if title.is_empty() { 0.0 } else { LINE + 6.0 };
        let name_end = EDGE + text_width(y.name) + SAMPLE.1;
        let (key, rows) = place_key(entries, (name_end, SIZE.0 - EDGE), first + LINE);
        let top = first + rows as f64 * LINE + 16.0;
        // The names of rows may be longer than numbers.
        let labels = y.marks.iter().map(|&mark| text_width(&(y.label)(mark)) + 2.0 * EDGE).fold(LABELS, f64::max);
        Self {
            title,
            x,
            y,
            x_scale: Scale { places: x_span, pixels: (labels, SIZE.0 - 2.0 * EDGE) },
            y_scale: Scale { places: y_span, pixels: (height - FOOT, top) },
            key,
        }
    }

    /// Returns the pixels of a position on both axes.
    pub(super) fn point(&self, (x, y): (f64, f64)) -> Point {
        (self.x_scale.pixel(x), self.y_scale.pixel(y))
    }

    /// Draws the frame, before the data.
    pub(super) fn draw(&self, svg: &mut Svg) {
        let ((left, right), (bottom, top)) = (self.x_scale.pixels, self.y_scale.pixels);
        svg.text("plot-title", (EDGE, LINE), Anchor::Start, self.title);
        svg.text("plot-name", (EDGE, self.y_name_height()), Anchor::Start, self.y.name);
        for place in self.y.mark_places(self.y_scale.places.0, self.y_scale.places.1) {
            let height = self.y_scale.pixel(place);
            svg.line("plot-grid", (left, height), (right, height));
            svg.text("plot-label", (left - 8.0, height + 4.0), Anchor::End, &self.y.label_at(place));
        }
        for place in self.x.mark_places(self.x_scale.places.0, self.x_scale.places.1) {
            let x = self.x_scale.pixel(place);
            let label = self.x.label_at(place);
            svg.line("plot-grid", (x, bottom), (x, if label.is_empty() { bottom + 4.0 } else { top }));
            svg.text("plot-label", (x, bottom + 18.0), Anchor::Middle, &label);
        }
        svg.line("plot-axis", (left, bottom), (right, bottom));
        svg.line("plot-axis", (left, bottom), (left, top));
        svg.text("plot-name", (f64::midpoint(left, right), bottom + 38.0), Anchor::Middle, self.x.name);
        self.draw_key(svg);
    }

    fn y_name_height(&self) -> f64 {
        if self.title.is_empty() { LINE } else { 2.0 * LINE + 6.0 }
    }

    fn draw_key(&self, svg: &mut Svg) {
        for &((x, y), entry) in &self.key {
            let middle = y - 4.0;
            match entry.sample {
                Sample::Line(index) => {
                    svg.line(&format!("plot-line {}", color(index)), (x, middle), (x + SAMPLE.0 - 6.0, middle));
                }
                Sample::Dot(index) => svg.circle(&format!("plot-dot {}", color(index)), (x + 8.0, middle), 4.0),
                Sample::Square(opacity) => {
                    svg.rectangles("plot-heat", opacity, &[((x, middle - 6.0), (x + SAMPLE.0 - 8.0, middle + 6.0))]);
                }
            }
            svg.text("plot-name", (x + SAMPLE.0, y), Anchor::Start, entry.name);
        }
    }
}

/// Returns the positions of a key's entries between two edges, in as many rows as they need, and the number of rows; at
/// least one row, which the vertical axis' name shares. Rows start at the left edge, since a narrow window shows the left
/// part of a plot first.
fn place_key<'a>(
    entries: &'a [KeyEntry<'a>],
    (left, right): (f64, f64),
    first: f64,
) -> (Vec<(Point, &'a KeyEntry<'a>)>, usize) {
    let width = |entry: &KeyEntry<'_>| SAMPLE.0 + text_width(entry.name) + SAMPLE.1;
    let mut rows: Vec<(Vec<&KeyEntry<'_>>, f64)> = vec![(Vec::new(), 0.0)];
    for entry in entries {
        match rows.last_mut() {
            Some((row, used)) if row.is_empty() || *used + width(entry) <= right - left => {
                row.push(entry);
                *used += width(entry);
            }
            _ => rows.push((vec![entry], width(entry))),
        }
    }
    let mut key = Vec::new();
    for (index, (row, _)) in rows.iter().enumerate() {
        let mut x = left;
        for entry in row {
            key.push(((x, first + index as f64 * LINE), *entry));
            x += width(entry);
        }
    }
    (key, rows.len())
}

fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_key_takes_several_rows_within_the_edges() {
        let names: Vec<String> = (0..9).map(|index| format!("a series with number {index}")).collect();
        let entries: Vec<_> = names.iter().map(|name| KeyEntry { name, sample: Sample::Line(0) }).collect();
        let (key, rows) = place_key(&entries, (100.0, 788.0), 20.0);
        assert_eq!((key.len(), rows), (9, 3));
        assert!(key.iter().all(|((x, _), entry)| *x >= 100.0 && x + SAMPLE.0 + text_width(entry.name) <= 788.0));
        assert!(key[8].0.1 > 59.0, "the third row lies two lines below the first");
        assert_eq!(place_key(&[], (0.0, 1.0), 20.0).1, 1);
    }

    #[test]
    fn scale_maps_its_ends_to_its_pixels() {
        let scale = Scale { places: (-1.0, 3.0), pixels: (300.0, 100.0) };
        assert_eq!([-1.0, 1.0, 3.0].map(|place| scale.pixel(place)).to_vec(), [300.0, 200.0, 100.0]);
    }
}
