//! The plots of a zoo and of a soak as SVG.

use super::result::{SoakResult, ZooResult};
use crate::format::micros_label;
use crate::plot::{Axes, Axis, Dots, Series, chart, dot_plot, stack, standalone};

/// Draws the 99th percentiles of all kinds: calm, control and here.
#[must_use]
pub fn latency_plot(result: &ZooResult) -> String {
    let names: Vec<&str> = result.kinds.iter().map(|kind| kind.name.as_str()).collect();
    let all = |value: &dyn Fn(&super::result::KindResult) -> u64| {
        result.kinds.iter().map(|kind| value(kind) as f64).collect()
    };
    let series = [
        Dots { name: "calm", values: all(&|_| result.calm.latency_us.p99) },
        Dots { name: "control attacked", values: all(&|kind| kind.seen.control.latency_us.p99) },
        Dots { name: "here attacked", values: all(&|kind| kind.seen.here.latency_us.p99) },
    ];
    let axis = Axis::logarithmic("p99", &micros_label);
    standalone(&dot_plot("99th percentile of the good clients' latency", &axis, &names, &series))
}

/// The most points of a series: a soak of half an hour has 1,800 samples, which no plot of this width can show.
const MAX_POINTS: usize = 180;

/// Draws memory, descriptors and 99th percentiles of a soak over time, one chart above the other.
#[must_use]
pub fn soak_plot(soak: &SoakResult) -> String {
    let seconds = |value: f64| format!("{value:.0} s");
    let x = Axis::linear("time", &seconds);
    let samples = |name: &str, value: &dyn Fn(&super::result::SoakSample) -> f64| {
        let points: Vec<(f64, f64)> = soak.samples.iter().map(|sample| (sample.at, value(sample))).collect();
        Series { name: name.into(), points: highest_of_each_stretch(&points) }
    };
    let memory = [
        samples("RSS", &|sample| mebibytes(sample.rss)),
        samples("kernel", &|sample| mebibytes(sample.kernel)),
        samples("both", &|sample| mebibytes(sample.rss + sample.kernel)),
    ];
    let descriptors = [samples("descriptors", &|sample| sample.descriptors as f64)];
    let latency =
        [Series { name: "p99".into(), points: soak.p99_us.iter().map(|&(at, us)| (at, us as f64)).collect() }];
    let (size, count) = (|value: f64| format!("{value:.0} MiB"), |value: f64| format!("{value:.0}"));
    let charts = [
        chart(&Axes { title: "memory of the server", x, y: Axis::linear("memory", &size) }, &memory),
        chart(
            &Axes { title: "open descriptors of the server", x, y: Axis::linear("descriptors", &count) },
            &descriptors,
        ),
        chart(
            &Axes { title: "99th percentile of the good clients' latency", x, y: Axis::linear("p99", &micros_label) },
            &latency,
        ),
    ];
    standalone(&stack(&charts))
}

/// Returns the highest point of each stretch of the points, which has as many of them as [`MAX_POINTS`] requires.
fn highest_of_each_stretch(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretches = points.chunks(points.len().div_ceil(MAX_POINTS).max(1));
    stretches.filter_map(|stretch| stretch.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1))).collect()
}

/// Returns bytes in MiB, so that the axis marks round numbers.
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_series_keeps_the_highest_point_of_each_stretch() {
        let mut points: Vec<(f64, f64)> = (0..1_800).map(|at| (f64::from(at), 1.0)).collect();
        points[1_234].1 = 9.0;
        let shown = highest_of_each_stretch(&points);
        assert_eq!(shown.len(), MAX_POINTS);
        assert!(shown.contains(&(1_234.0, 9.0)), "a peak stays visible");
        assert_eq!(highest_of_each_stretch(&points[..7]), points[..7], "a short series is shown whole");
        assert_eq!(highest_of_each_stretch(&[]), []);
    }
}
