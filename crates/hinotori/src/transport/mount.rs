//! A socket at a path of a server, and its settings.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{CheckOrigin, Sessions};
use crate::{
    node::Node,
    socket::{Limits, Routes, SocketHandler, TrustedProxies},
};

/// The settings of one mounted socket.
///
/// ```
/// use std::time::Duration;
/// use hinotori::{CheckOrigin, SocketOptions};
///
/// let options = SocketOptions::default().timeout(Duration::from_secs(20)).longpoll(None);
/// assert_eq!((options.check_origin, options.longpoll), (CheckOrigin::SameHost, None));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SocketOptions {
    /// Closes a WebSocket from which nothing came for so long (close code 1002). 60 s by default; phoenix.js sends a
    /// heartbeat every 30 s, so less than that needs clients with a shorter `heartbeatIntervalMs`.
    pub timeout: Duration,
    /// Which pages may connect. The host of the request itself by default.
    pub check_origin: CheckOrigin,
    /// The proxies in front of the server, whose `X-Forwarded-For` says who a client is
    /// ([`ConnectInfo::remote_ip`](crate::ConnectInfo::remote_ip)). None by default: that header is then ignored.
    pub trusted_proxies: TrustedProxies,
    /// Whether clients may send an auth token: in the WebSocket's subprotocols, or the long poll's header. Off by default;
    /// a WebSocket that offers subprotocols must then offer `phoenix`.
    pub auth_token: bool,
    /// How long a long poll waits for messages, or none to have no long poll. 10 s by default; a session whose client has
    /// not polled for one and a half times as long ends. Less where proxies cut silent requests earlier.
    pub longpoll: Option<Duration>,
    /// The longest payload of one WebSocket frame, in bytes (else close code 1009, at the frame's header). 1 MiB by
    /// default; lower it where clients only send small messages.
    pub max_frame_size: usize,
    /// The longest message in any number of frames, in bytes, compressed or not (else close code 1009), and the longest body of a long poll
    /// (else HTTP 413). 8,000,000 by default, as Phoenix's bound on a body.
    pub max_message_size: usize,
    /// Whether WebSockets compress messages (`permessage-deflate`) for clients that offer it, as browsers do. Off by
    /// default, as in Phoenix. Turn it on where the network costs more than CPU time: messages of 256 bytes and more are
    /// compressed, a broadcast once for all its receivers. A client that compresses its own messages takes up to 32 KiB
    /// more memory. Leave it off if a message holds both a secret and text that somebody else chose: its length can then
    /// reveal the secret, even over TLS.
    pub compress: bool,
    /// Topics that one socket may have joined at a time. 100 by default, as in Phoenix.
    pub max_channels: usize,
    /// Bytes that may wait for a client that does not read before it is cut off; one message of any size has room
    /// beyond it. 1 MiB by default; more for clients on slow lines that get large bursts.
    pub outbox_limit: usize,
    /// Messages, heartbeats and pings that a client may send in a second on average. 0 by default: any number. As many
    /// again are answered with status error and `{"reason":"too many messages"}`; who sends even more is closed with code
    /// 1008. Set it to a few times what a user can cause.
    pub max_message_rate: u32,
    /// So many of them may come at once before that counts; at least 1. 100 by default: a phoenix.js that connects again
    /// joins all its topics, and sends what it kept.
    pub max_message_burst: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            check_origin: CheckOrigin::SameHost,
            trusted_proxies: TrustedProxies::default(),
            auth_token: false,
            longpoll: Some(Duration::from_secs(10)),
            max_frame_size: 1024 * 1024,
            max_message_size: 8_000_000,
            compress: false,
            max_channels: 100,
            outbox_limit: 1024 * 1024,
            max_message_rate: 0,
            max_message_burst: 100,
        }
    }
}

/// Each sets the field of its name.
impl SocketOptions {
    /// Sets [`timeout`](#structfield.timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets [`check_origin`](#structfield.check_origin).
    #[must_use]
    pub fn check_origin(self, check_origin: CheckOrigin) -> Self {
        Self { check_origin, ..self }
    }

    /// Sets [`trusted_proxies`](#structfield.trusted_proxies).
    #[must_use]
    pub fn trusted_proxies(self, trusted_proxies: TrustedProxies) -> Self {
        Self { trusted_proxies, ..self }
    }

    /// Sets [`auth_token`](#structfield.auth_token).
    #[must_use]
    pub fn auth_token(self, auth_token: bool) -> Self {
        Self { auth_token, ..self }
    }

    /// Sets [`longpoll`](#structfield.longpoll): a time, or `None`.
    #[must_use]
    pub fn longpoll(self, longpoll: impl Into<Option<Duration>>) -> Self {
        Self { longpoll: longpoll.into(), ..self }
    }

    /// Sets [`max_frame_size`](#structfield.max_frame_size).
    #[must_use]
    pub fn max_frame_size(self, max_frame_size: usize) -> Self {
        Self { max_frame_size, ..self }
    }

    /// Sets [`max_message_size`](#structfield.max_message_size).
    #[must_use]
    pub fn max_message_size(self, max_message_size: usize) -> Self {
        Self { max_message_size, ..self }
    }

    /// Sets [`compress`](#structfield.compress).
    #[must_use]
    pub fn compress(self, compress: bool) -> Self {
        Self { compress, ..self }
    }

    /// Sets [`max_channels`](#structfield.max_channels).
    #[must_use]
    pub fn max_channels(self, max_channels: usize) -> Self {
        Self { max_channels, ..self }
    }

    /// Sets [`outbox_limit`](#structfield.outbox_limit).
    #[must_use]
    pub fn outbox_limit(self, outbox_limit: usize) -> Self {
        Self { outbox_limit, ..self }
    }

    /// Sets [`max_message_rate`](#structfield.max_message_rate).
    #[must_use]
    pub fn max_message_rate(self, max_message_rate: u32) -> Self {
        Self { max_message_rate, ..self }
    }

    /// Sets [`max_message_burst`](#structfield.max_message_burst).
    #[must_use]
    pub fn max_message_burst(self, max_message_burst: u32) -> Self {
        Self { max_message_burst, ..self }
    }
}

impl SocketOptions {
    pub(crate) fn limits(&self) -> Limits {
        let Self { max_channels, outbox_limit: outbox, max_message_size: max_message, .. } = *self;
        let message_rate = (self.max_message_rate, self.max_message_burst);
        Limits { max_channels, outbox, max_message, message_rate }
    }
}

/// A mounted socket, as each worker has it.
pub(crate) struct Mount<S> {
    pub(crate) options: SocketOptions,
    pub(crate) routes: Rc<Routes<S>>,
    pub(crate) node: Arc<Node>,
    /// The long-poll sessions of the server, whatever the worker.
    pub(crate) sessions: Arc<Sessions>,
}

impl<S: SocketHandler> Mount<S> {
    pub(crate) fn new(options: SocketOptions, node: Arc<Node>, sessions: Arc<Sessions>) -> Self {
        Self { options, routes: Rc::new(Routes::of(node.telemetry.clone())), node, sessions }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.options.limits()
    }
}
