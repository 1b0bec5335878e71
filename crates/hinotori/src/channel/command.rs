//! What a socket tells its channels.

use std::sync::Arc;

use super::mailbox::{Item, Mailbox};
use crate::{
    pubsub::Broadcast,
    wire::{Message, Payload, Ref, Status},
};

/// See the module.
#[derive(Debug)]
pub(crate) enum Command {
    /// A message of the client, and its [`Message::cost`].
    In(Message, usize),
    /// A broadcast that the channel intercepts.
    Out(Arc<Broadcast>),
    /// A broadcast on a topic to which the channel itself is subscribed.
    Heard(Arc<Broadcast>),
    /// A reply that was given outside of its callback.
    Answer(Ref, Status, Payload),
}

/// Where a channel gets its commands.
pub(crate) trait Inbox: Send + Sync {
    /// Queues a command, and says whether the channel still takes any.
    fn command(&self, command: Command) -> bool;
    /// Takes no more: what is queued is handled, and then the channel ends.
    fn close(&self);
}

impl<I: Send> Inbox for Mailbox<Command, I> {
    fn command(&self, command: Command) -> bool {
        self.push(Item::Command(command)).is_ok()
    }

    fn close(&self) {
        Self::close(self);
    }
}
