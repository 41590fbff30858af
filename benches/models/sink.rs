//! A sink: an outlet in place of a socket. It takes everything, at a price, and tells when it was
//! given certain words.

use crossbeam_utils::CachePadded;
use futures::task::AtomicWaker;
use loadtest::clock::{Tick, now, ticks};
use memchr::memmem::Finder;
use roomcast::peer::byte_sink::ByteSink;
use std::future::poll_fn;
use std::hint::spin_loop;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What a send costs the kernel, whatever is in it: measured over loopback at 3.2 to 4.5 µs of CPU
/// from 16 bytes to 4 KB.
pub(crate) const SEND: Duration = Duration::from_micros(3);

/// An outlet that takes everything.
pub(crate) struct Sink {
    /// How long a write keeps its writer's CPU busy.
    price: Tick,
    /// Bytes taken. Away from other sinks' counts, which other threads touch.
    bytes: CachePadded<AtomicUsize>,
    /// What somebody waits for.
    watch: Option<ServerStats>,
}

impl Sink {
    /// A sink that nobody looks at.
    pub(crate) fn new(price: Duration) -> Self {
        Self { price: ticks(price), bytes: CachePadded::default(), watch: None }
    }

    /// A sink in which somebody waits for `words`.
    pub(crate) fn watched(price: Duration, words: &str) -> Self {
        Self { watch: Some(ServerStats::new(words)), ..Self::new(price) }
    }

    /// Forgets that the words were seen.
    pub(crate) fn forget(&self) {
        if let Some(watch) = &self.watch {
            watch.seen.store(0, Ordering::Relaxed);
        }
    }

    /// The moment at which the words came, if they did.
    pub(crate) fn moment(&self) -> Option<Tick> {
        self.watch.as_ref().map(|watch| watch.seen.load(Ordering::Relaxed)).filter(|&moment| moment > 0)
    }

    /// Waits for the words; the moment at which the write that brought them was done.
    pub(crate) async fn seen(&self) -> Tick {
        match &self.watch {
            Some(watch) => watch.wait().await,
            None => std::future::pending().await,
        }
    }
}

impl ByteSink for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.price > 0 {
            let until = now() + self.price;
            while now() < until {
                spin_loop();
            }
        }
        // Relaxed: nobody reads it but to see that bytes were looked at.
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if let Some(watch) = &self.watch {
            watch.look(bytes);
        }
        Ok(bytes.len())
    }
}

/// Words that somebody waits for. Only watched sinks pay for the search.
struct ServerStats {
    words: Finder<'static>,
    /// When they came; 0 if they did not.
    seen: AtomicU64,
    waker: AtomicWaker,
}

impl ServerStats {
    fn new(words: &str) -> Self {
        Self { words: Finder::new(words).into_owned(), seen: AtomicU64::new(0), waker: AtomicWaker::new() }
    }

    /// The moment is noted here, so that the time until a waiter runs is not in it.
    fn look(&self, bytes: &[u8]) {
        if self.seen.load(Ordering::Relaxed) == 0 && self.words.find(bytes).is_some() {
            self.seen.store(now(), Ordering::Relaxed);
            // Orders the store before the waiter's load: either it sees the moment, or is woken.
            self.waker.wake();
        }
    }

    async fn wait(&self) -> Tick {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.seen.load(Ordering::Relaxed) {
                0 => Poll::Pending,
                moment => Poll::Ready(moment),
            }
        })
        .await
    }
}
