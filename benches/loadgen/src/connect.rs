//! What a connect and join costs, and what an idle client holds.

use std::{io, time::Duration};

use clap::Args;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{
    Target,
    connection::{open_all, scratch},
    usage::Usage,
};

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Connections.
    #[arg(short, default_value_t = 1_000)]
    pub(crate) n: usize,
    /// Seconds to hold them before the memory is read.
    #[arg(long, default_value_t = 3)]
    pub(crate) hold: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    pub(crate) joined: usize,
    pub(crate) failed: usize,
    joins_per_s: f64,
    cpu_us_per_join: f64,
    rss_kib_before: f64,
    rss_kib_after: f64,
    kib_per_connection: f64,
}

impl Connect {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, pid) = (scratch(), self.target.pid);
        let before = Usage::of(pid)?;
        let mut opened = open_all(&self.target, self.n, &scratch).await;
        let joined = Usage::of(pid)?;
        // what the join still delivers, such as a history; then the server may settle
        for connection in &mut opened.connections {
            let _ = timeout(Duration::from_millis(1), connection.read(&scratch, &mut |_| ())).await;
        }
        sleep(Duration::from_secs(self.hold)).await;
        let settled = Usage::of(pid)?;
        let n = opened.connections.len().max(1) as f64;
        Ok(Report {
            mode: "connect",
            joined: opened.connections.len(),
            failed: opened.failed,
            joins_per_s: n / opened.took.as_secs_f64(),
            cpu_us_per_join: (joined.cpu - before.cpu) / n,
            rss_kib_before: before.memory,
            rss_kib_after: settled.memory,
            kib_per_connection: (settled.memory - before.memory) / n,
        })
    }
}
