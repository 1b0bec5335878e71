//! Who a broadcast skips: its sender.

use super::SubscriberKey;

/// What [`Endpoint::broadcast_from`](crate::Endpoint::broadcast_from) can skip: a channel, given by its
/// [`Context`](crate::Context) or a [`Handle`](crate::Handle), or a [`Subscription`](crate::Subscription). Phoenix
/// takes a pid there.
pub trait Spared: Keyed {}

impl<T: Keyed> Spared for T {}

/// Anything that subscribes with a key.
pub trait Keyed {
    /// The key.
    fn key(&self) -> SubscriberKey;
}

impl Keyed for SubscriberKey {
    fn key(&self) -> SubscriberKey {
        *self
    }
}
