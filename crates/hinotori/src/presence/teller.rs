//! The thread that broadcasts diffs, a few milliseconds after a topic's first change.
//!
//! It belongs to the server, not to a worker, so a worker that has ended, is busy or is blocked never delays a diff.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::tasks::Unfinished;

/// How long the changes of a topic are collected before they are broadcast.
const BATCH: Duration = Duration::from_millis(5);

/// A diff that is due soon.
pub(super) struct Due {
    at: Instant,
    broadcast: Box<dyn Fn() + Send>,
    /// A draining server waits for this.
    _unfinished: Unfinished,
}

impl Due {
    /// For a topic that has just changed: `broadcast` is called when its changes have been collected.
    pub(super) fn new(broadcast: impl Fn() + Send + 'static, unfinished: Unfinished) -> Self {
        Self { at: Instant::now() + BATCH, broadcast: Box::new(broadcast), _unfinished: unfinished }
    }

    pub(super) fn tell(&self) {
        (self.broadcast)();
    }
}

/// Starts the thread, which ends when the queue is dropped. Every topic waits equally long, so the first in the queue
/// is always due first.
pub(super) fn start() -> mpsc::Sender<Due> {
    let (queue, changes) = mpsc::channel::<Due>();
    let telling = move || {
        for due in changes {
            thread::sleep(due.at.saturating_duration_since(Instant::now()));
            // a panic for one topic, which the hook has logged, must not end the presence of all others
            let _ = catch_unwind(AssertUnwindSafe(|| due.tell()));
        }
    };
    thread::Builder::new()
        .name("presence".to_owned())
        .spawn(telling)
        .unwrap_or_else(|error| panic!("the system has no thread for presences: {error}"));
    queue
}
