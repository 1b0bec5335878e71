//! The metrics of one server: each is declared here, once, with its help text.
//!
//! Each worker thread counts messages for itself (`worker.rs`); a scrape adds these counts up (`collector.rs`).
//! Everything else is rare, and counted in one place for the whole server. What the process takes of the system is read
//! from the system (`process.rs`). An application adds its own metrics to the [`registry`](Telemetry::registry).

mod cluster;
mod collector;
#[cfg(target_os = "linux")]
mod process;

pub(crate) use cluster::Hops;
pub(crate) use prometheus::{IntCounter as Counter, IntGauge as Gauge};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

use self::collector::Workers;
use super::{Count, Counts, Crash, Transport};
use crate::reason::{Closed, Refusal};

/// In the order of their discriminants.
const TRANSPORTS: [Transport; 2] = [Transport::WebSocket, Transport::LongPoll];

/// The crashes that are exposed as 0 before any has happened.
const CRASHES: [Crash; 5] = [Crash::Connect, Crash::Join, Crash::Channel, Crash::Terminate, Crash::RawSocket];

/// See the module. One per server, because a process may have several.
#[derive(Debug)]
pub(crate) struct Telemetry {
    registry: Registry,
    connections: [Gauge; TRANSPORTS.len()],
    opened: [Counter; TRANSPORTS.len()],
    refused: [Counter; Refusal::ALL.len()],
    closed: [Counter; Closed::ALL.len()],
    channels: IntGaugeVec,
    crashes: IntCounterVec,
    rate_limited: Counter,
    broadcasts: Counter,
    workers: Workers,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let by = |label, name, help| add(&registry, IntCounterVec::new(Opts::new(name, help), &[label]));
        let gauge_by = |label, name, help| add(&registry, IntGaugeVec::new(Opts::new(name, help), &[label]));

        let connections = gauge_by("transport", "hinotori_connections", "Open connections, by transport.");
        let opened =
            by("transport", "hinotori_connections_opened_total", "Connections opened, by transport.");
        let refused = by("reason", "hinotori_connections_refused_total", "Connections refused, by reason.");
        let closed = by(
            "reason",
            "hinotori_connections_closed_total",
            "Connections closed by the server, by reason. slow_reader: the client did not read.",
        );
        let channels =
            gauge_by("topic", "hinotori_channels", "Channels, by the topic pattern of their route.");
        let crashes = by(
            "of",
            "hinotori_crashes_total",
            "Callbacks that panicked or failed, by kind, and restarts of supervised actors, by name.",
        );
        let rate_limited = Counter::new(
            "hinotori_messages_refused_total",
            "Messages above their client's rate, which were answered with an error.",
        );
        let broadcasts = Counter::new("hinotori_broadcasts_total", "Broadcasts made.");

        for crash in CRASHES {
            crashes.with_label_values(&[&crash.to_string()]);
        }
        #[cfg(target_os = "linux")]
        add(&registry, process::Process::new());
        Self {
            connections: TRANSPORTS.map(|label| connections.with_label_values(&[&label.to_string()])),
            opened: TRANSPORTS.map(|label| opened.with_label_values(&[&label.to_string()])),
            refused: Refusal::ALL.map(|label| refused.with_label_values(&[label.name()])),
            closed: Closed::ALL.map(|label| closed.with_label_values(&[label.name()])),
            channels,
            crashes,
            rate_limited: add(&registry, rate_limited),
            broadcasts: add(&registry, broadcasts),
            workers: add(&registry, Workers::new()),
            registry,
        }
    }

    /// The registry of these metrics and the application's.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a connection that has opened, until the guard is dropped.
    pub(crate) fn opened(&self, transport: Transport) -> Count {
        self.opened[transport as usize].inc();
        Count::new(self.connections[transport as usize].clone())
    }

    /// Counts a client that was refused.
    pub(crate) fn refused(&self, why: Refusal) {
        self.refused[why as usize].inc();
    }

    /// Counts an open connection that the server closes.
    pub(crate) fn closed(&self, why: Closed) {
        self.closed[why as usize].inc();
    }

    /// Counts a crash of a callback.
    pub(crate) fn crashed(&self, what: Crash) {
        self.crashes_of(&what.to_string()).inc();
    }

    /// The number of crashes of the callback or the supervised actor of a name.
    pub(crate) fn crashes_of(&self, actor: &str) -> Counter {
        self.crashes.with_label_values(&[actor])
    }

    /// Counts a message above its client's rate.
    pub(crate) fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// Counts a broadcast, whether it has receivers or not.
    pub(crate) fn broadcast(&self) {
        self.broadcasts.inc();
    }

    /// The channels of one route. The label is the pattern, never the client's topic, of which there may be any number.
    pub(crate) fn channels_of(&self, pattern: &str) -> Gauge {
        self.channels.with_label_values(&[pattern])
    }

    /// The metrics of a server of several nodes, which exist from now on.
    pub(crate) fn hops(&self) -> Hops {
        Hops::new(&self.registry)
    }

    /// What one worker thread counts.
    pub(crate) fn of_worker(&self) -> Counts {
        self.workers.add()
    }
}

#[expect(clippy::expect_used, reason = "fails only over a malformed name, and all of them stand above")]
fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("the name of a metric or label is malformed");
    register(registry, metric.clone());
    metric
}

#[expect(
    clippy::expect_used,
    reason = "fails only over a name that is there twice, and all of them stand above"
)]
fn register(registry: &Registry, metrics: impl Collector + 'static) {
    registry.register(Box::new(metrics)).expect("a metric is declared twice");
}
