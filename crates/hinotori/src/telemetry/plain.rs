//! Counts without metrics: what a drain waits for, and nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Closed, Count, Counts, Crash, Refusal, Transport};

/// See the module. It has the methods of the one with metrics.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    connections: Gauge,
    channels: Gauge,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A connection has opened; it is counted until the guard is dropped.
    pub(crate) fn opened(&self, _: Transport) -> Count {
        Count::new(self.connections.clone())
    }

    pub(crate) fn refused(&self, _: Refusal) {}

    pub(crate) fn closed(&self, _: Closed) {}

    pub(crate) fn crashed(&self, _: Crash) {}

    pub(crate) fn rate_limited(&self) {}

    pub(crate) fn broadcast(&self) {}

    /// The channels of all routes.
    pub(crate) fn channels_of(&self, _: &str) -> Gauge {
        self.channels.clone()
    }

    /// What one worker thread counts.
    pub(crate) fn of_worker(&self) -> Counts {
        Counts::new(Arc::default())
    }

    /// Channels that have not ended.
    pub(crate) fn channels(&self) -> usize {
        self.channels.0.load(Ordering::Relaxed)
    }
}

/// How many there are now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many there have been, which nobody asks.
#[derive(Debug)]
pub(crate) enum Counter {}

impl Counter {
    pub(crate) fn inc(&self) {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_counted_until_they_end() {
        let telemetry = Telemetry::new();
        let of_rooms = Count::new(telemetry.channels_of("room:*"));
        let of_users = Count::new(telemetry.channels_of("user:*"));
        assert_eq!(telemetry.channels(), 2);
        drop((of_rooms, of_users));
        assert_eq!(telemetry.channels(), 0);
    }
}
