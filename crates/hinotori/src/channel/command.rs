//! What a socket sends to its channels.

use std::sync::Arc;

use super::mailbox::{Item, Mailbox};
use crate::{
    pubsub::Broadcast,
    wire::{Message, Payload, Ref, Status},
};

/// See the module.
#[derive(Debug)]
pub(crate) enum Command {
    /// A message from the client, and its [`Message::cost`].
    In(Message, usize),
    /// A broadcast that the channel intercepts.
    Out(Arc<Broadcast>),
    /// A broadcast on a topic to which the channel itself is subscribed.
    Heard(Arc<Broadcast>),
    /// A reply that was made outside of the message's callback.
    Answer(Ref, Status, Payload),
}

/// The receiving end of a channel's commands.
pub(crate) trait Inbox: Send + Sync {
    /// Queues a command. Returns whether the channel still accepts commands.
    fn command(&self, command: Command) -> bool;
    /// Stops accepting commands: the channel handles what is queued, then ends.
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
