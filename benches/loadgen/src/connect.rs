//! What a connect and join costs, and what an idle client holds.

use std::{io, rc::Rc, time::Duration};

use clap::Args;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_local},
};

use crate::{
    Target,
    connection::{Connection, Scratch, heartbeat, open_all, scratch},
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
    /// Heartbeats that each of them sends when all have joined, in turn with the others.
    #[arg(long, default_value_t = 0)]
    pub(crate) heartbeats: u64,
    /// Seconds to hold them before the memory is read.
    #[arg(long, default_value_t = 3)]
    pub(crate) hold: u64,
    /// Close them in the end, with a close frame each, and wait until the server has closed them too.
    #[arg(long)]
    pub(crate) close: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    pub(crate) joined: usize,
    /// Connections that did not join, or did not last.
    pub(crate) failed: usize,
    joins_per_s: f64,
    cpu_us_per_join: f64,
    rss_kib_before: f64,
    rss_kib_after: f64,
    kib_per_connection: f64,
    pub(crate) closed: usize,
}

impl Connect {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, pid) = (scratch(), self.target.pid);
        let before = Usage::of(pid)?;
        let opened = open_all(&self.target, self.n, &scratch).await;
        let joined = Usage::of(pid)?;
        let n = opened.connections.len().max(1) as f64;
        let mut held = self.beat(opened.connections, &scratch).await?;
        held = hold(held, Duration::from_secs(self.hold), &scratch).await?;
        let settled = Usage::of(pid)?;
        let (lasted, mut closed) = (held.len(), 0);
        if self.close {
            for connection in held {
                connection.close(&scratch).await?;
                closed += 1;
            }
        }
        Ok(Report {
            mode: "connect",
            joined: lasted,
            failed: self.n - lasted,
            joins_per_s: n / opened.took.as_secs_f64(),
            cpu_us_per_join: (joined.cpu - before.cpu) / n,
            rss_kib_before: before.memory,
            rss_kib_after: settled.memory,
            kib_per_connection: (settled.memory - before.memory) / n,
            closed,
        })
    }

    /// Has each connection send its heartbeats, so many of them at a time as were opened at a time.
    async fn beat(&self, connections: Vec<Connection>, scratch: &Scratch) -> io::Result<Vec<Connection>> {
        let gate = Rc::new(Semaphore::new(self.target.concurrency));
        let beat = |mut connection: Connection| {
            let (times, gate, scratch) = (self.heartbeats, gate.clone(), scratch.clone());
            spawn_local(async move {
                for reference in 2..2 + times {
                    // a permit for each heartbeat and not for all of them: the connections take turns
                    let _permit = gate.acquire().await;
                    connection.ask(&heartbeat(reference), reference, &scratch).await.ok()?;
                }
                Some(connection)
            })
        };
        lasting(connections.into_iter().map(beat).collect()).await
    }
}

/// Holds connections for so long, while all that comes is read.
async fn hold(
    connections: Vec<Connection>,
    time: Duration,
    scratch: &Scratch,
) -> io::Result<Vec<Connection>> {
    let idle = |mut connection: Connection| {
        let scratch = scratch.clone();
        spawn_local(async move { connection.idle(time, &scratch).await.then_some(connection) })
    };
    lasting(connections.into_iter().map(idle).collect()).await
}

/// The connections that are still open.
async fn lasting(tasks: Vec<JoinHandle<Option<Connection>>>) -> io::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(tasks.len());
    for task in tasks {
        connections.extend(task.await.map_err(io::Error::other)?);
    }
    Ok(connections)
}
