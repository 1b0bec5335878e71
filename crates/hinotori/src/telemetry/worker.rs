//! What each worker thread counts for itself.
//!
//! Only one thread writes its numbers, so counting is a plain addition to memory that no other core has in its cache. A
//! scrape reads the numbers of all threads and adds them up.

use std::{
    marker::PhantomData,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the fan-out histogram, in microseconds: from a broadcast to a few subscribers, to a worker that
/// cannot keep up.
pub(super) const BOUNDS: [u64; 15] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// A number that one thread adds to and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    /// Not `fetch_add`, which would lock the cache line: there is no second writer.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers of one thread, on cache lines of their own: two lines are fetched at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tallies {
    /// Messages from clients.
    pub(crate) received: Tally,
    /// Messages that were queued for clients.
    pub(crate) sent: Tally,
    /// Fan-outs by bound; the last is beyond all bounds.
    pub(super) fan_outs: [Tally; BOUNDS.len() + 1],
    pub(super) fan_out_nanos: Tally,
}

impl Tallies {
    /// Counts a broadcast that has been queued for, or written to, all its subscribers on this thread.
    pub(crate) fn fanned_out(&self, took: Duration, sent: u64) {
        self.sent.add(sent);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // inclusive: `le` is "less than or equal"
        let bucket = BOUNDS.iter().position(|bound| nanos <= bound * 1_000).unwrap_or(BOUNDS.len());
        self.fan_outs[bucket].add(1);
        self.fan_out_nanos.add(nanos);
    }
}

/// The writing side of one thread's numbers. It stays on that thread.
#[derive(Debug)]
pub(crate) struct Counts {
    tallies: Arc<Tallies>,
    _of_one_thread: PhantomData<*const ()>,
}

impl Counts {
    /// The writing side of numbers that other threads may read.
    pub(super) fn new(tallies: Arc<Tallies>) -> Self {
        Self { tallies, _of_one_thread: PhantomData }
    }
}

impl Deref for Counts {
    type Target = Tallies;

    fn deref(&self) -> &Tallies {
        &self.tallies
    }
}
