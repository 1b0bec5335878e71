//! The end of a server: its clients are disconnected in batches, so that they do not all connect to the next one at once.
//!
//! # Source
//! Phoenix `lib/phoenix/socket/pool_drainer.ex`, 1.8.12.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;

use crate::{
    connections::{Batch, Connections},
    node::Node,
};

/// How often a drain looks whether all connections are gone.
const POLL: Duration = Duration::from_millis(10);

/// So long before the deadline all who are left are told, whatever their batch: nobody is cut off without a close frame.
const LAST_CALL: Duration = Duration::from_secs(1);

/// As good as for ever, and no sum of times overflows.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How clients are disconnected when the server shuts down; see
/// [`EndpointBuilder::drainer`](crate::EndpointBuilder::drainer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drainer {
    /// How long clients are still taken after `/readyz` has turned to 503: as long as a load balancer needs to see that. None
    /// by default, as in Phoenix: then the listening sockets are closed at once, which says the same.
    pub grace: Duration,
    /// Connections that are closed at a time, of all workers and transports together, at least 1. 10,000 by default; fewer
    /// where the servers that they go to should not get so many at once.
    pub batch_size: usize,
    /// From one batch to the next. 2 s by default. Where there are no more clients than one batch, nobody waits for it.
    pub batch_interval: Duration,
    /// How long all batches together may take. One second before this, all clients that are left are notified at once;
    /// connections that are still open at the end are cut off. 30 s by default. Whatever supervises the process must not
    /// kill it earlier. Under `actix_web::HttpServer`, set its `shutdown_timeout` higher than this: at that time actix-web
    /// cuts connections off by itself, after 30 s by default.
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

/// The batches of a drain, each of which is logged once.
#[derive(Default)]
struct Steps {
    count: usize,
    /// The one whose connections are being told.
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

    /// Logs what has come of the batch; of one that found nobody there is nothing to say.
    fn end(&mut self, connections: &Connections) {
        let closed = self.batch.take().map_or(0, |batch| batch.closed());
        if closed > 0 {
            let (count, left) = (self.count, connections.count());
            log::info!("event=drain step=batch batch={count} closed={closed} left={left}");
        }
    }
}
