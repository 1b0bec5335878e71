//! A socket mounted at a path, and its settings.

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
    /// Silence after which a WebSocket is closed, with code 1002. 60 s by default. phoenix.js sends a heartbeat every
    /// 30 s: if you set less than that, set a shorter `heartbeatIntervalMs` in your clients.
    pub timeout: Duration,
    /// Which pages may connect. By default, those of the host that the request was made to.
    pub check_origin: CheckOrigin,
    /// The proxies in front of the server, whose `X-Forwarded-For` has the client's address
    /// ([`ConnectInfo::remote_ip`](crate::ConnectInfo::remote_ip)). None by default; the header is then ignored.
    pub trusted_proxies: TrustedProxies,
    /// Whether clients may send an auth token, in the WebSocket's subprotocols or the long poll's header. Off by
    /// default. If it is on, a WebSocket that offers subprotocols must offer `phoenix`.
    pub auth_token: bool,
    /// How long a long poll waits for messages; `None` turns long polling off. 10 s by default. A session ends if its
    /// client has not polled for 1.5 times as long. Lower it if a proxy cuts idle requests earlier.
    pub longpoll: Option<Duration>,
    /// The longest payload of one WebSocket frame, in bytes. A longer one closes the connection with 1009, at the
    /// frame's header. 1 MiB by default. Lower it if clients only send small messages.
    pub max_frame_size: usize,
    /// The longest message in any number of frames, in bytes, both compressed and inflated (a longer one closes the
    /// connection with 1009), and the longest body of a long poll (a longer one gets HTTP 413). 8,000,000 by default,
    /// like Phoenix's limit on a body.
    pub max_message_size: usize,
    /// Whether WebSockets compress messages (`permessage-deflate`) for clients that offer it, as browsers do. Off by
    /// default, as in Phoenix. Turn it on if the network costs more than CPU time. Messages of 256 bytes or more are
    /// compressed, a broadcast once for all its receivers. A client that compresses its own messages takes up to 32 KiB
    /// more memory. Leave it off if a message can hold both a secret and text that someone else chose: its length can
    /// then reveal the secret, even over TLS.
    pub compress: bool,
    /// Whether clients of version 2 may send and be sent user broadcasts: the binary messages of kinds 3 and 4 that
    /// Supabase's clients speak. Off by default: stock clients have no use for them, and one that sends kind 3 is closed
    /// with 1011, as by Phoenix. If it is on, a channel gets them as the event `broadcast`, to be passed on or read with
    /// [`UserBroadcast`](crate::UserBroadcast). Their bytes are not sent to clients of version 1, nor on sockets without
    /// this option.
    pub user_broadcasts: bool,
    /// Topics that one socket may have joined at a time. 100 by default, as in Phoenix.
    pub max_channels: usize,
    /// Bytes that may wait for a client that does not read before it is disconnected. 1 MiB by default. Raise it if
    /// clients on slow connections get large bursts.
    ///
    /// Only what waits behind the frame being written counts, so one message of any size fits beyond the limit. The
    /// pieces of a [`PayloadList`](crate::PayloadList) do not count. A client that has taken 1/16 of the limit within
    /// the last 0.3 s may have 16 times the limit waiting. A WebSocket client that takes less than 1/16 of the limit
    /// for 10 s while more than the limit waits, lists included, is disconnected.
    pub outbox_limit: usize,
    /// Messages, heartbeats and pings that a client may send per second on average. 0, the default, is unlimited.
    /// Messages above the rate get an error reply, `{"reason":"too many messages"}`. A client that sends more than
    /// twice the rate is closed with 1008. Set it to a few times what a user can cause.
    pub max_message_rate: u32,
    /// Messages that a client may send at once before `max_message_rate` applies; at least 1. 100 by default, because
    /// phoenix.js joins all its topics and sends what it buffered when it reconnects.
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
            user_broadcasts: false,
            max_channels: 100,
            outbox_limit: 1024 * 1024,
            max_message_rate: 0,
            max_message_burst: 100,
        }
    }
}

/// Each method sets the field of the same name.
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

    /// Sets [`user_broadcasts`](#structfield.user_broadcasts).
    #[must_use]
    pub fn user_broadcasts(self, user_broadcasts: bool) -> Self {
        Self { user_broadcasts, ..self }
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

/// A mounted socket, one per worker.
pub(crate) struct Mount<S> {
    pub(crate) options: SocketOptions,
    pub(crate) routes: Rc<Routes<S>>,
    pub(crate) node: Arc<Node>,
    /// The long-poll sessions of the server, on all workers.
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
