//! The figures of each second as comma-separated values.
//!
//! The first row names the columns. A cell without a measured figure is empty, since a spreadsheet would draw a zero.

use std::fmt::Write as _;

use crate::metrics::Metrics;

/// The names of the columns.
const HEADER: &str = "second,delivered,count,min_us,mean_us,p50_us,p90_us,p99_us,p999_us,max_us";

/// Renders one row for each second since the first line, the warm-up included. The count is the number of deliveries
/// whose latency was recorded.
#[must_use]
pub fn render(metrics: &Metrics) -> String {
    let mut text = format!("{HEADER}\n");
    for (at, second) in metrics.whole_seconds().enumerate() {
        let found = second.latency.percentiles();
        // Writing to a string cannot fail.
        let _ = write!(text, "{at},{},{}", second.delivered, found.count);
        let figures = [found.min.to_string(), found.mean.to_string()].into_iter();
        let quantiles = [found.p50, found.p90, found.p99, found.p999, found.max].into_iter();
        for figure in figures.chain(quantiles.map(|figure| figure.to_string())) {
            let _ = write!(text, ",{}", if found.count > 0 { figure.as_str() } else { "" });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use crate::metrics::LineTimes;

    #[test]
    fn second_without_a_delivery_has_empty_cells() {
        let mut metrics = Metrics::default();
        metrics.set_window(SECOND, (SECOND, 3 * SECOND));
        metrics.counters.sent = 1;
        metrics.record_deliveries(SECOND + 100_000, LineTimes { planned: SECOND, sent: SECOND }, 4, true);
        assert_eq!(render(&metrics), format!("{HEADER}\n0,4,4,100,100,100,100,100,100,100\n1,0,0,,,,,,,\n"));
    }

    #[test]
    fn run_without_lines_has_no_rows() {
        assert_eq!(render(&Metrics::default()), format!("{HEADER}\n"));
    }
}
