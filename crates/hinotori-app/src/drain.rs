//! How clients are disconnected at shutdown.

use std::time::Duration;

use clap::Args;
use hinotori::Drainer;

use crate::positive;

/// See the module.
#[derive(Debug, Args)]
pub struct Drain {
    /// Milliseconds that clients are still accepted after /readyz has turned to 503: the time that a load balancer
    /// needs to see it.
    #[arg(long, env = "DRAIN_GRACE", default_value_t = 0)]
    drain_grace: u64,
    /// Connections that are closed at a time at shutdown, at least 1.
    #[arg(long, env = "DRAIN_BATCH", default_value = "10000", value_parser = positive())]
    drain_batch: usize,
    /// Milliseconds from one batch to the next.
    #[arg(long, env = "DRAIN_INTERVAL", default_value_t = 2_000)]
    drain_interval: u64,
    /// Milliseconds that closing all of them may take, at least 1. One second before, all clients that have not been
    /// notified are notified at once.
    #[arg(long, env = "DRAIN_DEADLINE", default_value = "30000", value_parser = positive())]
    drain_deadline: usize,
}

impl Drain {
    /// The settings as the library takes them.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        Drainer::default()
            .grace(Duration::from_millis(self.drain_grace))
            .batch_size(self.drain_batch)
            .batch_interval(Duration::from_millis(self.drain_interval))
            .shutdown(Duration::from_millis(self.drain_deadline as u64))
    }
}
