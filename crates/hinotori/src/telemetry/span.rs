//! Spans of `tracing` around the callbacks of an application, with the feature `tracing`; without it there are none.
//!
//! A span lasts for one callback, is entered whenever the callback is polled, and has the level info. What the application
//! logs or traces in it, and the tasks it starts with `tracing::Instrument`, belong to the client and the message.

use std::future::Future;

use super::Conn;

/// What the span says. Its fields are `callback`, `conn`, `id`, `topic` and `event`, those that there are.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "there are no spans"))]
pub(crate) struct Span<'a> {
    /// The name of the method.
    pub(crate) callback: &'static str,
    /// `connect` is asked before there is a connection.
    pub(crate) conn: Option<Conn<'a>>,
    pub(crate) topic: Option<&'a str>,
    pub(crate) event: Option<&'a str>,
}

impl Span<'_> {
    /// A callback in its span.
    #[cfg(feature = "tracing")]
    pub(crate) fn around<F: Future>(self, callback: F) -> impl Future<Output = F::Output> + use<F> {
        use tracing::{Instrument, Level, Span, field, info_span, span_enabled};

        use super::quoted::beginning;

        // without a subscriber, tracing would write spans to `log`: actix-web turns that on
        if !span_enabled!(target: "hinotori", Level::INFO) {
            return callback.instrument(Span::none());
        }
        let span = info_span!(
            target: "hinotori",
            "callback",
            callback = self.callback,
            conn = self.conn.map(|conn| field::display(conn.number)),
            id = self.conn.and_then(|conn| conn.id).map(beginning),
            topic = self.topic.map(beginning),
            event = self.event.map(beginning),
        );
        callback.instrument(span)
    }

    /// The callback itself.
    #[cfg(not(feature = "tracing"))]
    pub(crate) fn around<F: Future>(self, callback: F) -> F {
        callback
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests;
