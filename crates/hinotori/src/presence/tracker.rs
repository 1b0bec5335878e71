//! Keeps the state and tells its changes, in order, in batches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::rt;
use hinotori_protocol::presence::{Diff, Entry, Meta, Seen, State, Tag, by_key};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{BATCH, Fetch, PresenceError, Presences};
use crate::{
    pubsub::{PubSub, SubscriberKey},
    telemetry::Quoted,
};

/// The one replica that there is.
const REPLICA: u64 = 1;

pub(super) struct Tracker {
    pubsub: PubSub,
    fetch: Option<Box<Fetch>>,
    /// Locked for a few map operations at a time, never over an await or a callback.
    tracked: Mutex<Tracked>,
    /// Held while a diff is taken and broadcast, so that no later one overtakes it.
    telling: Mutex<()>,
}

struct Tracked {
    state: State<SubscriberKey>,
    owners: HashMap<SubscriberKey, Vec<Tag>>,
    /// Topics with changes that have not been told.
    pending: HashMap<String, Pending>,
}

#[derive(Default)]
struct Pending {
    diff: Diff,
    /// Those who wait until it is told.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Tracker {
    pub(super) fn new(pubsub: PubSub, fetch: Option<Box<Fetch>>) -> Self {
        let (owners, pending) = (HashMap::new(), HashMap::new());
        let tracked = Mutex::new(Tracked { state: State::new(REPLICA), owners, pending });
        Self { pubsub, fetch, tracked, telling: Mutex::new(()) }
    }

    pub(super) fn track(
        self: &Arc<Self>,
        owner: SubscriberKey,
        topic: &str,
        key: &str,
        meta: Meta,
        told: oneshot::Sender<()>,
    ) -> Result<(), PresenceError> {
        self.change(topic, |tracked| {
            if tracked.find(owner, key).is_some() {
                return Err(PresenceError::AlreadyTracked);
            }
            tracked.join(owner, topic, key, meta);
            tracked.pending(topic).waiting.push(told);
            Ok(())
        })
    }

    pub(super) fn update(
        self: &Arc<Self>,
        owner: SubscriberKey,
        topic: &str,
        key: &str,
        change: impl FnOnce(&mut Meta),
    ) -> Result<(), PresenceError> {
        let (tag, mut meta) = {
            let tracked = self.tracked();
            let (tag, entry) = tracked.find(owner, key).ok_or(PresenceError::NotTracked)?;
            (tag, entry.meta.clone())
        };
        meta.remove("phx_ref_prev");
        change(&mut meta);
        meta.insert("phx_ref_prev".to_owned(), Value::String(tag.phx_ref()));
        self.change(topic, |tracked| {
            // a presence belongs to one channel, whose callbacks run one at a time: it is still there
            tracked.leave(tag).ok_or(PresenceError::NotTracked)?;
            tracked.join(owner, topic, key, meta);
            Ok(())
        })
    }

    pub(super) fn untrack(self: &Arc<Self>, owner: SubscriberKey, topic: &str, key: &str) {
        self.change(topic, |tracked| {
            if let Some(tag) = tracked.find(owner, key).map(|(tag, _)| tag) {
                tracked.leave(tag);
            }
        });
    }

    /// Ends all presences of a channel that has ended. They are all on its one topic.
    pub(super) fn untrack_all(self: &Arc<Self>, owner: SubscriberKey) {
        let topic = {
            let tracked = self.tracked();
            let first = tracked.owners.get(&owner).and_then(|tags| tags.first());
            first.and_then(|tag| tracked.state.get(*tag)).map(|entry| entry.topic.clone())
        };
        if let Some(topic) = topic {
            self.change(&topic, |tracked| {
                for tag in tracked.owners.get(&owner).cloned().unwrap_or_default() {
                    tracked.leave(tag);
                }
            });
        }
    }

    pub(super) fn list(&self, topic: &str) -> Presences {
        let presences = {
            let tracked = self.tracked();
            by_key(tracked.state.on(topic).map(|(tag, entry)| Seen::new(tag, &entry.key, &entry.meta)))
        };
        self.fetch(topic, presences)
    }

    pub(super) fn get_by_key(&self, topic: &str, key: &str) -> Option<Value> {
        let presences = {
            let tracked = self.tracked();
            let of_key = tracked.state.on(topic).filter(|(_, entry)| entry.key == key);
            by_key(of_key.map(|(tag, entry)| Seen::new(tag, &entry.key, &entry.meta)))
        };
        self.fetch(topic, presences).remove(key)
    }

    fn fetch(&self, topic: &str, presences: Presences) -> Presences {
        match &self.fetch {
            Some(fetch) if !presences.is_empty() => fetch(topic, presences),
            _ => presences,
        }
    }

    /// Makes a change on a topic, and sees to it that it is told.
    fn change<T>(self: &Arc<Self>, topic: &str, change: impl FnOnce(&mut Tracked) -> T) -> T {
        let mut tracked = self.tracked();
        let was_pending = tracked.pending.contains_key(topic);
        let result = change(&mut tracked);
        if !was_pending && tracked.pending.contains_key(topic) {
            let (tracker, topic) = (self.clone(), topic.to_owned());
            rt::spawn(async move {
                rt::time::sleep(BATCH).await;
                tracker.tell(&topic);
            });
        }
        result
    }

    /// Broadcasts what has changed on a topic.
    fn tell(&self, topic: &str) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Pending { diff, waiting }) = self.tracked().pending.remove(topic) else { return };
        if !diff.is_empty() {
            let joins = self.fetch(topic, by_key(diff.joins));
            let leaves = self.fetch(topic, by_key(diff.leaves));
            let diff = json!({ "joins": joins, "leaves": leaves });
            if let Err(error) = self.pubsub.broadcast(topic, "presence_diff", diff) {
                let (topic, why) = (Quoted(topic), error.to_string());
                log::error!("event=not_sent what=presence_diff topic={topic} why={}", Quoted(&why));
            }
        }
        for waiting in waiting {
            // whoever has ended meanwhile does not care
            let _ = waiting.send(());
        }
    }

    fn tracked(&self) -> MutexGuard<'_, Tracked> {
        // nothing that holds the lock panics between two changes that belong together
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracked {
    fn pending(&mut self, topic: &str) -> &mut Pending {
        self.pending.entry(topic.to_owned()).or_default()
    }

    fn join(&mut self, owner: SubscriberKey, topic: &str, key: &str, meta: Meta) {
        let entry = Entry { owner, topic: topic.to_owned(), key: key.to_owned(), meta: meta.clone() };
        let tag = self.state.join(entry);
        self.owners.entry(owner).or_default().push(tag);
        self.pending(topic).diff.join(Seen::new(tag, key, &meta));
    }

    fn leave(&mut self, tag: Tag) -> Option<()> {
        let Entry { owner, topic, key, meta } = self.state.leave(tag)?;
        if let Some(tags) = self.owners.get_mut(&owner) {
            tags.retain(|held| *held != tag);
            if tags.is_empty() {
                self.owners.remove(&owner);
            }
        }
        self.pending(&topic).diff.leave(Seen::new(tag, &key, &meta));
        Some(())
    }

    /// The presence of a channel under a key.
    fn find(&self, owner: SubscriberKey, key: &str) -> Option<(Tag, &Entry<SubscriberKey>)> {
        let tags = self.owners.get(&owner)?.iter();
        tags.filter_map(|tag| Some((*tag, self.state.get(*tag)?))).find(|(_, entry)| entry.key == key)
    }
}
