//! What metrics and log lines are told apart by, beside the reasons of the protocol.

use hinotori_protocol::names;

names! {
    /// How a client reaches its socket.
    Transport {
        WebSocket = "websocket",
        LongPoll = "longpoll",
    }
}

names! {
    /// A callback that crashed.
    Crash {
        Connect = "connect",
        Join = "join",
        Channel = "channel",
        Terminate = "terminate",
        RawSocket = "raw_socket",
    }
}
