//! Clients that all come at once, as after a deploy: how long until every one of them is served, and whether any is refused.

use std::io;

use clap::Args;
use serde::Serialize;

use crate::{
    Target,
    connection::{open_all, scratch},
    rtt::latencies,
    usage::{Usage, listen_overflows},
};

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Clients.
    #[arg(short, default_value_t = 5_000)]
    pub(crate) n: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    pub(crate) joined: usize,
    pub(crate) refused: usize,
    /// How often the server's queue of connections to accept was full: a client waits a second then, or three.
    overflows: Option<u64>,
    /// From the first connect until the last of them has joined.
    pub(crate) wall_ms: f64,
    cpu_us_per_join: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Storm {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, pid) = (scratch(), self.target.pid);
        let target = Target { concurrency: self.n, ..self.target };
        let (before, overflows) = (Usage::of(pid)?, listen_overflows());
        let opened = open_all(&target, self.n, &scratch).await;
        let after = Usage::of(pid)?;
        let mut latency = latencies()?;
        for took in &opened.each {
            latency.saturating_record((took.as_micros() as u64).max(1));
        }
        let ms = |micros: u64| micros as f64 / 1e3;
        Ok(Report {
            mode: "storm",
            joined: opened.connections.len(),
            refused: opened.failed,
            overflows: listen_overflows().zip(overflows).map(|(after, before)| after - before),
            wall_ms: opened.took.as_secs_f64() * 1e3,
            cpu_us_per_join: (after.cpu - before.cpu) / opened.connections.len().max(1) as f64,
            p50_ms: ms(latency.value_at_quantile(0.5)),
            p99_ms: ms(latency.value_at_quantile(0.99)),
            max_ms: ms(latency.max()),
        })
    }
}
