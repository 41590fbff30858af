//! Heat maps: the distribution of a value over time. Each column is a stretch of time, each row a range of values, and
//! the opacity of a cell shows the share of its column's records that lie in its row.

use super::SIZE;
use super::axis::{Axis, span, widened_to_marks};
use super::frame::{Frame, KeyEntry, Sample};
use super::svg::{Point, Svg};

/// The lowest share of each level of opacity. Shares are logarithmic, since one record in a hundred decides the 99th
/// percentile.
const LEVELS: [(f64, &str); 6] =
    [(0.0, "below 0.1 %"), (0.001, "0.1 %"), (0.01, "1 %"), (0.05, "5 %"), (0.2, "20 %"), (0.5, "50 % and more")];

/// One column of a heat map.
#[derive(Clone, Debug)]
pub struct Column {
    /// The start and the end on the horizontal axis.
    pub span: (f64, f64),
    /// The number of records in each row. Missing rows have none.
    pub counts: Vec<u64>,
}

/// The description of a heat map.
#[derive(Clone, Copy)]
pub struct HeatMap<'a> {
    /// The title.
    pub title: &'a str,
    /// The horizontal axis, which is linear.
    pub x: Axis<'a>,
    /// The vertical axis, which is logarithmic.
    pub y: Axis<'a>,
    /// The highest value of each row but the last, which has no highest value.
    pub bounds: &'a [u64],
}

/// Draws the columns as SVG. A column without records stays empty.
#[must_use]
pub fn heat_map(map: &HeatMap<'_>, columns: &[Column]) -> String {
    let rows = used_rows(columns);
    let edges = |row: usize| row_edges(map.bounds, row);
    let heights = rows.iter().flat_map(|&(low, high)| [edges(low).0, edges(high).1]).map(f64::log10);
    let (from, to) = span(heights);
    let x_span = map.x.horizontal_span(columns.iter().flat_map(|column| [column.span.0, column.span.1]));
    let key: Vec<KeyEntry<'_>> = (0..LEVELS.len())
        .map(|level| KeyEntry { name: LEVELS[level].1, sample: Sample::Square(opacity(level)) })
        .collect();
    let frame = Frame::new(map.title, SIZE.1, (&map.x, x_span), (&map.y, widened_to_marks(from, to)), &key);
    let mut svg = Svg::new(SIZE, map.title, &description(map, columns));
    frame.draw(&mut svg);
    let mut cells: [Vec<(Point, Point)>; LEVELS.len()] = Default::default();
    for column in columns {
        for (row, share) in shares(&column.counts) {
            let (low, high) = edges(row);
            let corner = |x: f64, value: f64| frame.point((x, value.log10()));
            cells[level(share)].push((corner(column.span.0, high), corner(column.span.1, low)));
        }
    }
    for (level, cells) in cells.iter().enumerate().filter(|(_, cells)| !cells.is_empty()) {
        svg.rectangles("plot-heat", opacity(level), cells);
    }
    svg.finish()
}

/// Returns the lowest and the highest row with records, if there is one.
fn used_rows(columns: &[Column]) -> Option<(usize, usize)> {
    let used = || columns.iter().flat_map(|column| shares(&column.counts)).map(|(row, _)| row);
    Some((used().min()?, used().max()?))
}

/// Returns the lowest and the highest value of a row. The first and the last row are as high as their neighbors.
fn row_edges(bounds: &[u64], row: usize) -> (f64, f64) {
    let bound = |index: usize| bounds.get(index).map_or(1.0, |&bound| bound as f64);
    match row {
        0 => (bound(0) * bound(0) / bound(1), bound(0)),
        _ if row < bounds.len() => (bound(row - 1), bound(row)),
        _ => {
            let last = bounds.len().saturating_sub(1);
            (bound(last), bound(last) * bound(last) / bound(last.saturating_sub(1)))
        }
    }
}

/// Returns each row with records, and its share of all records.
fn shares(counts: &[u64]) -> impl Iterator<Item = (usize, f64)> {
    let sum: u64 = counts.iter().sum();
    counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(move |(row, &count)| (row, count as f64 / sum as f64))
}

/// Returns the level of a share.
fn level(share: f64) -> usize {
    LEVELS.iter().rposition(|level| share >= level.0).unwrap_or(0)
}

/// Returns the opacity of a level. The differences rise, since the eye tells faint colors apart more easily.
fn opacity(level: usize) -> f64 {
    ((level + 1) as f64 / LEVELS.len() as f64).powf(1.5)
}

/// Returns the heat map in words: its size, its range of values, and the number of empty columns.
fn description(map: &HeatMap<'_>, columns: &[Column]) -> String {
    let empty = columns.iter().filter(|column| column.counts.iter().all(|&count| count == 0)).count();
    let label = |value: f64| (map.y.label)(value);
    let range = used_rows(columns).map_or(String::new(), |(low, high)| {
        let (low, high) = (row_edges(map.bounds, low).0, row_edges(map.bounds, high).1);
        format!(" The values lie between {} and {}.", label(low), label(high))
    });
    format!(
        "{} by {}: a stronger color shows a larger share of the column. {} columns, {empty} without a value.{range}",
        map.y.name,
        map.x.name,
        columns.len()
    )
}

#[cfg(test)]
mod tests {
    use super::super::axis::tests::axis;
    use super::*;

    fn map() -> HeatMap<'static> {
        HeatMap { title: "heat", x: axis(false), y: axis(true), bounds: &[10, 100, 1000] }
    }

    fn column(second: u32, counts: &[u64]) -> Column {
        Column { span: (f64::from(second), f64::from(second) + 1.0), counts: counts.to_vec() }
    }

    /// Returns the number of cells of each opacity that is drawn, without the six cells of the key.
    fn cells(svg: &str) -> Vec<(String, usize)> {
        let paths = svg.lines().filter_map(|line| line.strip_prefix("<path class=\"plot-heat\" fill-opacity=\""));
        paths
            .skip(LEVELS.len())
            .map(|path| (path.split('"').next().unwrap().into(), path.matches('M').count()))
            .collect()
    }

    #[test]
    fn cells_have_the_opacity_of_their_share() {
        let svg = heat_map(&map(), &[column(0, &[0, 50, 50]), column(1, &[]), column(2, &[1, 0, 99])]);
        assert_eq!(cells(&svg), [("0.35".to_owned(), 1), ("1".to_owned(), 3)]);
        assert!(svg.contains("3 columns, 1 without a value. The values lie between 1.0 and 1000.0."), "{svg}");
    }

    #[test]
    fn share_has_the_level_whose_bound_it_reaches() {
        assert_eq!([0.0001, 0.001, 0.02, 0.05, 0.49, 1.0].map(level), [0, 1, 2, 3, 4, 5]);
        assert_eq!(shares(&[0, 1, 3]).collect::<Vec<_>>(), [(1, 0.25), (2, 0.75)]);
    }

    #[test]
    fn first_and_last_row_are_as_high_as_their_neighbors() {
        let edges: Vec<_> = (0..4).map(|row| row_edges(&[10, 100, 1000], row)).collect();
        assert_eq!(edges, [(1.0, 10.0), (10.0, 100.0), (100.0, 1000.0), (1000.0, 10_000.0)]);
    }

    #[test]
    fn heat_map_without_records_can_be_drawn() {
        for svg in [heat_map(&map(), &[]), heat_map(&map(), &[column(0, &[0, 0])])] {
            assert!(cells(&svg).is_empty() && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
