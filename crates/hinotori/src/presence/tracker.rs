//! The topics and their locks: makes changes, queues them to be broadcast, and lists presences.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
};

use hinotori_protocol::presence::{
    Batch, Changed, Diff, Entry, Meta, Presences, Present, State, by_key, of_key,
};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Presence, PresenceDiff, PresenceError, fetch::Fetch, metas::Metas, shared::Shared, teller::Due};
use crate::{node::Node, pubsub::SubscriberKey, telemetry::Quoted};

pub(super) struct Tracker {
    node: Arc<Node>,
    fetch: Option<Fetch>,
    metas: Option<Metas>,
    /// With other nodes, if there may be any.
    shared: Option<Shared>,
    /// Locked to find a topic; each topic has its own lock. Lock order: this one first.
    topics: Mutex<HashMap<Arc<str>, Arc<Mutex<Topic>>>>,
    teller: Sender<Due>,
}

/// Locked for a few map operations at a time, never over an await, a callback, or the JSON of a list.
#[derive(Default)]
struct Topic {
    state: State<SubscriberKey>,
    /// Changes that have not been broadcast.
    batch: Batch,
    /// Calls of `track` that return when these have been broadcast.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether it was removed from the map, which may have another topic of this name by now.
    is_forgotten: bool,
}

impl Tracker {
    pub(super) fn new(
        node: Arc<Node>,
        name: &str,
        fetch: Option<Fetch>,
        metas: Option<Metas>,
        teller: Sender<Due>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| {
            let shared = node.cluster.as_ref().map(|cluster| Shared::new(cluster, name, this.clone()));
            Self { node, fetch, metas, shared, topics: Mutex::default(), teller }
        })
    }

    pub(super) fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Adds a presence. For an owner's first presence on a topic, returns the guard for all of them too.
    pub(super) fn track(
        self: &Arc<Self>,
        owner: SubscriberKey,
        topic: &str,
        key: &str,
        meta: Meta,
        told: oneshot::Sender<()>,
    ) -> Result<Option<Tracked>, PresenceError> {
        loop {
            let (name, topic) = self.find_or_add(topic);
            let mut topic = lock(&topic);
            if topic.is_forgotten {
                continue;
            }
            if topic.state.get(&owner, key).is_some() {
                return Err(PresenceError::AlreadyTracked);
            }
            let is_first = !topic.state.knows(&owner);
            let joined = topic.state.join(owner, key, self.node.clock.tick(), meta);
            topic.waiting.push(told);
            self.changed(&name, &mut topic, vec![], Some(joined));
            return Ok(is_first.then(|| Tracked { tracker: self.clone(), owner, topic: name }));
        }
    }

    pub(super) fn update(
        self: &Arc<Self>,
        owner: SubscriberKey,
        topic: &str,
        key: &str,
        change: impl FnOnce(&mut Meta),
    ) -> Result<(), PresenceError> {
        let (name, topic) = self.find(topic).ok_or(PresenceError::NotTracked)?;
        let (_, old) = lock(&topic).state.get(&owner, key).ok_or(PresenceError::NotTracked)?;
        let mut meta = Meta::clone(&old);
        meta.remove("phx_ref");
        meta.remove("phx_ref_prev");
        change(&mut meta);
        let mut topic = lock(&topic);
        // a presence belongs to one channel, whose callbacks run one at a time: it is still there unless `change`
        // itself took it away
        let left = topic.state.leave(&owner, key).ok_or(PresenceError::NotTracked)?;
        meta.insert("phx_ref_prev".to_owned(), Value::String(left.0.tag.phx_ref()));
        let joined = topic.state.join(owner, key, self.node.clock.tick(), meta);
        self.changed(&name, &mut topic, vec![left], Some(joined));
        Ok(())
    }

    pub(super) fn untrack(self: &Arc<Self>, owner: SubscriberKey, topic: &str, key: &str) {
        self.leave(topic, |state| state.leave(&owner, key).into_iter().collect());
    }

    fn leave(self: &Arc<Self>, topic: &str, leave: impl FnOnce(&mut State<SubscriberKey>) -> Vec<Entry>) {
        let Some((name, topic)) = self.find(topic) else { return };
        let is_over = {
            let mut topic = lock(&topic);
            let left = leave(&mut topic.state);
            self.changed(&name, &mut topic, left, None);
            topic.is_over()
        };
        if is_over {
            self.forget(&name);
        }
    }

    /// Records a change of this node's presences on a topic.
    fn changed(
        self: &Arc<Self>,
        name: &Arc<str>,
        topic: &mut Topic,
        left: Vec<Entry>,
        joined: Option<Entry>,
    ) {
        if let Some(shared) = &self.shared {
            shared.changed(name, &left, joined.as_ref());
        }
        self.collect(name, topic, |batch| batch.add(left, joined));
    }

    /// Adds to what is to be broadcast, and queues the topic if this is the first change since its last broadcast.
    fn collect(self: &Arc<Self>, name: &Arc<str>, topic: &mut Topic, add: impl FnOnce(&mut Batch)) {
        let was_told = topic.batch.is_empty();
        add(&mut topic.batch);
        if was_told && !topic.batch.is_empty() {
            let (this, name) = (self.clone(), name.clone());
            let due = Due::new(move || this.tell(&name), self.node.tasks.other());
            // the receiver lives as long as this tracker
            let _ = self.teller.send(due);
        }
    }

    /// Records a change of another node's presences.
    pub(super) fn changed_elsewhere(self: &Arc<Self>, Changed { topic: name, left, joined }: Changed) {
        loop {
            let (name, topic) = self.find_or_add(&name);
            let mut topic = lock(&topic);
            if topic.is_forgotten {
                continue;
            }
            left.iter().for_each(|(id, _)| _ = topic.state.remove(id));
            joined.iter().for_each(|joined| topic.state.add(joined.clone()));
            return self.collect(&name, &mut topic, |batch| {
                let mut joined = joined.into_iter();
                batch.add(left, joined.next());
                joined.for_each(|joined| batch.add(vec![], Some(joined)));
            });
        }
    }

    pub(super) fn list(&self, topic: &str) -> Presences {
        let present = self.present(topic);
        self.listed(topic, || by_key(&*present))
    }

    pub(super) fn get_by_key(&self, topic: &str, key: &str) -> Option<Value> {
        let present = self.present(topic);
        self.listed(topic, || by_key(of_key(&present, key))).remove(key)
    }

    fn listed(&self, topic: &str, plain: impl Fn() -> Presences) -> Presences {
        match &self.fetch {
            Some(fetch) => fetch.list(topic, plain),
            None => plain(),
        }
    }

    pub(super) fn present(&self, topic: &str) -> Arc<Present> {
        self.find(topic).map(|(_, topic)| lock(&topic).state.present()).unwrap_or_default()
    }

    /// Broadcasts what has changed on a topic, to clients of this node: the others are sent the changes. Only one thread calls this, so no diff overtakes another.
    pub(super) fn tell(self: &Arc<Self>, topic: &str) {
        if let Some(shared) = &self.shared {
            shared.send();
        }
        let Some((name, topic)) = self.find(topic) else { return };
        let (batch, waiting) = lock(&topic).take();
        let told: Vec<PresenceDiff> =
            batch.into_diffs().iter().map(|diff| self.broadcast(&name, diff)).collect();
        for waiting in waiting {
            // an error means that the channel has ended
            let _ = waiting.send(());
        }
        if let Some(metas) = &self.metas {
            let presence = Presence { tracker: self.clone() };
            told.iter().for_each(|diff| metas.handle(&presence, &name, diff));
        }
        if lock(&topic).is_over() {
            self.forget(&name);
        }
    }

    fn broadcast(&self, topic: &str, diff: &Diff) -> PresenceDiff {
        let [joins, leaves] = match &self.fetch {
            Some(fetch) => fetch.diff(topic, diff),
            None => [by_key(&diff.joins), by_key(&diff.leaves)],
        };
        let diff = PresenceDiff { joins, leaves };
        if let Err(error) = self.node.pubsub.local_broadcast(topic, "presence_diff", &diff) {
            let (topic, why) = (Quoted(topic), error.to_string());
            log::error!("event=not_sent what=presence_diff topic={topic} why={}", Quoted(&why));
        }
        diff
    }

    fn find(&self, topic: &str) -> Option<(Arc<str>, Arc<Mutex<Topic>>)> {
        lock(&self.topics).get_key_value(topic).map(|(name, topic)| (name.clone(), topic.clone()))
    }

    fn find_or_add(&self, topic: &str) -> (Arc<str>, Arc<Mutex<Topic>>) {
        self.find(topic).unwrap_or_else(|| {
            let mut topics = lock(&self.topics);
            let entry = topics.entry(topic.into());
            let name = entry.key().clone();
            (name, entry.or_default().clone())
        })
    }

    #[cfg(test)]
    pub(super) fn topics(&self) -> usize {
        lock(&self.topics).len()
    }

    /// Calls `work` while a topic is locked.
    #[cfg(test)]
    pub(super) fn while_busy(&self, topic: &str, work: impl FnOnce()) {
        let (_, topic) = self.find(topic).unwrap();
        let _busy = lock(&topic);
        work();
    }

    /// Removes a topic from the map, unless a channel has been tracked on it meanwhile.
    fn forget(&self, topic: &str) {
        let mut topics = lock(&self.topics);
        let is_over = topics.get(topic).is_some_and(|topic| {
            let mut topic = lock(topic);
            topic.is_forgotten = topic.is_over();
            topic.is_forgotten
        });
        if is_over {
            topics.remove(topic);
        }
    }
}

impl Topic {
    /// Takes what is to be broadcast, and the calls that wait for it.
    fn take(&mut self) -> (Batch, Vec<oneshot::Sender<()>>) {
        (mem::take(&mut self.batch), mem::take(&mut self.waiting))
    }

    fn is_over(&self) -> bool {
        self.state.is_over() && self.batch.is_empty()
    }
}

/// Guards all presences of one channel on one topic: dropping it removes them, however the channel ends.
pub(super) struct Tracked {
    tracker: Arc<Tracker>,
    owner: SubscriberKey,
    topic: Arc<str>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.tracker.leave(&self.topic, |state| state.end(&self.owner));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // nothing that holds a lock panics between two changes that belong together
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn whoever_comes_to_a_topic_while_it_is_forgotten_is_on_the_next_of_its_name() {
        let (teller, _changes) = mpsc::channel();
        let tracker = Tracker::new(Node::unbounded(), "presence", None, None, teller);
        let (_, topic) = tracker.find_or_add("t");
        let mut former = lock(&topic);
        let comes = {
            let (tracker, (told, _)) = (tracker.clone(), oneshot::channel());
            move || tracker.track(SubscriberKey::new(), "t", "u1", Meta::new(), told)
        };
        let comes = thread::spawn(comes);
        // it is held by the map, by this thread, and by the other one, which waits for it
        while Arc::strong_count(&topic) < 3 {
            thread::yield_now();
        }
        former.is_forgotten = true;
        lock(&tracker.topics).remove("t");
        drop(former);
        let tracked = comes.join().unwrap().unwrap();
        assert_eq!(tracker.list("t").len(), 1);
        drop(tracked);
        assert!(tracker.list("t").is_empty());
    }
}
