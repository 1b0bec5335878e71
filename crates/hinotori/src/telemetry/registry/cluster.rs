//! The metrics of a server of several nodes; there are none without an adapter.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::add;
use crate::telemetry::Unsent;

/// Seconds of a hop, from a socket on the same machine to an engine that is overloaded.
const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// See the module.
#[derive(Debug)]
pub(crate) struct Hops {
    nodes: IntGauge,
    up: IntGauge,
    sent: IntCounter,
    received: IntCounter,
    unsent: [IntCounter; Unsent::ALL.len()],
    lost: IntCounterVec,
    hop: Histogram,
}

impl Hops {
    pub(super) fn new(registry: &Registry) -> Self {
        let frames = IntCounterVec::new(
            Opts::new("hinotori_cluster_frames_total", "Frames between nodes, by direction."),
            &["direction"],
        );
        let frames = add(registry, frames);
        let dropped = IntCounterVec::new(
            Opts::new(
                "hinotori_cluster_dropped_total",
                "Frames that were not sent to other nodes, or not accepted from them, by reason.",
            ),
            &["reason"],
        );
        let dropped = add(registry, dropped);
        let lost = IntCounterVec::new(
            Opts::new(
                "hinotori_cluster_lost_total",
                "Broadcasts of other nodes that did not arrive, by node.",
            ),
            &["node"],
        );
        let hop = HistogramOpts::new(
            "hinotori_cluster_hop_seconds",
            "Seconds until a heartbeat of this node came back to it through the engine.",
        );
        let up = IntGauge::new(
            "hinotori_cluster_up",
            "1 if this node's frames come back to it through the engine, else 0.",
        );
        let nodes = IntGauge::new("hinotori_cluster_nodes", "Nodes that are there, this one included.");
        let nodes = add(registry, nodes);
        nodes.set(1);
        Self {
            nodes,
            up: add(registry, up),
            sent: frames.with_label_values(&["out"]),
            received: frames.with_label_values(&["in"]),
            unsent: Unsent::ALL.map(|reason| dropped.with_label_values(&[reason.name()])),
            lost: add(registry, lost),
            hop: add(registry, Histogram::with_opts(hop.buckets(BOUNDS.to_vec()))),
        }
    }

    /// So many nodes are there.
    pub(crate) fn nodes(&self, count: usize) {
        self.nodes.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this node hears itself.
    pub(crate) fn is_up(&self, is_up: bool) {
        self.up.set(is_up.into());
    }

    /// A frame was given to the adapter.
    pub(crate) fn sent(&self) {
        self.sent.inc();
    }

    /// A frame has arrived, of this node or another.
    pub(crate) fn received(&self) {
        self.received.inc();
    }

    /// A frame was dropped.
    pub(crate) fn dropped(&self, reason: Unsent) {
        self.unsent[reason as usize].inc();
    }

    /// So many broadcasts of a node did not arrive.
    pub(crate) fn lost(&self, node: &str, count: u64) {
        self.lost.with_label_values(&[node]).inc_by(count);
    }

    /// A heartbeat came back.
    pub(crate) fn hop(&self, took: Duration) {
        self.hop.observe(took.as_secs_f64());
    }
}
