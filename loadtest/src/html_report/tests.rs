//! Tests of the whole page.

use super::*;
use crate::histogram::{Histogram, Percentiles};
use crate::limit::Limit;
use crate::outcome::{ServerFigures, Step};
use crate::timeline::{LATENCY_BOUNDS_US, TimelineSecond};
use crate::verdict::Verdict;

/// Returns the result of a run with every section.
fn result() -> TestResult {
    let latency_us = Percentiles { p50: 266, p99: 3_670, max: 20_200, ..Percentiles::default() };
    let second = |us: u64| TimelineSecond {
        delivered: 1_000,
        p50: Some(us),
        p99: Some(us * 10),
        latency_buckets: vec![0, 900, 0, 100],
    };
    let mut outcome = Outcome {
        scenario: "steady".into(),
        version: "1.2.3".into(),
        latency_us,
        latency_curve: vec![(0.0, 100), (0.9, 300), (0.99, 3_000)],
        timeline: vec![second(266), TimelineSecond::default(), second(300)],
        latency_bounds_us: LATENCY_BOUNDS_US.into(),
        server: Some(ServerFigures::default()),
        limit: Some(Limit { distance: Some(2.32), ..Limit::default() }),
        steps: vec![
            Step { deliveries_per_second: 1e3, latency_us, ..Step::default() },
            Step { deliveries_per_second: 2e3, latency_us, problem: "p99 <too> high".into(), ..Step::default() },
        ],
        ..Outcome::default()
    };
    outcome.counters.sent = 50;
    outcome.parameters.insert("target".into(), "127.0.0.1:1234".into());
    outcome.parameters.insert("server_arguments".into(), vec!["--name", "<script>alert(1)</script>"].into());
    let verdict = Verdict { text: "INCOMPLETE: refused with `\x1b[2J<img>`".into(), ..Verdict::default() };
    TestResult { outcome, verdict }
}

#[test]
fn sections_stand_in_their_order() {
    let page = render(&result());
    let parts = [
        "class=\"verdict good\"",
        "class=\"cards\"",
        "<h2>Latency and own lag</h2>",
        "<h2>Limit of the machine</h2>",
        "<h2>Timeline</h2>",
        "<title>Deliveries over time</title>",
        "<title>Latency over time</title>",
        "<title>Share of the deliveries by latency over time</title>",
        "<title>Latency by percentile</title>",
        "<h2>Steps</h2>",
        "<h2>Parameters</h2>",
        "<h2>Machine and versions</h2>",
    ];
    let places: Vec<usize> = parts.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains("127.0.0.1:1234") && page.contains("1.2.3"), "{page}");
}

#[test]
fn text_from_outside_is_escaped() {
    let page = render(&result());
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\x1b') && !page.contains("<too>"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("\\x1b[2J&lt;img&gt;"), "{page}");
    let text = render_text("<zoo>", "a < b", "<svg></svg>");
    assert!(text.contains("<h1>&lt;zoo&gt;</h1>") && text.contains("<pre>a &lt; b</pre>"), "{text}");
}

#[test]
fn page_needs_no_network_and_runs_no_script() {
    for page in [render(&result()), render_text("zoo", "text", &plot::standalone("<svg></svg>"))] {
        let page = page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
        for reference in ["http", "src=", "href", "url(", "@import", "<script", "<link", "<iframe"] {
            assert!(!page.contains(reference), "{reference} in {page}");
        }
        assert!(page.contains("default-src 'none'"), "{page}");
    }
}

#[test]
fn page_has_dark_and_light_colors() {
    let page = render(&result());
    assert_eq!(page.matches("@media screen and (prefers-color-scheme: dark)").count(), 2, "the page and its plots");
    for name in ["--page", "--card", "--ink", "--grey", "--line", "--row", "--good", "--wrong", "--incomplete"] {
        assert_eq!(STYLE.matches(&format!("{name}: #")).count(), 2, "a dark and a light {name}");
    }
    let body = page.split("</style>").nth(1).unwrap();
    assert!(!body.contains("fill=\"#") && !body.contains("stroke=\"#"), "a plot has a color of its own");
}

#[test]
fn every_plot_has_a_title_and_a_description() {
    let page = render(&result());
    let plots = page.matches("<svg").count();
    assert_eq!(plots, 5);
    assert_eq!(page.matches("<desc>").count(), plots);
    assert_eq!(page.matches("role=\"img\"").count(), plots);
    assert!(page.contains("<details><summary>The timeline as a table"), "{page}");
}

#[test]
fn lag_without_a_record_has_dashes() {
    let mut latency = Histogram::<3>::default();
    latency.record(2_000_000, 1);
    let html = percentile_table(&[("latency", &latency.percentiles()), ("send lag", &Percentiles::default())]);
    assert!(
        html.contains("<th>latency</th><td>2 ms</td><td>2 ms</td><td>2 ms</td><td>2 ms</td><td>2 ms</td>"),
        "{html}"
    );
    assert!(html.contains("<th>send lag</th><td>-</td><td>-</td><td>-</td><td>-</td><td>-</td>"), "{html}");
}
