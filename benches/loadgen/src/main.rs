//! `phxload`: drives a Phoenix Channels server over raw WebSockets and prints one line of JSON.
//!
//! What a server costs is read from `/proc`: its CPU time and its memory, in microseconds a delivery and KiB a connection.
//! So a run on a busy machine still compares, if the other side ran in turn with it. `phxload floor` is the lower bound: a
//! server that does nothing but one write for each delivery.

mod burst;
mod connect;
mod connection;
mod deflate;
mod disconnect;
mod fanout;
mod floor;
mod frame;
mod ids;
mod nodes;
mod posts;
mod presence;
mod rtt;
mod storm;
mod stream;
#[cfg(test)]
mod tests;
mod trust;
mod usage;

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tokio::task::LocalSet;

/// Drives a Phoenix Channels server over WebSockets and prints what it cost, as one line of JSON.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

/// The server, and what its clients join.
#[derive(Debug, Args, Clone)]
struct Target {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:4000")]
    addr: SocketAddr,
    /// The path of the socket, with its query.
    #[arg(long, default_value = "/socket/websocket?vsn=2.0.0")]
    path: String,
    /// The topic that every client joins.
    #[arg(long, default_value = "chat:lobby")]
    topic: String,
    /// What they send with it: JSON.
    #[arg(long, default_value = "{}")]
    join: String,
    /// The event that the server pushes behind the answer to the join, such as a history: a client has joined when it came.
    #[arg(long)]
    until: Option<String>,
    /// Connections that are being opened at the same time.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Seconds that a connect and join may take.
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// Connections from one source address: those after them come from 127.0.1.1 and on. One has ports for some 28,000.
    #[arg(long, default_value_t = 20_000)]
    per_address: usize,
    /// Connect over TLS, and take any certificate.
    #[arg(long)]
    tls: bool,
    /// Offer permessage-deflate. What clients send is not compressed.
    #[arg(long)]
    deflate: bool,
    /// The server's process, whose CPU time and memory are read from /proc. Without it neither is measured.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Opens N connections, joins the topic on each and holds them idle: CPU a connect and join, memory a connection.
    Connect(connect::Connect),
    /// N subscribers and one publisher at a fixed rate: deliveries, losses, latency, CPU a delivery.
    Fanout(fanout::Fanout),
    /// N posters that each post when the post before has come back as a broadcast: posts, CPU and time a post.
    Posts(posts::Posts),
    /// C connections that each send a message when the one before is answered: CPU and time a reply.
    Rtt(rtt::Rtt),
    /// Bursts of broadcasts of the example `reference`: how long until they have arrived at a subscriber, and in which order.
    Burst(burst::Burst),
    /// A presence of one node, seen on another: time until it has joined, was updated and has left.
    Presence(presence::Presence),
    /// N clients that join and are closed at once: presences that are left over.
    Ghosts(presence::Ghosts),
    /// Waits until a topic has N presences.
    Present(presence::Present),
    /// Sockets that another node disconnects: time until they are closed.
    Disconnect(disconnect::Disconnect),
    /// N posters at each of two nodes of the chat: posts, whether all clients agree on them, and time to the other node.
    Ids(ids::Ids),
    /// N clients that connect and join all at once: time until every one has joined, and those refused.
    Storm(storm::Storm),
    /// The lower bound: a bare server that writes each message to every connection, with one write each.
    Floor {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:4999")]
        listen: SocketAddr,
        /// Agree to permessage-deflate: each message is compressed once for all who offered it.
        #[arg(long)]
        deflate: bool,
    },
    /// Writes a certificate of localhost, signed by itself, and its key: PEM files for a server to be measured over TLS.
    Certificate {
        /// The certificate's file.
        #[arg(long)]
        cert: PathBuf,
        /// The key's file.
        #[arg(long)]
        key: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> io::Result<String> {
    usage::raise_descriptor_limit();
    // one thread: what clients cost each other shows, and no lock is measured
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let report = match cli.mode {
            Mode::Connect(connect) => serde_json::to_string(&connect.run().await?),
            Mode::Fanout(fanout) => serde_json::to_string(&fanout.run().await?),
            Mode::Posts(posts) => serde_json::to_string(&posts.run().await?),
            Mode::Rtt(rtt) => serde_json::to_string(&rtt.run().await?),
            Mode::Burst(burst) => serde_json::to_string(&burst.run().await?),
            Mode::Presence(presence) => serde_json::to_string(&presence.run().await?),
            Mode::Ghosts(ghosts) => serde_json::to_string(&ghosts.run().await?),
            Mode::Present(present) => serde_json::to_string(&present.run().await?),
            Mode::Disconnect(disconnect) => serde_json::to_string(&disconnect.run().await?),
            Mode::Ids(ids) => serde_json::to_string(&ids.run().await?),
            Mode::Storm(storm) => serde_json::to_string(&storm.run().await?),
            Mode::Floor { listen, deflate } => {
                return floor::serve(floor::bind(listen)?, deflate).await.map(|()| String::new());
            }
            Mode::Certificate { cert, key } => {
                return trust::write_certificate(&cert, &key).map(|()| String::new());
            }
        };
        report.map_err(io::Error::other)
    })
}
