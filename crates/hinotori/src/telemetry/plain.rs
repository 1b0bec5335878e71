//! Telemetry without metrics: nothing is counted.

use std::{sync::Arc, time::Duration};

use super::{Count, Counts, Crash, Transport, Unsent};
use crate::reason::{Closed, Refusal};

/// See the module. It has the same methods as the version with metrics.
#[derive(Debug)]
pub(crate) struct Telemetry;

impl Telemetry {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn opened(&self, _: Transport) -> Count {
        Count::new(Gauge)
    }

    pub(crate) fn refused(&self, _: Refusal) {}

    pub(crate) fn closed(&self, _: Closed) {}

    pub(crate) fn crashed(&self, _: Crash) {}

    pub(crate) fn rate_limited(&self) {}

    pub(crate) fn broadcast(&self) {}

    pub(crate) fn channels_of(&self, _: &str) -> Gauge {
        Gauge
    }

    pub(crate) fn hops(&self) -> Hops {
        Hops
    }

    /// What one worker thread counts, to limit its bursts.
    pub(crate) fn of_worker(&self) -> Counts {
        Counts::new(Arc::default())
    }
}

/// Frames between nodes, which are not counted.
#[derive(Debug)]
pub(crate) struct Hops;

impl Hops {
    pub(crate) fn nodes(&self, _: usize) {}

    pub(crate) fn is_up(&self, _: bool) {}

    pub(crate) fn sent(&self) {}

    pub(crate) fn received(&self) {}

    pub(crate) fn dropped(&self, _: Unsent) {}

    pub(crate) fn lost(&self, _: &str, _: u64) {}

    pub(crate) fn hop(&self, _: Duration) {}
}

/// A gauge that is never read.
#[derive(Debug, Clone)]
pub(crate) struct Gauge;

impl Gauge {
    pub(crate) fn inc(&self) {}

    pub(crate) fn dec(&self) {}
}

/// A counter that is never read.
#[derive(Debug)]
pub(crate) enum Counter {}

impl Counter {
    pub(crate) fn inc(&self) {
        match *self {}
    }
}
