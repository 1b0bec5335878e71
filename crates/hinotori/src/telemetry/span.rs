//! Spans of `tracing` around the application's callbacks. Without the feature `tracing` there are none.
//!
//! A span lasts for one callback, is entered whenever the callback is polled, and has the level info. Whatever the
//! application logs or traces within it, and tasks that it starts with `tracing::Instrument`, are associated with the
//! client and the message.

use std::future::Future;

use super::Conn;

/// The fields of the span: those of `callback`, `conn`, `id`, `topic` and `event` that are known.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "there are no spans"))]
pub(crate) struct Span<'a> {
    /// The name of the method.
    pub(crate) callback: &'static str,
    /// `None` for `connect`, which runs before there is a connection.
    pub(crate) conn: Option<Conn<'a>>,
    pub(crate) topic: Option<&'a str>,
    pub(crate) event: Option<&'a str>,
}

impl Span<'_> {
    /// Runs a callback in its span.
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

    /// Returns the callback unchanged.
    #[cfg(not(feature = "tracing"))]
    pub(crate) fn around<F: Future>(self, callback: F) -> F {
        callback
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests;
