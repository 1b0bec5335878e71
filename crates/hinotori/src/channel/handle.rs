//! Handles to running channels and raw sockets, for use elsewhere in the application.

use std::{
    fmt,
    future::Future,
    hash::{Hash, Hasher},
    sync::Weak,
};

use super::Inlet;
use crate::pubsub::{Keyed, SubscriberKey};

/// Refers to one running channel or raw socket from anywhere. It sends messages to `handle_info`, observes the
/// channel's end, and identifies the channel to [`Endpoint::broadcast_from`](crate::Endpoint::broadcast_from). Cheap to
/// clone; works from any thread and any runtime.
///
/// Two handles are equal if they refer to the same channel, so they can be elements of a set or keys of a map. A client
/// that joins again gets a new channel with a different handle.
///
/// ```
/// # use hinotori::{Channel, ConnectInfo, Context, Join, Params, Payload, Refused, Reply, Routes, SocketHandler};
/// use std::{collections::HashSet, sync::Mutex};
/// use hinotori::Handle;
///
/// /// The channels to notify of new orders, on any thread.
/// static WATCHERS: Mutex<Option<HashSet<Handle<NewOrder>>>> = Mutex::new(None);
///
/// #[derive(Clone)]
/// struct NewOrder {
///     id: u64,
/// }
///
/// fn tell_watchers(order: &NewOrder) {
///     for watcher in WATCHERS.lock().unwrap().iter().flatten() {
///         // a channel that has ended accepts no more messages
///         let _ = watcher.send(order.clone());
///     }
/// }
/// # struct UserSocket;
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> Result<Self, Refused> { Ok(Self) }
/// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Orders>("orders"); }
/// # }
///
/// struct Orders;
///
/// impl Channel for Orders {
///     type Socket = UserSocket;
///     type Info = NewOrder;
///
///     async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> hinotori::Result<Join<Self>> {
///         let handle = cx.handle();
///         WATCHERS.lock().unwrap().get_or_insert_default().insert(handle.clone());
///         actix_web::rt::spawn(async move {
///             handle.closed().await;
///             WATCHERS.lock().unwrap().get_or_insert_default().remove(&handle);
///         });
///         Join::ok(Orders)
///     }
///
///     async fn handle_info(&mut self, order: NewOrder, cx: &mut Context<Self>) -> hinotori::Result<()> {
///         Ok(cx.push("new_order", serde_json::json!({ "id": order.id }))?)
///     }
/// }
/// # #[cfg(feature = "testing")]
/// # actix_web::rt::System::new().block_on(async {
/// # let endpoint = hinotori::Endpoint::new();
/// # let mut client = hinotori::testing::ChannelTest::new(&endpoint).connect::<UserSocket>().await.unwrap();
/// # client.subscribe_and_join("orders", serde_json::json!({})).await.unwrap();
/// # tell_watchers(&NewOrder { id: 7 });
/// # client.assert_push("new_order", serde_json::json!({ "id": 7 })).await;
/// # drop(client);
/// # while WATCHERS.lock().unwrap().iter().flatten().count() > 0 {
/// #     actix_web::rt::task::yield_now().await;
/// # }
/// # });
/// ```
pub struct Handle<I: Send + 'static> {
    inlet: Weak<dyn Inlet<I>>,
    key: SubscriberKey,
}

impl<I: Send + 'static> Handle<I> {
    pub(crate) fn new(inlet: Weak<dyn Inlet<I>>, key: SubscriberKey) -> Self {
        Self { inlet, key }
    }

    /// A number that is unique to this channel within the process and is never reused.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.key.into()
    }

    /// Sends a message. `Ok` means that the message is queued, not that it has been handled. It is handled after
    /// everything queued before it. It is never handled if an earlier callback crashes, or if an earlier callback
    /// overruns the [time limit](crate::Channel::SHUTDOWN) after the channel has been asked to end.
    ///
    /// # Errors
    /// Returns the message if the channel has ended or is ending: its client has left, joined again or disconnected.
    pub fn send(&self, info: I) -> Result<(), I> {
        match self.inlet.upgrade() {
            Some(inlet) => inlet.send(info),
            None => Err(info),
        }
    }

    /// Completes when the channel takes no more messages because it has ended or is ending for any reason; from then on
    /// [`send`](Handle::send) returns its message. `terminate` may still be running. The future is `Send` and does not
    /// keep the channel alive (Erlang's `Process.monitor`).
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<I> {
        let open = self.inlet.upgrade().and_then(|inlet| inlet.watch());
        async move {
            if let Some(mut open) = open {
                // nothing is ever sent: the only possible change is that the sender is dropped
                while open.changed().await.is_ok() {}
            }
        }
    }
}

impl<I: Send + 'static> Clone for Handle<I> {
    fn clone(&self) -> Self {
        Self { inlet: self.inlet.clone(), key: self.key }
    }
}

impl<I: Send + 'static> Keyed for Handle<I> {
    fn key(&self) -> SubscriberKey {
        self.key
    }
}

impl<I: Send + 'static> PartialEq for Handle<I> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<I: Send + 'static> Eq for Handle<I> {}

impl<I: Send + 'static> Hash for Handle<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl<I: Send + 'static> fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use futures_util::{FutureExt, future::join};

    use super::*;
    use crate::{
        channel::{Item, Mailbox},
        socket::ChannelId,
    };

    fn handle(id: u64, mailbox: &Arc<Mailbox<(), u32>>) -> Handle<u32> {
        Handle::new(Arc::downgrade(mailbox) as Weak<dyn Inlet<u32>>, ChannelId(id).into())
    }

    #[actix_web::test]
    async fn what_was_taken_is_handled_in_order_and_nothing_is_taken_after_the_close() {
        let mailbox = Arc::default();
        let handle = handle(1, &mailbox);
        let sender = handle.clone();
        std::thread::spawn(move || (0..100).for_each(|n| sender.send(n).unwrap())).join().unwrap();
        mailbox.close();
        assert_eq!(handle.send(100), Err(100));
        for n in 0..100 {
            assert!(matches!(poll_fn(|cx| mailbox.poll_next(cx)).await, Some(Item::Info(next)) if next == n));
        }
        assert!(poll_fn(|cx| mailbox.poll_next(cx)).await.is_none());
        drop(mailbox);
        assert_eq!(handle.send(101), Err(101));
    }

    #[actix_web::test]
    async fn the_end_is_noticed_by_all_who_wait_on_whatever_thread_and_by_those_who_come_late() {
        let mailbox = Arc::default();
        let handle = handle(1, &mailbox);
        let (early, other) = (handle.closed(), handle.closed());
        assert!(handle.closed().now_or_never().is_none());
        // a thread without a runtime
        let waiting = std::thread::spawn(move || futures_executor(other));
        mailbox.close();
        early.await;
        waiting.join().unwrap();
        join(handle.closed(), handle.clone().closed()).await;
        drop(mailbox);
        handle.closed().await;
    }

    /// Runs a future on this thread with only a waker.
    fn futures_executor(future: impl Future<Output = ()>) {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut future = std::pin::pin!(future);
        while future.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
    }

    #[test]
    fn handles_are_equal_if_they_are_of_one_channel() {
        let mailbox = Arc::default();
        let one = handle(1, &mailbox);
        assert_eq!((one.clone(), one.id()), (one.clone(), 1));
        assert_ne!(one, handle(2, &mailbox));
        assert_eq!(std::collections::HashSet::from([one.clone(), one, handle(2, &mailbox)]).len(), 2);
    }
}
