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
