//! The subscriber: takes records of the level in force and hands them to the writer in the form in force.

use super::record::{Style, format_record};
use roomcast::config::{LiveLog, LogFormat};
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_appender::non_blocking::NonBlocking;

/// The crate whose records are logged: others may hold what users sent.
const OWN_TARGET: &str = "roomcast";

/// The log of this process. Its level is an atomic that `tracing` asks for when a place that logs is first reached, and
/// again after each change of the level ([`LiveLog::replace`]).
pub(super) struct LogSubscriber {
    live: Arc<LiveLog>,
    writer: NonBlocking,
    /// Whether levels are colored in the text form.
    colored: bool,
}

impl LogSubscriber {
    pub(super) fn new(live: Arc<LiveLog>, writer: NonBlocking, colored: bool) -> Self {
        Self { live, writer, colored }
    }
}

impl Subscriber for LogSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= self.live.get().level.filter()
            && metadata.target().starts_with(OWN_TARGET)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.live.get().level.filter())
    }

    fn event(&self, event: &Event<'_>) {
        let style = match self.live.get().format {
            LogFormat::Json => Style::Json,
            LogFormat::Text if self.colored => Style::ColoredText,
            LogFormat::Text => Style::Text,
        };
        let record = format_record(event, style, SystemTime::now());
        // The writer takes each record, and counts those that it drops.
        let _ = self.writer.clone().write_all(record.as_bytes());
    }

    /// Spans are never enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::super::drops::Drops;
    use super::*;
    use roomcast::config::{LogLevel, LogSettings};
    use std::io;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use tracing::subscriber::with_default;
    use tracing::{debug, info, warn};
    use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

    /// A writer whose each write waits for a permission and reports itself.
    struct GatedWriter {
        begun: Sender<()>,
        permissions: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for GatedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.begun.send(());
            // Without a sender, every write is allowed.
            let _ = self.permissions.recv();
            self.written.try_lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log with a queue of `capacity` records and a writer that waits.
    struct GatedLog {
        subscriber: LogSubscriber,
        drops: Drops,
        guard: WorkerGuard,
        begun: Receiver<()>,
        permit: Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    fn gated_log(level: LogLevel, capacity: usize) -> GatedLog {
        let ((begun_sender, begun), (permit, permissions)) = (channel(), channel());
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let writer = GatedWriter { begun: begun_sender, permissions, written: Arc::clone(&written) };
        let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(capacity).finish(writer);
        let drops = Drops::new(writer.error_counter());
        let live = Arc::new(LiveLog::new(LogSettings { level, format: LogFormat::Json }));
        GatedLog { subscriber: LogSubscriber::new(live, writer, false), drops, guard, begun, permit, written }
    }

    /// Returns the field of each written record.
    fn fields(written: &Mutex<Vec<u8>>, name: &str) -> Vec<serde_json::Value> {
        let text = String::from_utf8(written.try_lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()[name].clone()).collect()
    }

    #[test]
    fn records_beyond_the_queue_of_a_writer_that_is_stuck_are_counted_and_reported() {
        let GatedLog { subscriber, drops, guard, begun, permit, written } = gated_log(LogLevel::Info, 4);
        with_default(subscriber, || {
            info!(number = 0, "flood");
            // The writer holds the first record, so the queue is empty.
            begun.recv().unwrap();
            for number in 1..20 {
                info!(number, "flood");
            }
            assert_eq!(drops.count(), 15, "one record is being written, and four wait");
            drops.report();
            assert_eq!(drops.count(), 16, "the report is a record, too");
            drop(permit);
            // The begin of the last one's write means that the queue has capacity again.
            (0..4).for_each(|_| begun.recv().unwrap());
            drops.report();
            drops.report();
        });
        drop(guard);
        let numbers: Vec<_> = fields(&written, "number").into_iter().filter_map(|number| number.as_u64()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        let dropped: Vec<_> = fields(&written, "dropped").into_iter().filter_map(|count| count.as_u64()).collect();
        assert_eq!(dropped, [16], "a report that was written is not repeated");
    }

    #[test]
    fn level_of_records_changes_at_run_time() {
        let GatedLog { subscriber, guard, permit, written, .. } = gated_log(LogLevel::Warn, 100);
        let live = Arc::clone(&subscriber.live);
        drop(permit);
        with_default(subscriber, || {
            let set_level = |level| live.replace(LogSettings { level, format: LogFormat::Json });
            let log_each = |round: u64| {
                warn!(round, "a warning");
                info!(round, "information");
                debug!(round, "a detail");
            };
            log_each(1);
            set_level(LogLevel::Debug);
            log_each(2);
            set_level(LogLevel::Off);
            log_each(3);
            set_level(LogLevel::Info);
            log_each(4);
        });
        drop(guard);
        let rounds: Vec<_> = fields(&written, "round").into_iter().map(|round| round.as_u64().unwrap()).collect();
        assert_eq!(rounds, [1, 2, 2, 2, 4, 4]);
        assert_eq!(fields(&written, "level"), ["warn", "warn", "info", "debug", "warn", "info"]);
    }

    #[test]
    fn records_of_other_crates_are_not_logged() {
        let GatedLog { subscriber, guard, permit, written, .. } = gated_log(LogLevel::Trace, 100);
        drop(permit);
        with_default(subscriber, || {
            info!(target: "elsewhere", "theirs");
            info!("ours");
        });
        drop(guard);
        assert_eq!(fields(&written, "event"), ["ours"]);
    }
}
