//! Disconnects the clients of a server that shuts down, in batches, so that they do not all reconnect to the next
//! server at once.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/pool_drainer.ex`, 1.8.12.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;

use crate::{
    connections::{Batch, Connections},
    node::Node,
};

/// How often a drain checks whether all connections are gone.
const POLL: Duration = Duration::from_millis(10);

/// How long before the deadline all remaining clients are notified, whatever their batch, so that none is cut off
/// without a close frame.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Practically forever, and no sum of times overflows.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How clients are disconnected when the server shuts down; see
/// [`EndpointBuilder::drainer`](crate::EndpointBuilder::drainer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drainer {
    /// How long clients are still accepted after `/readyz` has turned to 503: as long as a load balancer needs to see
    /// that. Zero by default, as in Phoenix: the listening sockets are then closed at once, which a load balancer
    /// notices too.
    pub grace: Duration,
    /// Connections that are closed at a time, of all workers and transports together, at least 1. 10,000 by default.
    /// Lower it if the servers that the clients reconnect to should not get so many at once.
    pub batch_size: usize,
    /// The time from one batch to the next. 2 s by default. There is no wait after the last batch.
    pub batch_interval: Duration,
    /// How long all batches together may take. One second before this, all remaining clients are notified at once;
    /// connections that are still open at the end are cut off. 30 s by default. Whatever supervises the process must
    /// not kill it earlier. Under `actix_web::HttpServer`, set its `shutdown_timeout` higher than this: after that
    /// time, 30 s by default, actix-web cuts connections off itself.
    pub shutdown: Duration,
}

impl Default for Drainer {
    fn default() -> Self {
        let (batch_interval, shutdown) = (Duration::from_secs(2), Duration::from_secs(30));
        Self { grace: Duration::ZERO, batch_size: 10_000, batch_interval, shutdown }
    }
}

/// Each sets the field of its name.
impl Drainer {
    /// Sets [`grace`](#structfield.grace).
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Sets [`batch_size`](#structfield.batch_size).
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets [`batch_interval`](#structfield.batch_interval).
    #[must_use]
    pub fn batch_interval(self, batch_interval: Duration) -> Self {
        Self { batch_interval, ..self }
    }

    /// Sets [`shutdown`](#structfield.shutdown).
    #[must_use]
    pub fn shutdown(self, shutdown: Duration) -> Self {
        Self { shutdown, ..self }
    }
}

impl Drainer {
    /// Disconnects all clients. Returns how many connections and unfinished tasks are left at the end.
    pub(crate) async fn drain(self, node: &Node) -> usize {
        let (shutdown, interval) = (self.shutdown.min(FOREVER), self.batch_interval.min(FOREVER));
        let begun = Instant::now();
        let (end, last_call) = (begun + shutdown, begun + shutdown.saturating_sub(LAST_CALL));
        let Node { connections, tasks, .. } = node;
        let left = || connections.count() + tasks.unfinished();
        connections.begin_drain();
        let mut steps = Steps::default();
        let mut next = Some(begun);
        while left() > 0 && Instant::now() < end {
            let now = Instant::now();
            if next.is_some_and(|next| now >= next) {
                let is_last = now >= last_call;
                steps.begin(connections, if is_last { usize::MAX } else { self.batch_size.max(1) });
                next = (!is_last).then(|| last_call.min(now + interval));
            }
            sleep(POLL).await;
            steps.log_if_done(connections);
        }
        steps.end(connections);
        left()
    }
}

/// The batches of a drain. Each is logged once.
#[derive(Default)]
struct Steps {
    count: usize,
    /// The batch whose connections are being notified.
    batch: Option<Batch>,
}

impl Steps {
    fn begin(&mut self, connections: &Connections, size: usize) {
        self.end(connections);
        self.count += 1;
        self.batch = Some(connections.drain(size));
    }

    fn log_if_done(&mut self, connections: &Connections) {
        if self.batch.as_ref().is_some_and(Batch::is_done) {
            self.end(connections);
        }
    }

    /// Logs the result of the batch, unless it closed no connection.
    fn end(&mut self, connections: &Connections) {
        let closed = self.batch.take().map_or(0, |batch| batch.closed());
        if closed > 0 {
            let (count, left) = (self.count, connections.count());
            log::info!("event=drain step=batch batch={count} closed={closed} left={left}");
        }
    }
}
