//! A channel's own subscriptions to topics. Their broadcasts go into the channel's mailbox.
//!
//! The subscription made by a join is separate: its broadcasts go straight to the client. Both may exist on the
//! channel's own topic.
//!
//! # Source
//! Phoenix.PubSub `lib/phoenix/pubsub.ex` (`subscribe/3`, `unsubscribe/2`); Phoenix `lib/phoenix/channel/server.ex`, 1.8.12.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use super::{Membership, hold::Held};
use crate::{
    channel::command::{Command, Inbox},
    pubsub::{Broadcast, Subscriber, scoped_topic},
};

/// An action to run when the channel ends.
type AtEnd = Box<dyn FnOnce()>;

/// State that few memberships need.
#[derive(Default)]
pub(super) struct Further {
    /// How many times the channel is subscribed to each topic.
    topics: RefCell<BTreeMap<Box<str>, usize>>,
    /// Memory of these topics' broadcasts that wait for the channel, in bytes.
    load: Cell<usize>,
    at_end: RefCell<Vec<AtEnd>>,
    /// Broadcasts that wait until the join is answered, from the moment that the channel asks for it.
    pub(super) held: RefCell<Option<Held>>,
    /// The topic in its scope, if it has one.
    scoped: OnceCell<Box<str>>,
}

impl Further {
    pub(super) fn load(&self) -> usize {
        self.load.get()
    }

    pub(super) fn scoped(&self) -> Option<&str> {
        self.scoped.get().map(|topic| &**topic)
    }

    pub(super) fn begins_to_wait(&self, broadcast: &Broadcast) {
        self.load.set(self.load.get() + broadcast.cost());
    }

    pub(super) fn waits_no_more(&self, broadcast: &Broadcast) {
        self.load.set(self.load.get() - broadcast.cost());
    }

    fn times(&self, topic: &str) -> usize {
        self.topics.borrow().get(topic).copied().unwrap_or_default()
    }
}

impl Membership {
    /// Puts its topic into a scope. Only the first one counts, and only before the subscription.
    pub(crate) fn scope(&self, scope: &str) {
        if !self.subscribed.get() && !self.is_holding() {
            let scoped = scoped_topic(scope, self.topic()).into();
            let _ = self.further.get_or_init(Box::default).scoped.set(scoped);
        }
    }

    /// Subscribes the channel itself to a topic, once more if it is already subscribed.
    pub(crate) fn subscribe_to(self: &Rc<Self>, topic: &str) {
        let (this, topic) = (self.clone(), topic.to_owned());
        self.line.local().in_order(move |local| {
            if !this.muted.get() {
                let further = this.further.get_or_init(Box::default);
                *further.topics.borrow_mut().entry(topic.as_str().into()).or_default() += 1;
                local.subscribe(&topic, this.key(), this.subscriber(&topic));
            }
        });
    }

    /// Ends all subscriptions to a topic, including the one made by the join.
    pub(crate) fn unsubscribe_from(self: &Rc<Self>, topic: &str) {
        let (this, topic) = (self.clone(), topic.to_owned());
        self.line.local().in_order(move |local| {
            if this.pubsub_topic() == topic {
                this.subscribed.set(false);
            }
            if let Some(further) = this.further.get() {
                further.topics.borrow_mut().remove(topic.as_str());
            }
            local.unsubscribe(&topic, this.key());
        });
    }

    /// The receiver of a topic's broadcasts, for any combination of the membership's subscriptions to it.
    pub(super) fn subscriber(self: &Rc<Self>, topic: &str) -> Rc<dyn Subscriber> {
        let times = self.further.get().map_or(0, |further| further.times(topic));
        let is_joined = self.subscribed.get() && topic == self.pubsub_topic();
        if times == 0 && !self.is_holding() {
            return self.clone();
        }
        Rc::new(Subscription { membership: self.clone(), is_joined, times })
    }

    /// Delivers a broadcast to the channel itself.
    fn hear(&self, broadcast: &Arc<Broadcast>) {
        let Some(further) = self.further.get() else { return };
        let takes = |inbox: &Arc<dyn Inbox>| inbox.command(Command::Heard(broadcast.clone()));
        if self.line.has_room_behind(self.waiting()) && self.inbox.get().is_some_and(takes) {
            further.begins_to_wait(broadcast);
        }
    }

    /// Called when the channel has handled a broadcast from one of its own subscriptions.
    pub(crate) fn handled_heard(&self, broadcast: &Broadcast) {
        if let Some(further) = self.further.get() {
            further.waits_no_more(broadcast);
        }
    }

    /// Runs an action when the channel ends for whatever reason; immediately if it has already ended.
    pub(crate) fn at_end(&self, at_end: AtEnd) {
        if self.muted.get() {
            return at_end();
        }
        let mut all = self.further.get_or_init(Box::default).at_end.borrow_mut();
        all.reserve_exact(1);
        all.push(at_end);
    }

    /// The channel has ended: ends its subscriptions and runs the registered actions.
    pub(super) fn end_further(&self) {
        let Some(further) = self.further.get() else { return };
        for topic in further.topics.take().into_keys() {
            self.line.local().unsubscribe(&topic, self.key());
        }
        // outside of the borrow
        drop(further.held.take());
        further.at_end.take().into_iter().for_each(|at_end| at_end());
    }
}

/// Subscribed in place of the [`Membership`] on topics that the channel itself subscribes to, and while broadcasts are
/// held. It has the membership's
/// key, so `broadcast_from` skips the channel on every topic.
struct Subscription {
    membership: Rc<Membership>,
    /// Whether the client also gets the topic's broadcasts.
    is_joined: bool,
    times: usize,
}

impl Subscriber for Subscription {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        let is_sent = self.is_joined
            && !self.membership.keep(broadcast)
            && Subscriber::deliver(&*self.membership, broadcast);
        (0..self.times).for_each(|_| self.membership.hear(broadcast));
        is_sent
    }
}

#[cfg(test)]
mod tests;
