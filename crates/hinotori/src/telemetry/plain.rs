//! Telemetry without metrics: nothing is counted.

use std::sync::Arc;

use super::{Count, Counts, Crash, Transport};
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

    /// What one worker thread counts, to limit its bursts.
    pub(crate) fn of_worker(&self) -> Counts {
        Counts::new(Arc::default())
    }
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
