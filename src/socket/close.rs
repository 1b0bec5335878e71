//! How a client is told why the server closes its connection, and how the log.

use crate::{
    pubsub::SubscriberKey,
    telemetry::{Closed, Quoted},
    wire::CloseCode,
};

/// The close code that says why.
pub(super) fn code(why: Closed) -> CloseCode {
    match why {
        Closed::Application => CloseCode::NORMAL,
        Closed::Disconnect => CloseCode::GOING_AWAY,
        Closed::Idle | Closed::Protocol => CloseCode::PROTOCOL,
        Closed::InvalidText => CloseCode::INVALID_TEXT,
        Closed::Rate => CloseCode::POLICY,
        Closed::TooBig => CloseCode::TOO_BIG,
        Closed::Malformed | Closed::Crash | Closed::SlowReader | Closed::SlowChannel => CloseCode::INTERNAL,
        Closed::Drain => CloseCode::SERVICE_RESTART,
    }
}

/// Writes the line of a connection that is closed; `what` is more of the reason, if there is more.
pub(super) fn log(conn: SubscriberKey, why: Closed, what: &str) {
    if what.is_empty() {
        log::log!(level(why), "event=closed conn={conn} reason={why}");
    } else {
        log::log!(level(why), "event=closed conn={conn} reason={why} what={}", Quoted(what));
    }
}

/// What a client does to itself is of interest, what it does to the server should be seen; of a drain there is one line for
/// all.
fn level(why: Closed) -> log::Level {
    match why {
        Closed::SlowReader | Closed::SlowChannel | Closed::Rate | Closed::Crash => log::Level::Warn,
        Closed::Drain => log::Level::Debug,
        _ => log::Level::Info,
    }
}
