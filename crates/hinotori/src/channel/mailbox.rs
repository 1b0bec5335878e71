//! What waits for a channel, or a raw socket, to be handled: in order, one at a time.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use crate::pubsub::{Keyed, SubscriberKey};

/// Items that an empty queue keeps memory for: an idle channel has next to none.
const KEPT: usize = 4;

/// One thing to handle.
#[derive(Debug)]
pub(crate) enum Item<C, I> {
    /// Of the library.
    Command(C),
    /// For `handle_info`.
    Info(I),
}

/// See the module. Filled from any thread, emptied by one task.
pub(crate) struct Mailbox<C, I> {
    state: Mutex<State<C, I>>,
}

struct State<C, I> {
    /// Boxed, as few wait at a time, and they are of very different sizes.
    queue: VecDeque<Box<Item<C, I>>>,
    is_closed: bool,
    reader: Option<Waker>,
}

impl<C, I> Default for Mailbox<C, I> {
    fn default() -> Self {
        Self { state: Mutex::new(State { queue: VecDeque::new(), is_closed: false, reader: None }) }
    }
}

impl<C, I> Mailbox<C, I> {
    fn state(&self) -> MutexGuard<'_, State<C, I>> {
        // nothing that holds the lock can panic half way, so what a poisoned one guards is whole
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an item, or returns it if the mailbox is closed.
    pub(crate) fn push(&self, item: Item<C, I>) -> Result<(), Item<C, I>> {
        let reader = {
            let mut state = self.state();
            if state.is_closed {
                return Err(item);
            }
            state.queue.push_back(Box::new(item));
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Takes no more. What is queued is still handled.
    pub(crate) fn close(&self) {
        let reader = {
            let mut state = self.state();
            state.is_closed = true;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next item; none once the mailbox is closed and empty.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Item<C, I>>> {
        let mut state = self.state();
        match state.queue.pop_front() {
            Some(item) => {
                if state.queue.is_empty() {
                    state.queue.shrink_to(KEPT);
                }
                Poll::Ready(Some(*item))
            }
            None if state.is_closed => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes no more, and drops what is queued.
    pub(crate) fn clear(&self) {
        self.close();
        let queued = std::mem::take(&mut self.state().queue);
        // outside of the lock, as what is dropped is the application's
        drop(queued);
    }
}

/// The end at which messages for `handle_info` come in.
pub(crate) trait Inlet<I>: Send + Sync {
    fn send(&self, info: I) -> Result<(), I>;
}

impl<C: Send, I: Send> Inlet<I> for Mailbox<C, I> {
    fn send(&self, info: I) -> Result<(), I> {
        self.push(Item::Info(info)).map_err(|item| match item {
            Item::Info(info) => info,
            Item::Command(_) => unreachable!("it is the item that was pushed"),
        })
    }
}

/// Sends messages to one channel's `handle_info`, and names the channel to
/// [`Endpoint::broadcast_from`](crate::Endpoint::broadcast_from). Cheap to clone, usable from any thread.
pub struct Handle<I: Send + 'static> {
    inlet: Weak<dyn Inlet<I>>,
    key: SubscriberKey,
}

impl<I: Send + 'static> Handle<I> {
    pub(crate) fn new(inlet: Weak<dyn Inlet<I>>, key: SubscriberKey) -> Self {
        Self { inlet, key }
    }

    /// Sends a message. `Ok` means that it is queued: it is handled after all that came before it, unless a callback before
    /// it crashes, or does not end in time after the channel has begun to [end](crate::Channel::SHUTDOWN).
    ///
    /// # Errors
    /// The message itself, if the channel has ended or begun to: its client has left, joined again or is gone.
    pub fn send(&self, info: I) -> Result<(), I> {
        match self.inlet.upgrade() {
            Some(inlet) => inlet.send(info),
            None => Err(info),
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

impl<I: Send + 'static> fmt::Debug for Handle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::*;

    #[actix_web::test]
    async fn what_was_taken_is_handled_in_order_and_nothing_is_taken_after_the_close() {
        let mailbox = Arc::new(Mailbox::<(), u32>::default());
        let handle = Handle::new(Arc::downgrade(&mailbox) as Weak<dyn Inlet<u32>>, SubscriberKey::new());
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

    #[test]
    fn an_empty_mailbox_keeps_no_memory_for_what_it_held() {
        let mailbox = Mailbox::<(), u32>::default();
        (0..1_000).for_each(|n| mailbox.push(Item::Info(n)).unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        while mailbox.poll_next(&mut cx).is_ready() {}
        assert!(mailbox.state().queue.capacity() <= KEPT);
    }
}
