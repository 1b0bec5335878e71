//! The hooks of a [`Presence`] that is to be made.

use std::sync::Arc;

use super::{Presence, PresenceDiff, Presences, fetch::Fetch, metas::Metas, teller, tracker::Tracker};
use crate::endpoint::Endpoint;

/// A [`Presence`] with hooks: see [`Presence::builder`].
#[must_use = "there are no presences until it is built"]
pub struct PresenceBuilder {
    endpoint: Endpoint,
    fetch: Option<Fetch>,
    metas: Option<Metas>,
}

impl PresenceBuilder {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), fetch: None, metas: None }
    }

    /// Adds to what clients see: see [`Presence::with_fetch`].
    pub fn fetch(self, fetch: impl Fn(&str, Presences) -> Presences + Send + Sync + 'static) -> Self {
        Self { fetch: Some(Fetch::new(fetch)), ..self }
    }

    /// Tells the server itself who comes and goes (Phoenix's `handle_metas`). The closure is called with the topic and each
    /// of its diffs, in order, after the diff has been broadcast. It sees what clients see, including what `fetch` added. Its
    /// state is what it captures. The [`Presence`] that it gets lists who is there now; do not keep a clone of it, or the
    /// thread of the presences never ends.
    ///
    /// It runs on the thread that broadcasts the diffs of all topics, and they wait for it: leave what takes long to a task
    /// or an actor. A panic is logged, and the closure is called again for the next diff.
    ///
    /// ```
    /// use hinotori::{Endpoint, Presence};
    ///
    /// let endpoint = Endpoint::new();
    /// let presence = Presence::builder(&endpoint)
    ///     .handle_metas(|presence, topic, diff| {
    ///         for user in diff.leaves.keys().filter(|user| presence.get_by_key(topic, user).is_none()) {
    ///             println!("{user} has no device left on {topic}");
    ///         }
    ///     })
    ///     .build();
    /// ```
    pub fn handle_metas(self, handle: impl FnMut(&Presence, &str, &PresenceDiff) + Send + 'static) -> Self {
        Self { metas: Some(Metas::new(handle)), ..self }
    }

    /// Makes the presences.
    ///
    /// # Panics
    /// As [`Presence::new`].
    #[must_use]
    pub fn build(self) -> Presence {
        let node = self.endpoint.node().clone();
        Presence { tracker: Arc::new(Tracker::new(node, self.fetch, self.metas, teller::start())) }
    }
}

impl std::fmt::Debug for PresenceBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresenceBuilder")
    }
}
