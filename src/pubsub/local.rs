//! The subscribers of one worker thread, and the queue through which other threads reach them.

use std::{cell::RefCell, collections::HashMap, fmt, future::poll_fn, rc::Rc, sync::Arc};

use indexmap::IndexMap;
use tokio::sync::mpsc;

use super::{Broadcast, SubscriberKey, ToWorker};
use crate::telemetry::Counts;

/// Bytes of broadcasts that are delivered before their receivers get to write them: many leave in one write, and no outbox
/// fills by their number alone.
const BURST: usize = 256 * 1024;

/// Whoever wants the broadcasts of a topic.
pub(crate) trait Subscriber {
    /// Takes a broadcast, and says whether it was queued for a client. Called in the middle of a loop over all subscribers:
    /// it must not wait, subscribe or unsubscribe.
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool;
}

/// A connection that closes itself when the server goes down.
pub(crate) trait Drain {
    /// Begins to close; the same rules as for [`Subscriber::deliver`].
    fn drain(&self);
}

thread_local! {
    /// This thread's registry for each server of the process.
    static LOCALS: RefCell<HashMap<u64, Rc<Local>>> = RefCell::default();
}

/// This thread's registry for the server `id`, if it has one.
pub(super) fn find(id: u64) -> Option<Rc<Local>> {
    // at the end of a thread its locals may be gone already: it has no subscribers then
    LOCALS.try_with(|locals| locals.borrow().get(&id).cloned()).ok().flatten()
}

/// Dense to walk in a broadcast, and constant time to leave: ten thousand may leave at once.
type Subscribers = IndexMap<SubscriberKey, Rc<dyn Subscriber>>;

/// The registry of one thread.
pub(crate) struct Local {
    key: SubscriberKey,
    counts: Counts,
    topics: RefCell<HashMap<String, Subscribers>>,
    connections: RefCell<IndexMap<SubscriberKey, Rc<dyn Drain>>>,
    /// What other threads sent and this one has not delivered yet.
    inbox: RefCell<mpsc::UnboundedReceiver<ToWorker>>,
}

impl Local {
    /// Makes the registry of this thread, and a task that serves its queue until the server is dropped.
    pub(super) fn start(id: u64, inbox: mpsc::UnboundedReceiver<ToWorker>, counts: Counts) -> Rc<Self> {
        let local = Rc::new(Self {
            key: SubscriberKey::new(),
            counts,
            topics: RefCell::default(),
            connections: RefCell::default(),
            inbox: RefCell::new(inbox),
        });
        LOCALS.with(|locals| locals.borrow_mut().insert(id, local.clone()));
        let serving = local.clone();
        actix_web::rt::spawn(async move {
            let mut burst = 0;
            while let Some(message) = poll_fn(|cx| serving.inbox.borrow_mut().poll_recv(cx)).await {
                serving.deliver(&message);
                burst += message.size();
                if burst > BURST {
                    // those to whom it went write it before more comes
                    burst = 0;
                    tokio::task::yield_now().await;
                }
            }
            LOCALS.with(|locals| locals.borrow_mut().remove(&id));
        });
        local
    }

    pub(super) fn key(&self) -> SubscriberKey {
        self.key
    }

    /// What this thread counts.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn subscribe(&self, topic: &str, key: SubscriberKey, subscriber: Rc<dyn Subscriber>) {
        let mut topics = self.topics.borrow_mut();
        match topics.get_mut(topic) {
            Some(subscribers) => _ = subscribers.insert(key, subscriber),
            None => _ = topics.insert(topic.to_owned(), IndexMap::from([(key, subscriber)])),
        }
    }

    pub(crate) fn unsubscribe(&self, topic: &str, key: SubscriberKey) {
        let mut topics = self.topics.borrow_mut();
        if let Some(subscribers) = topics.get_mut(topic) {
            subscribers.swap_remove(&key);
            if subscribers.is_empty() {
                topics.remove(topic);
            }
        }
    }

    pub(crate) fn add_connection(&self, key: SubscriberKey, connection: Rc<dyn Drain>) {
        self.connections.borrow_mut().insert(key, connection);
    }

    pub(crate) fn remove_connection(&self, key: SubscriberKey) {
        self.connections.borrow_mut().swap_remove(&key);
    }

    /// Delivers all that other threads have sent so far.
    ///
    /// Whatever is sent to a client directly calls this first, so that it comes after every broadcast that had been made
    /// when it was decided: a like's reply after the like's broadcast, though the store lives on another thread.
    pub(crate) fn flush(&self) {
        loop {
            let Ok(message) = self.inbox.borrow_mut().try_recv() else { return };
            self.deliver(&message);
        }
    }

    /// Hands a message to those on this thread whom it concerns.
    pub(super) fn deliver(&self, message: &ToWorker) {
        match message {
            ToWorker::Broadcast(broadcast) => self.deliver_broadcast(broadcast),
            ToWorker::Drain => {
                for connection in self.connections.borrow().values() {
                    connection.drain();
                }
            }
        }
    }

    fn deliver_broadcast(&self, broadcast: &Arc<Broadcast>) {
        let topics = self.topics.borrow();
        let Some(subscribers) = topics.get(&broadcast.topic) else { return };
        let mut sent = 0;
        for (key, subscriber) in subscribers {
            if broadcast.from != Some(*key) {
                sent += u64::from(subscriber.deliver(broadcast));
            }
        }
        self.counts.fanned_out(broadcast.made.elapsed(), sent);
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("topics", &self.topics.borrow().len()).finish_non_exhaustive()
    }
}
