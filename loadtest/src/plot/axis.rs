//! Axes: the positions of values, the marks and their labels.

/// Approximate number of marks on an axis.
const MARKS: f64 = 6.0;
/// From this many powers of ten on, an axis marks only powers of ten.
const MANY_DECADES: f64 = 3.0;
/// The factors of a power of ten that a logarithmic axis marks.
const FACTORS: &[f64] = &[1.0, 2.0, 5.0];

/// The description of an axis.
#[derive(Clone, Copy)]
pub struct Axis<'a> {
    /// The quantity, with its unit where the labels have none.
    pub name: &'a str,
    /// Whether equal distances are equal ratios, which suits durations and sizes.
    pub logarithmic: bool,
    /// Returns the label of a value.
    pub label: &'a dyn Fn(f64) -> String,
    /// The values that are marked. A horizontal axis covers all of them. An empty list marks round numbers.
    pub marks: &'a [f64],
    /// The lowest and the highest value; `None` where the points decide them.
    pub range: Option<(f64, f64)>,
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
        Self { name, logarithmic: false, label, marks: &[], range: None }
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

    /// Returns the axis with this lowest and highest value.
    #[must_use]
    pub fn covering(self, from: f64, to: f64) -> Self {
        Self { range: Some((from, to)), ..self }
    }

    /// Returns the position of a value. A logarithmic axis maps values to logarithms; 0 has no logarithm, so its
    /// position is not finite.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.log10() } else { value }
    }

    /// Returns the value at a position, without the rounding error of the power.
    pub(super) fn value(&self, place: f64) -> f64 {
        let value = if self.logarithmic { 10_f64.powf(place) } else { place };
        format!("{value:.9e}").parse().unwrap_or(value)
    }

    /// Returns the label of a position.
    pub(super) fn label_at(&self, place: f64) -> String {
        (self.label)(self.value(place))
    }

    /// Returns the lowest and the highest position of a horizontal axis with points at these positions.
    pub(super) fn horizontal_span(&self, places: impl Iterator<Item = f64>) -> (f64, f64) {
        match self.range {
            Some((from, to)) => (self.place(from), self.place(to)),
            None => span(places.chain(self.marks.iter().map(|&value| self.place(value)))),
        }
    }

    /// Returns the lowest and the highest position of a vertical axis. A logarithmic axis ends at marks, so that at
    /// least two marks are seen; a linear axis starts at 0.
    pub(super) fn vertical_span(&self, places: impl Iterator<Item = f64>) -> (f64, f64) {
        if let Some((from, to)) = self.range {
            return (self.place(from), self.place(to));
        }
        let (from, to) = span(places);
        match self.logarithmic {
            true => widened_to_marks(from, to),
            false if to > 0.0 => (0.0, to * 1.08),
            false => (0.0, 1.0),
        }
    }

    /// Returns the positions of the marks between two positions.
    pub(super) fn mark_places(&self, from: f64, to: f64) -> Vec<f64> {
        let all = match (self.marks, self.logarithmic) {
            ([], true) => decades(from, to, if to - from > MANY_DECADES { &FACTORS[..1] } else { FACTORS }),
            ([], false) => round(from, to),
            (given, _) => given.iter().map(|&value| self.place(value)).collect(),
        };
        let slack = (to - from) * 1e-9;
        all.into_iter().filter(|&place| (from - slack..=to + slack).contains(&place)).collect()
    }
}

/// Returns the lowest and the highest position.
pub(super) fn span(places: impl Iterator<Item = f64>) -> (f64, f64) {
    let (from, to) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), at| (from.min(at), to.max(at)));
    match from <= to {
        true if from < to => (from, to),
        true => (from - 1.0, from + 1.0),
        false => (0.0, 1.0),
    }
}

/// Returns the exponents of the last mark that is not above `from`, and of the first mark that is not below `to`.
pub(super) fn widened_to_marks(from: f64, to: f64) -> (f64, f64) {
    let marks = decades(from.floor(), to.ceil(), FACTORS);
    let low = marks.iter().copied().rfind(|&mark| mark <= from + 1e-9);
    let high = marks.iter().copied().find(|&mark| mark >= to - 1e-9);
    (low.unwrap_or(from), high.unwrap_or(to))
}

/// Returns round numbers at equal distances.
fn round(from: f64, to: f64) -> Vec<f64> {
    let rough = (to - from) / MARKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = FACTORS.iter().map(|factor| factor * power).find(|&step| step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = (from / step).ceil();
    let marks = std::iter::successors(Some(first), |mark| Some(mark + 1.0)).map(|mark| mark * step);
    marks.take_while(|&mark| mark <= to + step * 1e-9).collect()
}

/// Returns the multiples of the powers of ten between two exponents, as exponents.
fn decades(from: f64, to: f64, factors: &[f64]) -> Vec<f64> {
    let powers = std::iter::successors(Some(from.floor()), |power| Some(power + 1.0));
    powers
        .take_while(|&power| power <= to)
        .flat_map(|power| factors.iter().map(move |factor| power + factor.log10()))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns an axis whose labels have one digit after the point.
    pub(crate) fn axis(logarithmic: bool) -> Axis<'static> {
        Axis { logarithmic, ..Axis::linear("things", &|value| format!("{value:.1}")) }
    }

    fn values(from: f64, to: f64) -> Vec<f64> {
        let places = axis(true).mark_places(from.log10(), to.log10());
        places.into_iter().map(|place| axis(true).value(place)).collect()
    }

    #[test]
    fn default_marks_are_round_numbers() {
        assert_eq!(round(0.0, 11.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(round(3.0, 6.0), [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]);
        assert_eq!(values(1.0, 60.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(values(5.0, 20_000.0), [10.0, 100.0, 1000.0, 10_000.0]);
    }

    #[test]
    fn given_marks_outside_the_range_are_left_out() {
        let axis = axis(true).marked(&[1.0, 10.0, 100.0]);
        assert_eq!(axis.mark_places(0.0, 1.0), [0.0, 1.0]);
    }

    #[test]
    fn logarithmic_axis_of_close_values_has_two_marks() {
        let (from, to) = axis(true).vertical_span([266_f64.log10(), 394_f64.log10()].into_iter());
        assert_eq!((axis(true).value(from), axis(true).value(to)), (200.0, 500.0));
        assert_eq!(axis(true).mark_places(from, to).len(), 2);
        let (from, to) = axis(true).vertical_span([100_f64.log10(), 1000_f64.log10()].into_iter());
        assert_eq!((axis(true).value(from), axis(true).value(to)), (100.0, 1000.0));
    }

    #[test]
    fn linear_axis_starts_at_zero_and_a_given_range_is_kept() {
        assert_eq!(axis(false).vertical_span([5.0, 100.0].into_iter()), (0.0, 108.0));
        assert_eq!(axis(false).vertical_span([-3.0, -2.0].into_iter()), (0.0, 1.0));
        assert_eq!(axis(false).covering(2.0, 3.0).horizontal_span([5.0].into_iter()), (2.0, 3.0));
    }
}
