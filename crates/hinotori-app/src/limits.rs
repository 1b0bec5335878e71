//! How long, how large and how much: limits of each client.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};
use hinotori::SocketOptions;

use crate::{Clients, positive};

/// See the module.
#[derive(Debug, Args)]
pub struct Limits {
    /// Milliseconds of silence after which a client's connection is closed. phoenix.js sends a heartbeat every 30,000.
    #[arg(long, env = "IDLE_TIMEOUT", default_value = "60000", value_parser = positive())]
    idle_timeout: usize,
    /// Milliseconds that a long poll waits for messages; 0 turns long polling off.
    #[arg(long, env = "LONGPOLL_WINDOW", default_value_t = 10_000)]
    longpoll_window: u64,
    /// Largest WebSocket frame, in bytes.
    #[arg(long, env = "MAX_FRAME_SIZE", default_value = "1048576", value_parser = positive())]
    max_frame_size: usize,
    /// Largest message in any number of frames, in bytes.
    #[arg(long, env = "MAX_MESSAGE_SIZE", default_value = "8000000", value_parser = positive())]
    pub max_message_size: usize,
    /// Compress messages (permessage-deflate) for clients that offer it, as browsers do.
    #[arg(long, env = "COMPRESS", value_parser = BoolishValueParser::new())]
    compress: bool,
    /// Bytes that may wait for a client that does not read before it is cut off; one message of any size fits beyond
    /// it.
    #[arg(long, env = "OUTBOX_LIMIT", default_value = "1048576", value_parser = positive())]
    outbox_limit: usize,
    /// Connections at a time, WebSockets and long polling together; further ones are refused with HTTP 503. Any number
    /// by default.
    #[arg(long, env = "MAX_CONNECTIONS", value_parser = positive())]
    max_connections: Option<usize>,
    /// Messages per second that a client may send on average; 0 for any number. Messages above the rate get an error
    /// reply. A client that sends more than twice the rate is closed with 1008.
    #[arg(long, env = "MAX_MESSAGE_RATE", default_value_t = 0)]
    max_message_rate: u32,
    /// Messages that a client may send at once before its rate counts, at least 1.
    #[arg(long, env = "MAX_MESSAGE_BURST", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    max_message_burst: u32,
}

impl Limits {
    /// The settings of a socket.
    #[must_use]
    pub fn socket(&self, clients: &Clients) -> SocketOptions {
        SocketOptions::default()
            .timeout(Duration::from_millis(self.idle_timeout as u64))
            .check_origin(clients.check_origin.clone())
            .trusted_proxies(clients.trusted_proxies.clone())
            .longpoll((self.longpoll_window > 0).then(|| Duration::from_millis(self.longpoll_window)))
            .max_frame_size(self.max_frame_size)
            .max_message_size(self.max_message_size)
            .compress(self.compress)
            .outbox_limit(self.outbox_limit)
            .max_message_rate(self.max_message_rate)
            .max_message_burst(self.max_message_burst)
    }

    /// How many connections there may be at a time.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections.unwrap_or(usize::MAX)
    }
}
