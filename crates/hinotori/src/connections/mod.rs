//! The connections of one server, over all workers and transports: how many there may be, and which have to close.
//!
//! A connection takes a [`Seat`] before it opens. While it is open, its worker thread lists it (`members.rs`), checks
//! whether its client is silent, and closes it when the server drains. This module does not send or receive.

mod batch;
mod members;

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

pub(crate) use batch::Batch;
pub(crate) use members::Member;
use members::Members;

use crate::{per_thread::ServerId, pubsub::SubscriberKey};

/// See the module.
#[derive(Debug)]
pub(crate) struct Connections {
    id: ServerId,
    /// Connections that are open or being opened.
    count: AtomicUsize,
    max: usize,
    /// Whether clients should go to another server.
    is_leaving: AtomicBool,
    is_draining: AtomicBool,
    /// The latest batch. A worker that misses one takes part in the next.
    batch: watch::Sender<Batch>,
}

impl Connections {
    /// No connections so far, and at most `max` at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            id: ServerId::new(),
            count: AtomicUsize::new(0),
            max,
            is_leaving: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            batch: watch::Sender::default(),
        }
    }

    /// A seat for a connection, taken until it is dropped. `None` if all are taken.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        // one atomic step: two workers cannot both take the last seat
        let taken = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < self.max).then_some(count + 1)
        });
        taken.ok().map(|_| Seat(self.clone()))
    }

    /// Connections that are open or being opened.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// From now on, the server is not ready.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
    }

    /// Whether clients should use this server.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_leaving.load(Ordering::SeqCst)
    }

    /// From now on, no connection opens, and one that is being opened is closed at once.
    pub(crate) fn begin_drain(&self) {
        self.leave();
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Whether connections are being closed; one that opens now is in no batch.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Makes `size` of the open connections of all workers close.
    pub(crate) fn drain(&self, size: usize) -> Batch {
        let batch = Batch::new(size);
        self.batch.send_replace(batch.clone());
        batch
    }

    /// Lists an open connection of this thread.
    pub(crate) fn add(&self, key: SubscriberKey, connection: Rc<dyn Member>) {
        self.of_thread().add(key, connection);
    }

    /// Removes a connection that has ended.
    pub(crate) fn remove(&self, key: SubscriberKey) {
        if let Some(members) = members::find(self.id) {
            members.remove(key);
        }
    }

    /// Checks the connections of this thread at least this often from now on.
    pub(crate) fn look_every(&self, pace: Duration) {
        self.of_thread().look_every(pace);
    }

    /// The connections of this thread; the list is created when it is first needed.
    fn of_thread(&self) -> Rc<Members> {
        members::find(self.id).unwrap_or_else(|| members::start(self.id, self.batch.subscribe()))
    }

    /// Whether no connection is listed on this thread.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        members::find(self.id).is_none_or(|members| members.is_empty())
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Connections>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
