//! The queue of a channel or raw socket, which handles its items in order, one at a time.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::sync::watch;

/// Capacity that an empty queue keeps: an idle channel uses next to no memory.
const KEPT: usize = 4;

/// One thing to handle.
#[derive(Debug)]
pub(crate) enum Item<C, I> {
    /// From the library.
    Command(C),
    /// For `handle_info`.
    Info(I),
}

/// See the module. Filled from any thread, drained by one task.
pub(crate) struct Mailbox<C, I> {
    state: Mutex<State<C, I>>,
}

struct State<C, I> {
    /// Boxed, because few wait at a time and their sizes differ widely.
    queue: VecDeque<Box<Item<C, I>>>,
    is_closed: bool,
    reader: Option<Waker>,
    /// Dropped when the mailbox closes. Created on first use, because few are needed.
    open: Option<watch::Sender<()>>,
}

impl<C, I> Default for Mailbox<C, I> {
    fn default() -> Self {
        Self { state: Mutex::new(State::default()) }
    }
}

impl<C, I> Default for State<C, I> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), is_closed: false, reader: None, open: None }
    }
}

impl<C, I> Mailbox<C, I> {
    fn state(&self) -> MutexGuard<'_, State<C, I>> {
        // no code that holds the lock can panic halfway, so poisoned data is still consistent
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

    /// Accepts no more items. Those already queued are still handled.
    pub(crate) fn close(&self) {
        let (reader, open) = {
            let mut state = self.state();
            state.is_closed = true;
            (state.reader.take(), state.open.take())
        };
        drop(open);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// A receiver that ends when the mailbox closes; `None` if it is closed.
    fn watch(&self) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        let is_open = !state.is_closed;
        is_open.then(|| state.open.get_or_insert_with(|| watch::Sender::new(())).subscribe())
    }

    /// The next item; `None` once the mailbox is closed and empty.
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

    /// Accepts no more items and drops those that are queued.
    pub(crate) fn clear(&self) {
        self.close();
        let queued = std::mem::take(&mut self.state().queue);
        // outside of the lock, because this runs the application's drop code
        drop(queued);
    }
}

/// The sending end for `handle_info` messages.
pub(crate) trait Inlet<I>: Send + Sync {
    fn send(&self, info: I) -> Result<(), I>;
    /// A receiver that ends when no more messages are accepted; `None` if that is already so.
    fn watch(&self) -> Option<watch::Receiver<()>>;
}

impl<C: Send, I: Send> Inlet<I> for Mailbox<C, I> {
    fn send(&self, info: I) -> Result<(), I> {
        self.push(Item::Info(info)).map_err(|item| match item {
            Item::Info(info) => info,
            Item::Command(_) => unreachable!("it is the item that was pushed"),
        })
    }

    fn watch(&self) -> Option<watch::Receiver<()>> {
        self.watch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_mailbox_keeps_no_memory_for_what_it_held() {
        let mailbox = Mailbox::<(), u32>::default();
        (0..1_000).for_each(|n| mailbox.push(Item::Info(n)).unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        while mailbox.poll_next(&mut cx).is_ready() {}
        assert!(mailbox.state().queue.capacity() <= KEPT);
    }
}
