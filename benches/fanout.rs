//! A line from a member's hand to every member's outlet, in memory: what is left of a delivery
//! without the kernel.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use roomcast::SlowReader;
use roomcast::name::{PeerId, RoomName, UserName};
use roomcast::outbox::Outlet;
use roomcast::peer::Peer;
use roomcast::registry::{Membership, Registry};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::task::yield_now;

/// Lines that are on their way at a time: what a busy room has in one pass.
const IN_FLIGHT: usize = 32;

/// Takes all bytes, and counts them with all others of its room.
struct Sink(Arc<AtomicUsize>);

impl Outlet for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::Release);
        Ok(bytes.len())
    }
}

/// A room with members, and the bytes that they got.
struct Crowd {
    members: Vec<Membership>,
    received: Arc<AtomicUsize>,
}

impl Crowd {
    async fn gather(size: usize) -> Self {
        let registry = Arc::new(Registry::new(1 << 20, false));
        let received = Arc::new(AtomicUsize::new(0));
        let member = |id: usize| {
            let sink = Sink(Arc::clone(&received));
            let peer = Arc::new(Peer::new(PeerId(id as u64), 1 << 20, SlowReader::Skip, sink));
            let (room, user) = (RoomName::parse("room"), UserName::parse(&format!("u{id}")));
            let joined = room.ok().zip(user.ok()).and_then(|(room, user)| registry.join(room, user, peer).ok());
            joined.unwrap_or_else(|| unreachable!("the names are good and the server is not ending"))
        };
        let members = (0..size).map(member).collect();
        // Everybody sees the last one come.
        while registry.counters().read().joins < size as u64 {
            yield_now().await;
        }
        Self { members, received }
    }

    /// Says `count` lines, [`IN_FLIGHT`] at a time, and waits until all have all.
    async fn talk(&self, count: u64) {
        let line = b"u0: the quick brown fox jumps over the lazy dog\n";
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        while left > 0 {
            let lines = left.min(IN_FLIGHT);
            let owed = self.received.load(Ordering::Acquire) + lines * line.len() * self.members.len();
            for _ in 0..lines {
                // An inbox of 1 MiB has room for so few.
                let _ = self.members[0].say(Box::from(&line[..]), 1);
            }
            while self.received.load(Ordering::Acquire) < owed {
                yield_now().await;
            }
            left -= lines;
        }
    }
}

fn benchmark(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap_or_else(|error| unreachable!("no runtime: {error}"));
    let mut group = criterion.benchmark_group("fanout");
    for peers in [8, 32, 128, 1_000, 10_000] {
        let crowd = runtime.block_on(Crowd::gather(peers));
        group.throughput(Throughput::Elements(peers as u64));
        group.bench_with_input(BenchmarkId::new("ours", peers), &crowd, |bencher, crowd| {
            bencher.iter_custom(|lines| {
                let start = Instant::now();
                runtime.block_on(crowd.talk(lines));
                start.elapsed()
            });
        });
        runtime.block_on(async { drop(crowd) });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
