//! How many connections close at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A number of connections to close, of all workers together. Each worker takes from it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    size: usize,
    left: Arc<AtomicUsize>,
}

impl Batch {
    pub(super) fn new(size: usize) -> Self {
        Self { size, left: Arc::new(AtomicUsize::new(size)) }
    }

    /// Takes one. False if none is left.
    pub(super) fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Whether all of the batch have been closed.
    pub(crate) fn is_done(&self) -> bool {
        self.closed() == self.size
    }

    /// How many have been closed.
    pub(crate) fn closed(&self) -> usize {
        self.size - self.left.load(Ordering::Relaxed)
    }
}
