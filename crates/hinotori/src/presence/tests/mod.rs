//! What clients are told, against what they make of it.

mod channels;
mod metas;
mod nodes;
mod phoenix_js;
mod random;
mod told;
mod topics;

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde_json::json;

use self::phoenix_js::PhoenixJs;
use super::{
    fetch::Fetch,
    metas::Metas,
    teller::Due,
    tracker::{Tracked, Tracker},
    *,
};
use crate::{
    node::Node,
    pubsub::{Broadcast, Local, Subscriber, SubscriberKey},
};

/// How long to wait for what must come. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until all that other threads have broadcast has been delivered on this one.
async fn caught_up(local: &Local) {
    while !local.is_caught_up() {
        actix_web::rt::task::yield_now().await;
    }
}

/// One life of a server, which tells changes when the test says so.
struct Life {
    node: Arc<Node>,
    tracker: Arc<Tracker>,
    changes: Receiver<Due>,
    tracked: RefCell<HashMap<SubscriberKey, Tracked>>,
}

impl Life {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(fetch: Option<Fetch>) -> Self {
        Self::hooked(fetch, None)
    }

    fn hooked(fetch: Option<Fetch>, metas: Option<Metas>) -> Self {
        let (teller, changes) = channel();
        let node = Node::unbounded();
        let tracker = Tracker::new(node.clone(), "presence", fetch, metas, teller);
        Self { node, tracker, changes, tracked: RefCell::default() }
    }

    /// A client that hears the diffs of a topic from now on.
    fn listens(&self, topic: &str) -> Rc<Client> {
        let client = Rc::new(Client::default());
        self.node.pubsub.local().subscribe(topic, SubscriberKey::new(), client.clone());
        client
    }

    fn track(
        &self,
        owner: SubscriberKey,
        topic: &str,
        key: &str,
        meta: Value,
    ) -> Result<oneshot::Receiver<()>, PresenceError> {
        let (told, is_told) = oneshot::channel();
        if let Some(tracked) = self.tracker.track(owner, topic, key, object(meta)?, told)? {
            let before = self.tracked.borrow_mut().insert(owner, tracked);
            assert!(before.is_none(), "a channel has one of these");
        }
        Ok(is_told)
    }

    /// A channel ends.
    fn end(&self, owner: SubscriberKey) {
        let tracked = self.tracked.borrow_mut().remove(&owner);
        drop(tracked);
    }

    /// Has all told that has changed.
    fn tell(&self) {
        self.changes.try_iter().for_each(|due| due.tell());
    }
}

/// A client that hears the diffs of a topic.
#[derive(Default)]
struct Client {
    presence: RefCell<PhoenixJs>,
    diffs: RefCell<Vec<Value>>,
}

impl Client {
    /// What has been broadcast since it was last asked.
    fn heard(&self) -> Vec<Value> {
        self.diffs.take()
    }
}

impl Subscriber for Client {
    fn deliver(&self, broadcast: &Arc<Broadcast>) -> bool {
        assert_eq!(broadcast.event, "presence_diff");
        let diff: Value = broadcast.payload.parse().unwrap();
        self.presence.borrow_mut().on_diff(&diff);
        self.diffs.borrow_mut().push(diff);
        false
    }
}

/// One half of a diff or a list, as `key: n n` in any order, where `n` is what the metas say.
fn said(presences: &Value) -> Vec<String> {
    let presences = presences.as_object().unwrap().iter();
    presences
        .map(|(key, presence)| {
            let mut said: Vec<String> = metas(presence).iter().map(|meta| meta["n"].to_string()).collect();
            said.sort();
            format!("{key}: {}", said.join(" "))
        })
        .collect()
}

fn metas(presence: &Value) -> Vec<Value> {
    presence["metas"].as_array().unwrap().clone()
}

/// Diffs as their joins and leaves.
fn joins_and_leaves(diffs: &[Value]) -> Vec<[Vec<String>; 2]> {
    diffs.iter().map(|diff| [said(&diff["joins"]), said(&diff["leaves"])]).collect()
}

/// What one says of itself.
fn says(n: u32) -> Value {
    json!({ "n": n })
}
