//! Labels of metrics and log lines, besides the reasons of the protocol.

use std::fmt;

/// How a client reaches its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    LongPoll,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "websocket",
            Self::LongPoll => "longpoll",
        })
    }
}

/// A callback that crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    Connect,
    Join,
    Channel,
    Terminate,
    RawSocket,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Join => "join",
            Self::Channel => "channel",
            Self::Terminate => "terminate",
            Self::RawSocket => "raw_socket",
        })
    }
}

/// Why a frame to or from another node was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// There is no connection.
    Down,
    /// The queue to other nodes is full.
    Full,
    /// A name is too long for a frame.
    TooLong,
    /// The workers' queues are full of broadcasts of other nodes.
    Busy,
    /// A newer one of the same node was delivered before.
    Late,
    /// It was delivered before.
    Double,
    /// It is of a version that this node does not know.
    Version,
    /// It is of a kind that this node does not know.
    Kind,
    /// It is not a frame.
    Malformed,
}

#[cfg(feature = "metrics")]
impl Unsent {
    pub(crate) const ALL: [Self; 9] = [
        Self::Down,
        Self::Full,
        Self::TooLong,
        Self::Busy,
        Self::Late,
        Self::Double,
        Self::Version,
        Self::Kind,
        Self::Malformed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Full => "full",
            Self::TooLong => "too_long",
            Self::Busy => "busy",
            Self::Late => "late",
            Self::Double => "double",
            Self::Version => "version",
            Self::Kind => "kind",
            Self::Malformed => "malformed",
        }
    }
}
