//! The commands that wait for the writer.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hinotori::prometheus::IntGauge;
use tokio::{sync::Notify, time::timeout};

use super::{Busy, Command, Done};

/// Commands that may wait.
pub(super) const MOST: usize = 4_096;

/// Bytes that may wait, one of any size beyond them: 8 MiB.
pub(super) const MOST_BYTES: usize = 8 << 20;

/// A bounded queue from one thread to another.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// The same for a writer that is a task.
    notify: Notify,
    /// How many wait.
    gauge: IntGauge,
}

/// Closes a queue that nobody empties any more, even if that is by a panic: what comes later is refused at once.
pub(super) struct Closes(pub(super) Arc<Queue>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Command, Done)>,
    bytes: usize,
    is_closed: bool,
}

/// Why the writer was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something waits.
    Work,
    /// Nothing has come for as long as it wanted to wait.
    Idle,
    /// The queue is empty and closed.
    Closed,
}

impl State {
    fn woken(&self) -> Woken {
        match (self.waiting.is_empty(), self.is_closed) {
            (false, _) => Woken::Work,
            (true, true) => Woken::Closed,
            (true, false) => Woken::Idle,
        }
    }
}

impl Queue {
    pub(super) fn new(gauge: IntGauge) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), notify: Notify::new(), gauge }
    }

    pub(super) fn push(&self, command: Command, done: Done) -> Result<(), Busy> {
        let mut state = self.lock();
        if state.is_closed || state.waiting.len() >= MOST || state.bytes >= MOST_BYTES {
            return Err(Busy);
        }
        state.bytes += command.bytes();
        state.waiting.push_back((command, done));
        self.gauge.inc();
        self.wake();
        Ok(())
    }

    /// Waits until something is in it, or it is closed.
    pub(super) fn wait(&self, patience: Duration) -> Woken {
        let is_quiet = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_quiet);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.woken()
    }

    /// The same for a task.
    pub(super) async fn woken(&self, patience: Duration) -> Woken {
        let changed = async {
            while self.lock().woken() == Woken::Idle {
                self.notify.notified().await;
            }
        };
        let _ = timeout(patience, changed).await;
        self.lock().woken()
    }

    /// Shows the first commands, at most so many and so many bytes of them, one of any size beyond these. Returns how many. They
    /// stay the first until the writer takes them.
    pub(super) fn look(&self, most: usize, most_bytes: usize, mut each: impl FnMut(&Command)) -> usize {
        let (state, mut seen, mut bytes) = (self.lock(), 0, 0);
        for (command, _) in state.waiting.iter().take(most) {
            if bytes >= most_bytes {
                break;
            }
            bytes += command.bytes();
            seen += 1;
            each(command);
        }
        seen
    }

    /// Takes the first so many commands. Returns those that are still to be carried out.
    pub(super) fn take_first(&self, count: usize) -> Vec<(Command, Done)> {
        let mut state = self.lock();
        let first: Vec<_> = (0..count).map_while(|_| self.pop(&mut state)).collect();
        first.into_iter().filter(|(_, done)| done.begin()).collect()
    }

    /// Takes at most so many of those that are still to be carried out. Whoever asked for the others has given up.
    pub(super) fn take(&self, most: usize) -> Vec<(Command, Done)> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some((command, done)) = self.pop(&mut state)
        {
            if done.begin() {
                batch.push((command, done));
            }
        }
        batch
    }

    fn pop(&self, state: &mut State) -> Option<(Command, Done)> {
        let (command, done) = state.waiting.pop_front()?;
        state.bytes -= command.bytes();
        self.gauge.dec();
        Some((command, done))
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn wake(&self) {
        self.changed.notify_one();
        self.notify.notify_one();
    }

    /// Nothing that is done under the lock can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
