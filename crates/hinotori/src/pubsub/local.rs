//! The subscribers of one worker thread, and the queue through which other threads reach them.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use indexmap::IndexMap;
use tokio::sync::mpsc;

use super::{Broadcast, SubscriberKey, Ticket, disconnects::Disconnects};
use crate::{
    per_thread::{self, PerThread, Registered, ServerId},
    telemetry::Counts,
};

/// Bytes of broadcasts that are delivered before any of them is written. This much leaves in one write, and a large
/// number of broadcasts does not fill an outbox by itself.
const BURST: usize = 256 * 1024;

/// Deliveries after which a burst ends too, to limit how long its many receivers wait.
const BURST_DELIVERIES: u64 = 64 * 1024;

/// Nanoseconds per byte of a burst that the worker may wait for clients that fall behind. A client that reads 12 MB per
/// second is never disconnected, however many broadcasts there are, and a slower client does not delay others by more
/// than that.
const WAIT: u64 = 80;

/// How often clients that fall behind are checked.
const MOMENT: Duration = Duration::from_millis(1);

/// Clients that are written to before the worker yields to other tasks: half a millisecond of system calls.
const TURN: usize = 128;

/// A receiver of a topic's broadcasts.
pub(crate) trait Subscriber {
    /// Takes a broadcast, and returns whether it was queued for a client. It is called within a loop over all
    /// subscribers, so it must not wait, subscribe or unsubscribe.
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool;

    /// The same for a broadcast with none waiting behind it: if nothing is queued for a client, it may be written to
    /// immediately.
    fn hand_out(&self, broadcast: &Arc<Broadcast>) -> bool {
        self.deliver(broadcast)
    }
}

/// A broadcast of another thread.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) broadcast: Arc<Broadcast>,
    /// Of a broadcast of another node, until it is delivered.
    #[expect(dead_code, reason = "it is held")]
    pub(super) ticket: Option<Arc<Ticket>>,
}

/// What a worker's loop has to do.
enum Work {
    /// One broadcast is to be handed out.
    HandOut(Queued),
    /// Broadcasts with this many bytes of payload have been delivered, and what is queued must be written.
    Write(usize),
}

/// The most clients in a burst for which the list's memory is kept.
const KEPT: usize = 16 * 1024;

/// A client that is written to soon.
pub(crate) trait Writer {
    /// Writes what is queued; its own task writes what the client does not take at once. It must not wait. Returns
    /// whether the client [falls behind](Writer::falls_behind).
    fn write(&self) -> bool;
    /// Whether the client reads, but has so much waiting that nothing more should be delivered for a moment.
    fn falls_behind(&self) -> bool;
}

thread_local! {
    static LOCALS: PerThread<Local> = PerThread::default();
}

/// This thread's registry, if it has one.
pub(super) fn find(id: ServerId) -> Option<Rc<Local>> {
    per_thread::find(&LOCALS, id)
}

/// An action that was decided while messages of other threads waited to be delivered.
type Deferred = Box<dyn FnOnce(&Local)>;

/// Dense, to be walked in a broadcast, with removal in constant time, because ten thousand clients may leave at once.
type Subscribers = IndexMap<SubscriberKey, Rc<dyn Subscriber>>;

/// The registry of one thread.
pub(crate) struct Local {
    key: SubscriberKey,
    counts: Counts,
    topics: RefCell<HashMap<String, Subscribers>>,
    disconnects: Disconnects,
    /// Broadcasts of other threads that this one has not delivered yet.
    inbox: RefCell<mpsc::UnboundedReceiver<Queued>>,
    /// How many broadcasts other threads have sent, and how many of them have been delivered.
    sent: Arc<AtomicU64>,
    delivered: Cell<u64>,
    /// Actions that run after this many broadcasts of other threads, in order.
    behind: RefCell<VecDeque<(u64, Deferred)>>,
    /// Clients for which something is queued that is not written yet.
    unwritten: RefCell<Vec<Rc<dyn Writer>>>,
    /// The broadcast that is being handed out, and how many of the subscribers have it.
    handing_out: RefCell<Option<Arc<Broadcast>>>,
    handed_out: Cell<usize>,
    /// Clients that fall behind with reading, and how much longer the worker may wait for them.
    behind_reading: RefCell<Vec<Rc<dyn Writer>>>,
    owed: Cell<Duration>,
    /// The task that delivers and writes, while it has nothing to do.
    idle: Cell<Option<Waker>>,
}

impl Local {
    /// Creates the registry of this thread, and a task that serves its queue until the server is dropped.
    pub(super) fn start(
        id: ServerId,
        inbox: mpsc::UnboundedReceiver<Queued>,
        sent: Arc<AtomicU64>,
        counts: Counts,
    ) -> Rc<Self> {
        let local = Rc::new(Self {
            key: SubscriberKey::new(),
            counts,
            topics: RefCell::default(),
            disconnects: Disconnects::default(),
            inbox: RefCell::new(inbox),
            sent,
            delivered: Cell::new(0),
            behind: RefCell::default(),
            unwritten: RefCell::default(),
            handing_out: RefCell::default(),
            handed_out: Cell::new(0),
            behind_reading: RefCell::default(),
            owed: Cell::default(),
            idle: Cell::default(),
        });
        let registered = Registered::new(&LOCALS, id, local.clone());
        let serving = local.clone();
        actix_web::rt::spawn(async move {
            serving.serve().await;
            drop(registered);
        });
        local
    }

    /// Delivers broadcasts of other threads and writes what is queued for clients, until the server is dropped.
    async fn serve(&self) {
        while let Some(work) = poll_fn(|cx| self.poll_work(cx)).await {
            let bytes = match work {
                Work::HandOut(queued) => {
                    self.hand_out(&queued.broadcast).await;
                    queued.broadcast.payload.len()
                }
                Work::Write(bytes) => bytes,
            };
            // before more is delivered, so that queues do not grow while many other clients are written to
            self.write().await;
            if bytes > 0 {
                tokio::task::yield_now().await;
                self.wait_for_readers(bytes).await;
            }
        }
    }

    /// Gives clients that fall behind a moment to read before more is delivered. `bytes` is the size of the last burst.
    async fn wait_for_readers(&self, bytes: usize) {
        let mut behind = self.behind_reading.take();
        behind.retain(|writer| writer.falls_behind());
        if behind.is_empty() {
            return self.owed.set(Duration::ZERO);
        }
        self.owed.set(self.owed.get() + Duration::from_nanos(bytes as u64 * WAIT));
        while !behind.is_empty() && self.owed.get() >= MOMENT {
            let begun = Instant::now();
            actix_web::rt::time::sleep(MOMENT).await;
            self.owed.set(self.owed.get().saturating_sub(begun.elapsed()));
            self.write().await;
            behind.retain(|writer| writer.falls_behind());
        }
    }

    /// Delivers a burst of other threads' broadcasts, if there is more than one. Returns `None` when no more will come, and is
    /// pending if there is nothing to deliver and nothing to write.
    fn poll_work(&self, cx: &mut Context<'_>) -> Poll<Option<Work>> {
        let (mut bytes, before) = (0, self.counts.sent.get());
        while bytes <= BURST && self.counts.sent.get() - before <= BURST_DELIVERIES {
            let queued = self.inbox.borrow_mut().poll_recv(cx);
            match queued {
                Poll::Ready(Some(queued)) if bytes == 0 && self.is_alone() => {
                    return Poll::Ready(Some(Work::HandOut(queued)));
                }
                Poll::Ready(Some(queued)) => {
                    self.deliver(&queued.broadcast);
                    bytes += queued.broadcast.payload.len();
                    self.has_delivered();
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if self.unwritten.borrow().is_empty() => {
                    self.idle.set(Some(cx.waker().clone()));
                    return Poll::Pending;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Work::Write(bytes)))
    }

    /// Whether no broadcast and no client waits behind the one that has just arrived.
    fn is_alone(&self) -> bool {
        self.inbox.borrow().is_empty() && self.unwritten.borrow().is_empty()
    }

    fn has_delivered(&self) {
        self.delivered.set(self.delivered.get() + 1);
        self.run_deferred();
    }

    /// Hands a broadcast to its subscribers and writes to them, alternating with this thread's other tasks. Actions
    /// requested meanwhile run [after](Self::in_order) it, because it is not delivered until all subscribers have it.
    async fn hand_out(&self, broadcast: &Arc<Broadcast>) {
        self.disconnects.note(broadcast);
        self.handed_out.set(0);
        self.handing_out.replace(Some(broadcast.clone()));
        let mut sent = 0;
        while self.hand_out_turn(broadcast, &mut sent) {
            tokio::task::yield_now().await;
        }
        self.handing_out.take();
        self.counts.fanned_out(broadcast.made.elapsed(), sent);
        self.has_delivered();
    }

    /// Serves the next subscribers. Returns whether there are more.
    fn hand_out_turn(&self, broadcast: &Arc<Broadcast>, sent: &mut u64) -> bool {
        let topics = self.topics.borrow();
        let Some(subscribers) = topics.get(&broadcast.topic) else { return false };
        let start = self.handed_out.get();
        let end = subscribers.len().min(start + TURN);
        for (key, subscriber) in subscribers.get_range(start..end).into_iter().flatten() {
            if broadcast.from != Some(*key) {
                *sent += u64::from(subscriber.hand_out(broadcast));
            }
        }
        self.handed_out.set(end);
        end < subscribers.len()
    }

    /// Writes what is queued for clients, and yields to other tasks of this thread in between.
    async fn write(&self) {
        let mut turn = self.unwritten.take();
        for (index, writer) in turn.drain(..).enumerate() {
            if writer.write() {
                self.behind_reading.borrow_mut().push(writer);
            }
            if (index + 1) % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        if self.unwritten.borrow().is_empty() && turn.capacity() <= KEPT {
            // keep the memory for the next burst
            self.unwritten.replace(turn);
        }
    }

    /// Lists a client for which something is queued; it is written soon.
    pub(crate) fn write_soon(&self, writer: Rc<dyn Writer>) {
        self.unwritten.borrow_mut().push(writer);
        if let Some(idle) = self.idle.take() {
            idle.wake();
        }
    }

    /// Whether this thread has no subscribers.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.borrow().is_empty()
    }

    pub(super) fn key(&self) -> SubscriberKey {
        self.key
    }

    pub(super) fn disconnects(&self) -> &Disconnects {
        &self.disconnects
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
            if let Some(index) = subscribers.get_index_of(&key) {
                let place = self.passed(topic, index, subscribers);
                subscribers.swap_remove_index(place);
            }
            if subscribers.is_empty() {
                topics.remove(topic);
            }
        }
    }

    /// The index at which a topic's subscriber is removed. The last subscriber moves there, and it must not end up at
    /// an index that the current broadcast has already passed.
    fn passed(&self, topic: &str, index: usize, subscribers: &mut Subscribers) -> usize {
        let handed_out = self.handed_out.get();
        let is_handed_out = |broadcast: &Arc<Broadcast>| broadcast.topic == topic;
        if index >= handed_out || !self.handing_out.borrow().as_ref().is_some_and(is_handed_out) {
            return index;
        }
        subscribers.swap_indices(index, handed_out - 1);
        self.handed_out.set(handed_out - 1);
        handed_out - 1
    }

    /// Whether everything that other threads have sent so far has been delivered, and all actions that waited for it
    /// have run.
    pub(crate) fn is_caught_up(&self) -> bool {
        // if a message caused this thread's decision, the broadcasts before that message have already been counted
        self.delivered.get() >= self.sent.load(Ordering::Acquire) && self.behind.borrow().is_empty()
    }

    /// Runs an action after every broadcast made so far, and after all actions requested before. It runs immediately
    /// unless broadcasts of other threads wait to be delivered.
    ///
    /// Everything sent to a client goes through here, so it arrives after every broadcast that had been made at the
    /// time of the decision: a like's reply arrives after the like's broadcast, even though the store runs on another
    /// thread. The same holds for subscriptions: a new subscriber gets nothing that others received before it
    /// subscribed. The call never drains a queue, however long it is.
    pub(crate) fn in_order(&self, what: impl FnOnce(&Self) + 'static) {
        if self.is_caught_up() {
            return what(self);
        }
        let position = self.sent.load(Ordering::Acquire);
        self.behind.borrow_mut().push_back((position, Box::new(what)));
    }

    /// Runs the actions that waited for the broadcasts delivered by now.
    fn run_deferred(&self) {
        while let Some(what) = self.next_deferred() {
            what(self);
        }
    }

    fn next_deferred(&self) -> Option<Deferred> {
        let mut behind = self.behind.borrow_mut();
        let is_due = behind.front().is_some_and(|(position, _)| *position <= self.delivered.get());
        if is_due { behind.pop_front().map(|(_, what)| what) } else { None }
    }

    /// Hands a broadcast to the subscribers of its topic on this thread.
    pub(super) fn deliver(&self, broadcast: &Arc<Broadcast>) {
        self.disconnects.note(broadcast);
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
