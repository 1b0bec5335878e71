//! How the store does, as metrics.

use hinotori::prometheus::{self, Histogram, HistogramOpts, IntGauge, Registry};

/// Seconds: from a disk that does not sync to one that has stalled.
const COMMIT_SECONDS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0];

/// Posts and likes: up to as many as a batch can have.
const BATCH_SIZE: [f64; 6] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];

/// What is measured of a log.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    pub(super) up: IntGauge,
    pub(super) queue: IntGauge,
    pub(super) commit_seconds: Histogram,
    pub(super) batch_size: Histogram,
}

impl Meters {
    /// Of a log that is well.
    ///
    /// # Errors
    /// None that depends on anything: of a metric whose name or buckets are wrong.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let up = IntGauge::new("realtime_chat_store_up", "1, or 0 from a failed write until one succeeds.")?;
        let queue = IntGauge::new("realtime_chat_store_queue", "Posts and likes that wait to be written.")?;
        let commit_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "realtime_chat_store_commit_seconds",
                "Seconds that the store took to write a batch.",
            )
            .buckets(COMMIT_SECONDS.to_vec()),
        )?;
        let batch_size = Histogram::with_opts(
            HistogramOpts::new(
                "realtime_chat_store_batch_size",
                "Posts and likes per batch that the store wrote.",
            )
            .buckets(BATCH_SIZE.to_vec()),
        )?;
        up.set(1);
        Ok(Self { up, queue, commit_seconds, batch_size })
    }

    /// Puts them into a registry.
    ///
    /// # Errors
    /// [`prometheus::Error::AlreadyReg`] if there are any already.
    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let Self { up, queue, commit_seconds, batch_size } = self;
        registry.register(Box::new(up.clone()))?;
        registry.register(Box::new(queue.clone()))?;
        registry.register(Box::new(commit_seconds.clone()))?;
        registry.register(Box::new(batch_size.clone()))
    }

    /// Whether the last try to write succeeded.
    pub(crate) fn is_up(&self) -> bool {
        self.up.get() == 1
    }
}
