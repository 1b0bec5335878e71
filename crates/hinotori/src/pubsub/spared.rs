//! Whom a broadcast leaves out: its sender.

use super::SubscriberKey;

/// Whom [`Endpoint::broadcast_from`](crate::Endpoint::broadcast_from) can spare: a channel, named by its
/// [`Context`](crate::Context) or a [`Handle`](crate::Handle), or a [`Subscription`](crate::Subscription). Phoenix takes a
/// pid there.
pub trait Spared: Keyed {}

impl<T: Keyed> Spared for T {}

/// Whatever is subscribed by a key.
pub trait Keyed {
    /// The key.
    fn key(&self) -> SubscriberKey;
}

impl Keyed for SubscriberKey {
    fn key(&self) -> SubscriberKey {
        *self
    }
}
