//! Subscriptions of tasks and actors on any thread: bounded queues that the broadcasting thread fills.
//!
//! Channels and sockets subscribe to their worker's registry instead (`local.rs`).

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::Stream;

use super::{Broadcast, Keyed, SubscriberKey};

/// Bytes of broadcasts that may wait by default: the same as for a client.
const LIMIT: usize = 1024 * 1024;

/// Capacity that an empty queue keeps.
const KEPT: usize = 16;

/// The broadcasts of a topic, for a task or an actor on any thread: see [`Endpoint::subscribe`](crate::Endpoint::subscribe).
///
/// A [`Stream`] that ends with the endpoint; [`recv`](Self::recv) does the same without an extension trait. It yields
/// everything broadcast to the topic after `subscribe` returned, including presence diffs, in the order in which each
/// thread made it. It never slows down a sender: if more than [`limit`](Self::limit) bytes wait, the oldest broadcasts
/// are dropped, and the next item is [`Lagged`] with their number. Dropping the subscription ends it. An actix actor
/// can consume it with [`add_stream`](https://docs.rs/actix/0.13/actix/trait.AsyncContext.html#method.add_stream).
///
/// ```
/// use hinotori::Endpoint;
/// use serde_json::{Value, json};
///
/// # actix_web::rt::System::new().block_on(async {
/// let endpoint = Endpoint::new();
/// let mut orders = endpoint.subscribe("orders");
/// endpoint.broadcast("orders", "new", json!({ "id": 7 }))?;
/// match orders.recv().await {
///     Some(Ok(broadcast)) => {
///         assert_eq!((broadcast.topic(), broadcast.event()), ("orders", "new"));
///         assert_eq!(broadcast.payload().parse::<Value>()?, json!({ "id": 7 }));
///     }
///     Some(Err(lagged)) => panic!("{lagged}"),
///     None => panic!("the endpoint is gone"),
/// }
/// # Ok::<_, hinotori::BoxError>(())
/// # }).unwrap();
/// ```
#[must_use = "it ends when it is dropped"]
pub struct Subscription {
    ear: Arc<Ear>,
    listeners: Weak<Listeners>,
}

/// A [`Subscription`] was not read in time, and this many broadcasts were dropped between the previous item and the
/// next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged(pub u64);

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broadcasts were dropped, as the subscription did not take them in time", self.0)
    }
}

impl std::error::Error for Lagged {}

impl Subscription {
    /// Sets how many bytes of broadcasts may wait; one more of any size always fits. Each broadcast counts as about 300
    /// bytes plus its topic, event and payload. 1 MiB by default. Raise it for a task that may pause for a long time;
    /// lower it if there are very many subscriptions.
    pub fn limit(self, bytes: usize) -> Self {
        self.ear.state().limit = bytes;
        self
    }

    /// Returns the next broadcast, [`Lagged`] if some before it were dropped, or `None` once the endpoint is gone.
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Result<Arc<Broadcast>, Lagged>> {
        poll_fn(|cx| self.ear.poll(cx)).await
    }
}

impl Stream for Subscription {
    type Item = Result<Arc<Broadcast>, Lagged>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ear.poll(cx)
    }
}

impl Keyed for Subscription {
    fn key(&self) -> SubscriberKey {
        self.ear.key
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.remove(&self.ear);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("topic", &self.ear.topic).finish_non_exhaustive()
    }
}

/// Where one subscription's broadcasts wait.
struct Ear {
    key: SubscriberKey,
    topic: Box<str>,
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<Arc<Broadcast>>,
    /// Memory of the queued broadcasts.
    bytes: usize,
    limit: usize,
    /// How many were dropped since the last one was taken.
    lost: u64,
    is_over: bool,
    reader: Option<Waker>,
}

impl Ear {
    fn new(topic: &str) -> Self {
        let (queue, bytes, limit, lost, is_over, reader) = (VecDeque::new(), 0, LIMIT, 0, false, None);
        let state = Mutex::new(State { queue, bytes, limit, lost, is_over, reader });
        Self { key: SubscriberKey::new(), topic: topic.into(), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock can panic halfway, so poisoned data is still consistent
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, broadcast: &Arc<Broadcast>) {
        // drop and wake outside of the lock
        let mut dropped = vec![];
        let reader = {
            let mut state = self.state();
            while state.bytes > state.limit
                && let Some(oldest) = state.queue.pop_front()
            {
                state.bytes -= oldest.cost();
                state.lost += 1;
                dropped.push(oldest);
            }
            state.bytes += broadcast.cost();
            state.queue.push_back(broadcast.clone());
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Nothing more will arrive.
    fn end(&self) {
        let reader = {
            let mut state = self.state();
            state.is_over = true;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<Broadcast>, Lagged>>> {
        let mut state = self.state();
        match mem::take(&mut state.lost) {
            0 => {}
            lost => return Poll::Ready(Some(Err(Lagged(lost)))),
        }
        match state.queue.pop_front() {
            Some(broadcast) => {
                state.bytes -= broadcast.cost();
                if state.queue.is_empty() {
                    state.queue.shrink_to(KEPT);
                }
                Poll::Ready(Some(Ok(broadcast)))
            }
            None if state.is_over => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// All subscriptions of a server's tasks and actors.
#[derive(Default)]
pub(super) struct Listeners {
    /// How many there are, so that a broadcast can skip the map if there are none.
    count: AtomicUsize,
    /// Copied on change, because a receiver may subscribe and unsubscribe during a broadcast.
    topics: RwLock<HashMap<Box<str>, Ears>>,
}

type Ears = Arc<Vec<Arc<Ear>>>;

impl Listeners {
    pub(super) fn subscribe(self: &Arc<Self>, topic: &str) -> Subscription {
        let ear = Arc::new(Ear::new(topic));
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(topics.entry(topic.into()).or_default()).push(ear.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(topics);
        Subscription { ear, listeners: Arc::downgrade(self) }
    }

    fn remove(&self, ear: &Arc<Ear>) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(ears) = topics.get_mut(&ear.topic) {
            Arc::make_mut(ears).retain(|other| !Arc::ptr_eq(other, ear));
            if ears.is_empty() {
                topics.remove(&ear.topic);
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Hands a broadcast to the subscriptions of its topic.
    pub(super) fn tell(&self, broadcast: &Arc<Broadcast>) {
        // anyone who learned of a subscription on its thread, by whatever means, finds it counted
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let ears = {
            let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
            topics.get(broadcast.topic.as_str()).cloned()
        };
        for ear in ears.iter().flat_map(|ears| ears.iter()) {
            if broadcast.from != Some(ear.key) {
                ear.hear(broadcast);
            }
        }
    }
}

/// The server is gone.
impl Drop for Listeners {
    fn drop(&mut self) {
        let topics = self.topics.get_mut().unwrap_or_else(PoisonError::into_inner);
        topics.values().flat_map(|ears| ears.iter()).for_each(|ear| ear.end());
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, thread};

    use futures_util::{FutureExt, StreamExt};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Endpoint, Payload};

    /// What has arrived: the `n` of each broadcast, or minus the number of lost ones.
    fn taken(subscription: &mut Subscription) -> Vec<i64> {
        let mut taken = vec![];
        while let Some(item) = subscription.recv().now_or_never() {
            taken.push(match item.expect("the endpoint is there") {
                Ok(broadcast) => {
                    broadcast.payload().parse::<serde_json::Value>().unwrap()["n"].as_i64().unwrap()
                }
                Err(Lagged(lost)) => -i64::try_from(lost).unwrap(),
            });
        }
        taken
    }

    fn tell(endpoint: &Endpoint, topic: &str, n: i64) {
        endpoint.broadcast(topic, "e", json!({ "n": n })).unwrap();
    }

    #[test]
    fn a_subscription_hears_its_topic_from_any_thread_without_a_runtime_until_it_is_dropped() {
        let endpoint = Endpoint::new();
        let (mut first, mut second) = (endpoint.subscribe("t"), endpoint.subscribe("t"));
        tell(&endpoint, "other", 0);
        tell(&endpoint, "t", 1);
        let sender = endpoint.clone();
        thread::spawn(move || tell(&sender, "t", 2)).join().unwrap();
        assert_eq!((taken(&mut first), taken(&mut second)), (vec![1, 2], vec![1, 2]));
        drop(first);
        tell(&endpoint, "t", 3);
        assert_eq!(taken(&mut second), [3]);
    }

    #[actix_web::test]
    async fn one_that_waits_is_woken_and_ends_with_the_endpoint() {
        let endpoint = Endpoint::new();
        let mut subscription = endpoint.subscribe("t");
        let sender = endpoint.clone();
        let sending = thread::spawn(move || tell(&sender, "t", 1));
        assert!(subscription.next().await.unwrap().is_ok());
        sending.join().unwrap();
        let ending = thread::spawn(move || drop(endpoint));
        assert!(subscription.next().await.is_none());
        ending.join().unwrap();
    }

    #[test]
    fn broadcast_from_spares_the_subscription_that_is_named_alone() {
        let endpoint = Endpoint::new();
        let (mut first, mut second) = (endpoint.subscribe("t"), endpoint.subscribe("t"));
        endpoint.broadcast_from(&first, "t", "e", json!({ "n": 1 })).unwrap();
        assert_eq!((taken(&mut first), taken(&mut second)), (vec![], vec![1]));
    }

    #[test]
    fn one_of_any_size_waits_beyond_the_limit_and_what_is_older_is_lost() {
        let endpoint = Endpoint::new();
        let mut subscription = endpoint.subscribe("t").limit(0);
        endpoint.broadcast("t", "e", Payload::binary(vec![0; 3_000_000])).unwrap();
        assert!(subscription.recv().now_or_never().unwrap().unwrap().is_ok());
        (1..=3).for_each(|n| tell(&endpoint, "t", n));
        assert_eq!(taken(&mut subscription), [-2, 3]);
    }

    #[test]
    fn a_future_that_is_dropped_takes_nothing() {
        let endpoint = Endpoint::new();
        let mut subscription = endpoint.subscribe("t");
        {
            let mut waiting = pin!(subscription.recv());
            assert!(waiting.as_mut().now_or_never().is_none());
            tell(&endpoint, "t", 1);
        }
        assert_eq!(taken(&mut subscription), [1]);
    }

    proptest! {
        /// However slowly it is read, every broadcast either arrives in order or is counted as lost in its place.
        #[test]
        fn all_that_was_told_is_heard_or_counted(limit in 0usize..3_000, turns in prop::collection::vec(0i64..20, 1..20)) {
            let endpoint = Endpoint::new();
            let mut subscription = endpoint.subscribe("t").limit(limit);
            let (mut told, mut heard) = (0, 0);
            for turn in turns {
                for _ in 0..turn {
                    told += 1;
                    tell(&endpoint, "t", told);
                }
                prop_assert!(subscription.ear.state().bytes <= limit + 1_000);
                for n in taken(&mut subscription) {
                    if n < 0 {
                        heard -= n;
                    } else {
                        heard += 1;
                        prop_assert_eq!(n, heard);
                    }
                }
                prop_assert_eq!(heard, told);
                prop_assert_eq!(subscription.ear.state().bytes, 0);
            }
        }
    }
}
