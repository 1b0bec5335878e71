//! Reasons to refuse a client and to close its connection. They are fixed sets of names, so that no client can add
//! labels to a metric.

use crate::wire::CloseCode;

/// Defines an enum each of whose values has a name.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl $name {
            /// All values in the order of their numbers: `ALL[value as usize]` is `value`.
            pub const ALL: [Self; [$(Self::$value),*].len()] = [$(Self::$value),*];

            /// The name in metrics and log lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names! {
    /// Why a client was refused.
    Refusal {
        /// A method that the transport does not have.
        Method = "method",
        /// A query that does not parse.
        Query = "query",
        /// A page that is not allowed by `check_origin`.
        Origin = "origin",
        /// Subprotocols without `phoenix`, or a token among them that does not decode.
        Subprotocol = "subprotocol",
        /// A protocol version that is not supported.
        Version = "version",
        /// The server has as many connections as it accepts.
        Full = "full",
        /// The server shuts down.
        Drain = "drain",
        /// The application's `connect` refused.
        Application = "application",
        /// The application's `connect` panicked.
        Crash = "crash",
        /// A request that is not a WebSocket upgrade.
        Handshake = "handshake",
    }
}

names! {
    /// Why the server closes a connection that was open.
    Closed {
        /// The client does not read what is sent to it.
        SlowReader = "slow_reader",
        /// A channel does not keep up with the broadcasts that it intercepts.
        SlowChannel = "slow_channel",
        /// Nothing came from the client for too long.
        Idle = "idle",
        /// A message that does not decode.
        Malformed = "malformed",
        /// Frames that violate RFC 6455.
        Protocol = "protocol",
        /// Text that is not UTF-8.
        InvalidText = "invalid_text",
        /// A compressed message that does not inflate.
        Inflate = "inflate",
        /// A frame or message that is too long.
        TooBig = "too_big",
        /// More messages than the client may send over time.
        Rate = "rate",
        /// A raw socket's callback crashed.
        Crash = "crash",
        /// `disconnect` was broadcast to the socket's id.
        Disconnect = "disconnect",
        /// A raw socket closed itself.
        Application = "application",
        /// The server shuts down.
        Drain = "drain",
    }
}

impl Closed {
    /// The close code that the client is sent.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Application => CloseCode::NORMAL,
            Self::Disconnect => CloseCode::GOING_AWAY,
            Self::Idle | Self::Protocol => CloseCode::PROTOCOL,
            Self::InvalidText | Self::Inflate => CloseCode::INVALID_TEXT,
            Self::Rate => CloseCode::POLICY,
            Self::TooBig => CloseCode::TOO_BIG,
            Self::Malformed | Self::Crash | Self::SlowReader | Self::SlowChannel => CloseCode::INTERNAL,
            Self::Drain => CloseCode::SERVICE_RESTART,
        }
    }
}
