//! What a reply costs, and how long it takes.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{task::spawn_local, time::sleep};

use crate::{
    Target,
    connection::{Connection, Scratch, heartbeat, open_all, scratch},
    usage::Usage,
};

/// See `--help`.
#[derive(Debug, Args, Clone)]
pub(crate) struct Rtt {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Connections.
    #[arg(short, default_value_t = 50)]
    pub(crate) c: usize,
    /// Seconds.
    #[arg(long, default_value_t = 5)]
    pub(crate) secs: u64,
    /// Messages of each connection, instead of so many seconds of them.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Milliseconds between an answer and the next message; 0 sends as fast as the server answers.
    #[arg(long, default_value_t = 0)]
    pub(crate) pause: u64,
    /// The event to push on the joined topic, instead of a heartbeat.
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Its payload.
    #[arg(long, default_value = "{}")]
    pub(crate) payload: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    connections: usize,
    pub(crate) failed: usize,
    pub(crate) replies: u64,
    replies_per_s: f64,
    cpu_us_per_reply: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// Room for latencies of up to ten minutes, in microseconds.
pub(crate) fn latencies() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).map_err(io::Error::other)
}

impl Rtt {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, pid) = (scratch(), self.target.pid);
        let opened = open_all(&self.target, self.c, &scratch).await;
        let connections = opened.connections.len();
        let latency = Rc::new(RefCell::new(latencies()?));
        let (before, begin) = (Usage::of(pid)?, Instant::now());
        let ask = |connection| {
            let (rtt, scratch, latency) = (self.clone(), scratch.clone(), latency.clone());
            spawn_local(async move { rtt.ask(connection, begin, &scratch, &latency).await })
        };
        let tasks: Vec<_> = opened.connections.into_iter().map(ask).collect();
        let mut failed = opened.failed;
        for task in tasks {
            failed += usize::from(task.await.map_err(io::Error::other)?.is_err());
        }
        let (took, after, latency) = (begin.elapsed().as_secs_f64(), Usage::of(pid)?, latency.borrow());
        let replies = latency.len();
        Ok(Report {
            mode: "rtt",
            connections,
            failed,
            replies,
            replies_per_s: replies as f64 / took,
            cpu_us_per_reply: (after.cpu - before.cpu) / replies.max(1) as f64,
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
        })
    }

    /// Asks on one connection until the time is over.
    async fn ask(
        &self,
        mut connection: Connection,
        begin: Instant,
        scratch: &Scratch,
        latency: &RefCell<Histogram<u64>>,
    ) -> io::Result<()> {
        let mut reference = 1u64;
        let is_over = |sent| match self.count {
            Some(count) => sent >= count,
            None => begin.elapsed() >= Duration::from_secs(self.secs),
        };
        while !is_over(reference - 1) {
            reference += 1;
            let sent = Instant::now();
            connection.ask(&self.message(reference), reference, scratch).await?;
            latency.borrow_mut().saturating_record((sent.elapsed().as_micros() as u64).max(1));
            if self.pause > 0 {
                sleep(Duration::from_millis(self.pause)).await;
            }
        }
        Ok(())
    }

    fn message(&self, reference: u64) -> String {
        let (topic, payload) = (&self.target.topic, &self.payload);
        match &self.event {
            None => heartbeat(reference),
            Some(event) => format!(r#"["1","{reference}","{topic}","{event}",{payload}]"#),
        }
    }
}
