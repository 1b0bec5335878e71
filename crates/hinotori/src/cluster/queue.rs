//! The frames that wait to be sent to other nodes, limited in bytes and in age.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::{Full, NodeId};

/// Bytes that a frame takes in the queue besides its own.
const OVERHEAD: usize = 64;

/// For whom a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Every node, the sender included.
    All,
    /// One node.
    One(NodeId),
}

/// The outward queue of an [`Adapter`](super::Adapter), filled on any thread and emptied by the one task that sends.
///
/// A frame is refused while [`limit`](Self::new) bytes wait. A frame that has waited for 5 s is dropped: other nodes have
/// noticed the gap by then, and a broadcast that old surprises whoever gets it.
///
/// ```
/// use hinotori::cluster::{Full, Queue, To};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let queue = Queue::new(1_000);
/// queue.push(To::All, "one".into())?;
/// queue.push(To::All, "two".into())?;
/// assert_eq!(queue.push(To::All, vec![0; 1_000].into()), Err(Full));
/// let frames = queue.take(usize::MAX).await;
/// assert_eq!(frames, [(To::All, "one".into()), (To::All, "two".into())]);
/// # Ok::<_, hinotori::BoxError>(())
/// # })?;
/// # Ok::<_, hinotori::BoxError>(())
/// ```
pub struct Queue {
    limit: usize,
    state: Mutex<State>,
    /// Something was pushed.
    filled: Notify,
    /// Something has been sent.
    sent: Notify,
}

#[derive(Default)]
struct State {
    frames: VecDeque<(Instant, To, Bytes)>,
    bytes: usize,
    /// How many have been pushed, and how many of them no longer wait: taken or expired.
    pushed: u64,
    taken: u64,
    /// How many are sent or have expired.
    done: u64,
    expired: u64,
}

impl Queue {
    /// 8 MiB, the limit that an adapter should have by default.
    pub const LIMIT: usize = 8 * 1024 * 1024;

    /// How long a frame may wait.
    pub const MAX_AGE: Duration = Duration::from_secs(5);

    /// An empty queue for this many bytes. Each frame counts as 64 bytes more than it has. A frame of any size fits into
    /// an empty queue.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), filled: Notify::new(), sent: Notify::new() }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// [`Full`] if it does not fit behind what waits.
    pub fn push(&self, to: To, frame: Bytes) -> Result<(), Full> {
        let now = Instant::now();
        let mut state = self.state();
        state.expire(now);
        let bytes = state.bytes + frame.len() + OVERHEAD;
        if bytes > self.limit && !state.frames.is_empty() {
            return Err(Full);
        }
        state.bytes = bytes;
        state.pushed += 1;
        state.frames.push_back((now, to, frame));
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for frames and takes the oldest: one, and as many more as do not exceed `bytes` together. Calling it again
    /// means that those taken before have been sent. There is one caller. Dropping the future takes nothing.
    pub async fn take(&self, bytes: usize) -> Vec<(To, Bytes)> {
        loop {
            let taken = self.try_take(bytes);
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }

    /// The same without waiting: nothing if none waits.
    pub fn try_take(&self, bytes: usize) -> Vec<(To, Bytes)> {
        let mut state = self.state();
        state.expire(Instant::now());
        // what was taken before is sent
        state.done = state.taken;
        let mut taken = vec![];
        let mut total = 0;
        while let Some((_, _, next)) = state.frames.front()
            && (taken.is_empty() || total + next.len() <= bytes)
            && let Some((to, frame)) = state.pop()
        {
            total += frame.len();
            taken.push((to, frame));
        }
        drop(state);
        self.sent.notify_waiters();
        taken
    }

    /// Completes when everything that has been pushed so far is sent, or has expired.
    pub async fn flush(&self) {
        let all = self.state().pushed;
        loop {
            let sent = self.sent.notified();
            if self.state().done >= all {
                return;
            }
            sent.await;
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// How many frames were dropped because they had waited for too long.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.state().expired
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no code that holds the lock can panic halfway, so poisoned data is still consistent
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn expire(&mut self, now: Instant) {
        while self.frames.front().is_some_and(|(since, _, _)| now.duration_since(*since) > Queue::MAX_AGE) {
            self.pop();
            self.expired += 1;
        }
    }

    fn pop(&mut self) -> Option<(To, Bytes)> {
        let (_, to, frame) = self.frames.pop_front()?;
        self.bytes -= frame.len() + OVERHEAD;
        self.taken += 1;
        Some((to, frame))
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("limit", &self.limit)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    fn frame(length: usize) -> Bytes {
        vec![0; length].into()
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_but_one_of_any_size_fits_alone() {
        let queue = Queue::new(1_000);
        assert_eq!(queue.push(To::All, frame(5_000)), Ok(()));
        assert_eq!(queue.push(To::All, frame(0)), Err(Full));
        assert_eq!(queue.take(10).await.len(), 1);
        assert_eq!(queue.bytes(), 0);
        let fit = (0..100).take_while(|_| queue.push(To::All, frame(36)).is_ok()).count();
        assert_eq!(fit, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_has_waited_for_too_long_makes_room_and_is_not_sent() {
        let queue = Queue::new(200);
        queue.push(To::All, frame(136)).unwrap();
        tokio::time::advance(Queue::MAX_AGE).await;
        assert_eq!(queue.push(To::All, frame(1)), Err(Full));
        tokio::time::advance(Duration::from_millis(1)).await;
        queue.push(To::All, frame(1)).unwrap();
        assert_eq!((queue.try_take(usize::MAX).len(), queue.expired()), (1, 1));
    }

    #[tokio::test]
    async fn a_flush_ends_when_what_was_taken_is_sent() {
        let queue = Queue::new(1_000);
        let mut flush = pin!(queue.flush());
        assert!(flush.as_mut().now_or_never().is_some(), "nothing waits");
        queue.push(To::All, frame(1)).unwrap();
        let mut flush = pin!(queue.flush());
        assert!(flush.as_mut().now_or_never().is_none());
        queue.take(100).await;
        assert!(flush.as_mut().now_or_never().is_none(), "it is not sent yet");
        queue.push(To::All, frame(1)).unwrap();
        assert_eq!(queue.try_take(100).len(), 1);
        assert!(flush.as_mut().now_or_never().is_some(), "what was pushed later does not count");
        let mut flush = pin!(queue.flush());
        assert!(flush.as_mut().now_or_never().is_none());
        assert!(queue.take(100).now_or_never().is_none());
        assert!(flush.as_mut().now_or_never().is_some());
    }
}
