//! How soon a socket on one node is closed by another.
//!
//! The example `reference` has the channel: on `/auth`, `room:*` disconnects the user that it is told.

use std::{
    io,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    Target,
    connection::{Connection, scratch},
    nodes::Nodes,
    rtt::latencies,
};

const PATIENCE: Duration = Duration::from_secs(20);

const PATH: &str = "/auth/websocket?vsn=2.0.0";

/// See `--help`.
#[derive(Debug, Args)]
pub(crate) struct Disconnect {
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// Sockets that are disconnected, one after the other.
    #[arg(long, default_value_t = 200)]
    pub(crate) count: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mode: &'static str,
    disconnects: u64,
    /// Sockets that stayed.
    lost: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Disconnect {
    pub(crate) async fn run(self) -> io::Result<Report> {
        let (scratch, topic) = (scratch(), self.nodes.target.topic.clone());
        let by = Target { path: PATH.to_owned(), ..self.nodes.target.clone() };
        let mut by_whom = Connection::open(&by, 0).await?;
        by_whom.join(&by, &scratch).await?;
        let (mut took, mut lost) = (latencies()?, 0);
        for number in 0..self.count {
            let target = Target { path: format!("{PATH}&user_id=u{number}"), ..self.nodes.other() };
            let mut socket = Connection::open(&target, 0).await?;
            socket.join(&target, &scratch).await?;
            let reference = number + 2;
            let message =
                format!(r#"["1","{reference}","{topic}","disconnect_user",{{"user_id":"u{number}"}}]"#);
            let begin = Instant::now();
            by_whom.send(&message).await?;
            let closed = async { while let Ok(true) = socket.read(&scratch, &mut |_| ()).await {} };
            match timeout(PATIENCE, closed).await {
                Ok(()) => took.saturating_record((begin.elapsed().as_micros() as u64).max(1)),
                Err(_) => lost += 1,
            }
            // its answer
            timeout(PATIENCE, by_whom.read(&scratch, &mut |_| ())).await??;
        }
        Ok(Report {
            mode: "disconnect",
            disconnects: took.len(),
            lost,
            p50_us: took.value_at_quantile(0.5),
            p99_us: took.value_at_quantile(0.99),
            max_us: took.max(),
        })
    }
}
