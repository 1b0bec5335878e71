//! The log line of a connection that the server closes.

use crate::{
    reason::Closed,
    telemetry::{Conn, Quoted},
};

/// Logs that a connection is closed; `what` has details of the reason, or is empty.
pub(super) fn log(conn: Conn<'_>, why: Closed, what: &str) {
    if what.is_empty() {
        log::log!(level(why), "event=closed conn={conn} reason={why}");
    } else {
        log::log!(level(why), "event=closed conn={conn} reason={why} what={}", Quoted(what));
    }
}

/// A warning for what harms the server, information for what only concerns the client. A drain has one line for all
/// connections.
fn level(why: Closed) -> log::Level {
    match why {
        Closed::SlowReader | Closed::SlowChannel | Closed::Rate | Closed::Crash => log::Level::Warn,
        Closed::Drain => log::Level::Debug,
        _ => log::Level::Info,
    }
}
