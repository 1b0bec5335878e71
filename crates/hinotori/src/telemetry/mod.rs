//! The metrics of one server.
//!
//! The rest of the crate calls [`Telemetry`], of which there are two versions: with the feature `metrics` it keeps
//! Prometheus metrics (`registry.rs`), without it nothing (`plain.rs`). No decision depends on what is counted here.

mod conn;
mod labels;
#[cfg(not(feature = "metrics"))]
mod plain;
mod quoted;
#[cfg(feature = "metrics")]
mod registry;
mod span;
mod worker;

pub(crate) use conn::Conn;
pub(crate) use labels::{Crash, Transport, Unsent};
#[cfg(not(feature = "metrics"))]
pub(crate) use plain::{Counter, Gauge, Hops, Telemetry};
pub(crate) use quoted::{Address, Quoted};
#[cfg(feature = "metrics")]
pub(crate) use registry::{Counter, Gauge, Hops, Telemetry};
pub(crate) use span::Span;
pub(crate) use worker::Counts;

/// Counts one thing until it is dropped.
#[derive(Debug)]
pub(crate) struct Count(Gauge);

impl Count {
    pub(crate) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.dec();
    }
}
