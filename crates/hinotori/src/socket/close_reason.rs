//! Why a client's connection ended, as the application sees it.

use std::fmt;

use crate::reason::Closed;

/// Why a client's connection ended; [`Exit::Closed`](crate::Exit::Closed) and
/// [`SocketHandler::terminate`](crate::SocketHandler::terminate) have it. As text it is a single word, as in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed it, with a close frame: the page was left, or `socket.disconnect()` was called.
    ByClient,
    /// It is gone without a word: the network failed, the client crashed or was cut off by a proxy.
    Lost,
    /// `disconnect` was broadcast to the socket's id ([`Endpoint::disconnect`](crate::Endpoint::disconnect)).
    Disconnected,
    /// The server shuts down.
    Drained,
    /// Nothing came from the client for too long ([`SocketOptions::timeout`](crate::SocketOptions::timeout)). On long poll,
    /// which has no close frame, this is how every client leaves.
    Idle,
    /// The client sent more messages than it may
    /// ([`SocketOptions::max_message_rate`](crate::SocketOptions::max_message_rate)).
    RateLimited,
    /// The client did not read what it was sent ([`SocketOptions::outbox_limit`](crate::SocketOptions::outbox_limit)).
    SlowReader,
    /// A channel did not handle the broadcasts that it [intercepts](crate::Channel::INTERCEPT).
    SlowChannel,
    /// What the client sent was no message, or too long; the log has more.
    Protocol,
    /// The application closed it, or a callback of the socket crashed: only a [`RawSocket`](crate::RawSocket) ends like this.
    Application,
}

impl From<Closed> for CloseReason {
    fn from(why: Closed) -> Self {
        match why {
            Closed::Disconnect => Self::Disconnected,
            Closed::Drain => Self::Drained,
            Closed::Idle => Self::Idle,
            Closed::Rate => Self::RateLimited,
            Closed::SlowReader => Self::SlowReader,
            Closed::SlowChannel => Self::SlowChannel,
            Closed::Malformed | Closed::Protocol | Closed::InvalidText | Closed::Inflate | Closed::TooBig => {
                Self::Protocol
            }
            Closed::Application | Closed::Crash => Self::Application,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByClient => "by_client",
            Self::Lost => "lost",
            Self::Disconnected => "disconnected",
            Self::Drained => "drained",
            Self::Idle => "idle",
            Self::RateLimited => "rate_limited",
            Self::SlowReader => "slow_reader",
            Self::SlowChannel => "slow_channel",
            Self::Protocol => "protocol",
            Self::Application => "application",
        })
    }
}
