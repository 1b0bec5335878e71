//! Hooks of a [`Presence`].

use super::{Presence, PresenceDiff, Presences, fetch::Fetch, metas::Metas, teller, tracker::Tracker};
use crate::endpoint::Endpoint;

/// A [`Presence`] with hooks: see [`Presence::builder`].
#[must_use = "there are no presences until it is built"]
pub struct PresenceBuilder {
    endpoint: Endpoint,
    fetch: Option<Fetch>,
    metas: Option<Metas>,
    name: String,
}

impl PresenceBuilder {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), fetch: None, metas: None, name: "presence".to_owned() }
    }

    /// Extends what clients see: see [`Presence::with_fetch`].
    pub fn fetch(self, fetch: impl Fn(&str, Presences) -> Presences + Send + Sync + 'static) -> Self {
        Self { fetch: Some(Fetch::new(fetch)), ..self }
    }

    /// Notifies the server itself of joins and leaves (Phoenix's `handle_metas`). The closure is called with a topic
    /// and one diff at a time, in order, after the diff has been broadcast. It sees what clients see, including what
    /// `fetch` added. It is called on every [node](crate::cluster), for the presences of all. Keep state in the closure's captures. Use the [`Presence`] argument to list who is there now, but
    /// do not store a clone of it, or the presence thread never ends.
    ///
    /// The closure runs on the thread that broadcasts the diffs of all topics, which wait for it: move slow work to a
    /// task or an actor. A panic is logged, and the closure is called again for the next diff.
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

    /// Sets the name by which the nodes of a server know which presences belong together: the same on all nodes, and
    /// another one for each `Presence` of an endpoint. `presence` by default; if an endpoint has several of one name, they
    /// are numbered in the order in which they are built.
    pub fn name(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Builds the [`Presence`].
    ///
    /// # Panics
    /// Same as [`Presence::new`].
    #[must_use]
    pub fn build(self) -> Presence {
        let node = self.endpoint.node().clone();
        Presence { tracker: Tracker::new(node, &self.name, self.fetch, self.metas, teller::start()) }
    }
}

impl std::fmt::Debug for PresenceBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresenceBuilder")
    }
}
