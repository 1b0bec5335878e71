//! Why a client's connection ended, as the application sees it.

use std::fmt;

use crate::reason::Closed;

/// Why a client's connection ended. [`Exit::Closed`](crate::Exit::Closed) and
/// [`SocketHandler::terminate`](crate::SocketHandler::terminate) carry it. It displays as a single word, as in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed it with a close frame: the user left the page, or `socket.disconnect()` was called.
    ByClient,
    /// The connection ended without a close frame: the network failed, the client crashed, or a proxy cut it off.
    Lost,
    /// `disconnect` was broadcast to the socket's id ([`Endpoint::disconnect`](crate::Endpoint::disconnect)).
    Disconnected,
    /// The server is shutting down.
    Drained,
    /// The client was silent for too long ([`SocketOptions::timeout`](crate::SocketOptions::timeout)). On long poll,
    /// which has no close frame, every client leaves this way.
    Idle,
    /// The client sent more messages than it is allowed to
    /// ([`SocketOptions::max_message_rate`](crate::SocketOptions::max_message_rate)).
    RateLimited,
    /// The client did not read what it was sent ([`SocketOptions::outbox_limit`](crate::SocketOptions::outbox_limit)).
    SlowReader,
    /// A channel did not keep up with the broadcasts that it [intercepts](crate::Channel::INTERCEPT) or
    /// [subscribes](crate::Context::subscribe) to.
    SlowChannel,
    /// The client sent something that is not a valid message, or is too long; the log has the details.
    Protocol,
    /// The application closed it, or a callback of the socket crashed. Only a [`RawSocket`](crate::RawSocket) ends this
    /// way.
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
