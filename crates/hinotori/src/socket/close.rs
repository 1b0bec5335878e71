//! What the log says of connections that the server closes.

use crate::{
    reason::Closed,
    telemetry::{Conn, Quoted},
};

/// Writes the line of a connection that is closed; `what` is more of the reason, if there is more.
pub(super) fn log(conn: Conn<'_>, why: Closed, what: &str) {
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
