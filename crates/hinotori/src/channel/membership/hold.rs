//! Broadcasts that wait until a join is answered, so that there is no hole between a client's history and its
//! subscription.
//!
//! # Why there is no hole
//! A recovering join holds first, then asks its source for what the client missed, and replies with the answer, which
//! goes up to the position `last_id`. The source has each message before it broadcasts it. Take any message of the topic:
//!
//! - Its broadcast had been [counted](crate::pubsub::Local::in_order) for this thread when the hold began. Then the source
//!   had the message before it was asked, so it is in the answer, and the subscription begins after the broadcast.
//! - Otherwise its broadcast comes after the subscription. It is held if it arrives before the reply has been queued, and
//!   delivered otherwise. If the answer has the message too, its position is at most `last_id`, and a held one is dropped.
//!
//! So nothing is missing, and nothing held is sent twice. A join that holds without recovery releases all that was held,
//! which may repeat what its reply has. A source that can be asked between storing a message and
//! broadcasting it may broadcast after the release what the answer has; clients skip positions that they have seen. All
//! three steps run on this thread in the order of [`Local::in_order`](crate::pubsub::Local::in_order), so held broadcasts
//! come after the reply, in their order, and before those that arrive later.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use super::Membership;
use crate::pubsub::{Broadcast, Local, Subscriber};

/// The broadcasts, in order.
pub(super) type Held = VecDeque<Arc<Broadcast>>;

impl Membership {
    /// Subscribes now, during the join, and keeps broadcasts on the channel's topic until the join is answered. A join
    /// that is not accepted drops them.
    pub(crate) fn hold(self: &Rc<Self>) {
        if self.muted.get() || self.subscribed.get() {
            return;
        }
        self.further.get_or_init(Box::default).held.borrow_mut().get_or_insert_default();
        let this = self.clone();
        self.line.local().in_order(move |local| this.subscribe(local));
    }

    pub(super) fn is_holding(&self) -> bool {
        self.further.get().is_some_and(|further| further.held.borrow().is_some())
    }

    /// Keeps a broadcast if broadcasts are held. They are limited like others that wait for the channel.
    pub(super) fn keep(&self, broadcast: &Arc<Broadcast>) -> bool {
        let Some(further) = self.further.get() else { return false };
        let mut held = further.held.borrow_mut();
        let Some(held) = &mut *held else { return false };
        if self.line.has_room_behind(self.waiting()) {
            further.begins_to_wait(broadcast);
            held.push_back(broadcast.clone());
        }
        true
    }

    /// Delivers what was held, except messages up to the position `last_id`. The membership takes its own place as the
    /// subscriber.
    pub(super) fn release(self: &Rc<Self>, local: &Local, last_id: u64) {
        let Some(further) = self.further.get() else { return };
        let Some(held) = further.held.take().filter(|_| !self.muted.get()) else { return };
        if self.subscribed.get() {
            local.subscribe(self.pubsub_topic(), self.key(), self.subscriber(self.pubsub_topic()));
        }
        let mut sent = 0;
        for broadcast in held {
            further.waits_no_more(&broadcast);
            if broadcast.position.is_none_or(|position| position.get() > last_id) {
                sent += u64::from(Subscriber::deliver(&**self, &broadcast));
            }
        }
        local.counts().sent.add(sent);
    }
}

#[cfg(test)]
mod tests;
