//! What must end before the server does: channels, raw sockets, and diffs of presence that have not been broadcast.

use std::sync::Arc;

/// The unfinished work of one server, counted on any thread.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// Has one more owner per channel.
    channels: Arc<()>,
    /// The same for everything else.
    others: Arc<()>,
}

impl Tasks {
    /// A channel has been started.
    pub(crate) fn channel(&self) -> Unfinished {
        Unfinished(self.channels.clone())
    }

    /// Something else has begun that must be finished before the server stops.
    pub(crate) fn other(&self) -> Unfinished {
        Unfinished(self.others.clone())
    }

    /// Channels that have not ended.
    pub(crate) fn channels(&self) -> usize {
        Arc::strong_count(&self.channels) - 1
    }

    /// Everything that has not ended.
    pub(crate) fn unfinished(&self) -> usize {
        self.channels() + Arc::strong_count(&self.others) - 1
    }
}

/// A draining server waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished(#[expect(dead_code, reason = "it is counted by its owners")] Arc<()>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_counted_until_it_ends_on_whatever_thread() {
        let tasks = Tasks::default();
        let (channel, diff) = (tasks.channel(), tasks.other());
        assert_eq!((tasks.channels(), tasks.unfinished()), (1, 2));
        drop(channel);
        assert_eq!((tasks.channels(), tasks.unfinished()), (0, 1));
        std::thread::spawn(move || drop(diff)).join().unwrap();
        assert_eq!(tasks.unfinished(), 0);
    }
}
