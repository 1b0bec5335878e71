//! Presence: tells everyone on a topic who else is there.
//!
//! A channel tracks itself under a key, such as its user's id, with some metadata (the meta), on its own topic or any
//! other. When the channel ends for whatever reason, it is untracked. Clients get `presence_state` once, pushed by the
//! channel, and `presence_diff` from then on, so the `Presence` class of phoenix.js always knows who is there. A diff
//! collects the changes of a few milliseconds. Every change is in some diff, so every presence that a list has shown is
//! eventually followed by its leave.
//!
//! | file | contents |
//! |---|---|
//! | `tracker.rs` | the topics and their locks |
//! | `shared.rs` | presences of other nodes, and what they are told of those here |
//! | `teller.rs` | the thread that broadcasts diffs |
//! | `builder.rs` | the application's hooks: `fetch.rs` extends what clients see, `metas.rs` reports joins and leaves |
//!
//! A topic's presences as a data type, their diffs and their JSON are in `hinotori_protocol::presence`.
//!
//! # Source
//! Phoenix `lib/phoenix/presence.ex`, 1.8.12; phoenix_pubsub `lib/phoenix/tracker.ex`.

mod builder;
mod fetch;
mod metas;
mod shared;
mod teller;
#[cfg(test)]
mod tests;
mod tracker;

use std::{fmt, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

pub use builder::PresenceBuilder;
use hinotori_protocol::presence::Meta;
pub use hinotori_protocol::presence::Presences;
pub use metas::PresenceDiff;
use tracker::Tracker;

use crate::{
    channel::{Channel, Context},
    endpoint::Endpoint,
    wire::PayloadError,
};

/// The presences of one server, on all its [nodes](crate::cluster). Cheap to clone, usable from any thread.
///
/// ```
/// use hinotori::{Channel, Context, Join, Payload, Presence, Result};
/// use serde_json::json;
/// # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
/// # struct UserSocket { user_id: String, presence: Presence }
/// # impl SocketHandler for UserSocket {
/// #     async fn connect(_: &Params, info: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> { Err(Refused::because("no")) }
/// #     fn channels(_: &mut Routes<Self>) {}
/// # }
///
/// struct Room;
/// struct AfterJoin;
///
/// impl Channel for Room {
///     type Socket = UserSocket;
///     type Info = AfterJoin;
///
///     async fn join(_topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
///         cx.send_self(AfterJoin);
///         Join::ok(Room)
///     }
///
///     async fn handle_info(&mut self, AfterJoin: AfterJoin, cx: &mut Context<Self>) -> Result<()> {
///         let UserSocket { user_id, presence } = cx.socket();
///         presence.track(cx, user_id, json!({ "device": "phone" })).await?;
///         cx.push("presence_state", presence.list(cx.topic()))?;
///         Ok(())
///     }
/// #   async fn handle_in(&mut self, e: &str, _: Payload, cx: &mut Context<Self>) -> Result { cx.unhandled(e) }
/// }
/// ```
#[derive(Clone)]
pub struct Presence {
    tracker: Arc<Tracker>,
}

impl Presence {
    /// Presences whose changes are broadcast to the topics of an endpoint. Create one and clone it: it runs a thread
    /// that ends with the last clone.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        Self::builder(endpoint).build()
    }

    /// Presences with hooks: see [`PresenceBuilder`].
    pub fn builder(endpoint: &Endpoint) -> PresenceBuilder {
        PresenceBuilder::new(endpoint)
    }

    /// Presences with a hook that extends what clients see, such as a name for each key (Phoenix's `fetch`). The hook
    /// is called for each list and for both halves of each diff. It gets a topic and some of its presences, and returns
    /// them with more fields next to each `metas`. Keep every key and its `metas`: clients never see what the hook
    /// removes from a diff.
    ///
    /// Put slow lookups into the meta when you track the presence: `fetch` runs for every diff on a thread of its own,
    /// and all diffs of the server wait for it. If it takes longer than 1 s or panics, the diff is broadcast without
    /// its additions, so no change is lost. For a list, it runs on the caller's thread without a time limit; if it
    /// panics, the list is returned without its additions.
    ///
    /// # Panics
    /// Same as [`Presence::new`].
    #[must_use]
    pub fn with_fetch(
        endpoint: &Endpoint,
        fetch: impl Fn(&str, Presences) -> Presences + Send + Sync + 'static,
    ) -> Self {
        Self::builder(endpoint).fetch(fetch).build()
    }

    /// Tracks a channel on its topic under a key until the channel ends. Returns when the diff has been broadcast, so a
    /// `presence_state` pushed next arrives after it.
    ///
    /// # Errors
    /// [`PresenceError::AlreadyTracked`] if the channel is tracked under that key, [`PresenceError::Meta`] if `meta` does not
    /// serialize to a JSON object.
    pub async fn track<C: Channel>(
        &self,
        cx: &Context<C>,
        key: &str,
        meta: impl Serialize,
    ) -> Result<(), PresenceError> {
        self.track_on(cx, cx.pubsub_topic(), key, meta).await
    }

    /// Tracks a channel on any topic, joined by the channel or not (Phoenix's `track(pid, topic, key, meta)`). A
    /// channel may have any number of presences on any number of topics. When it ends, one diff per topic removes all
    /// its keys there.
    ///
    /// ```
    /// # use hinotori::{Channel, Context, Join, Payload, Presence, Result};
    /// # use hinotori::{ConnectInfo, Params, Refused, Routes, SocketHandler};
    /// # struct UserSocket { user_id: String, presence: Presence }
    /// # impl SocketHandler for UserSocket {
    /// #     async fn connect(_: &Params, _: &ConnectInfo<'_>) -> std::result::Result<Self, Refused> { Err(Refused::because("no")) }
    /// #     fn channels(routes: &mut Routes<Self>) { routes.channel::<Document>("document:*"); }
    /// # }
    /// # struct Document;
    /// # impl Channel for Document {
    /// #     type Socket = UserSocket;
    /// #     type Info = ();
    /// async fn join(topic: &str, _payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
    ///     let UserSocket { user_id, presence } = cx.socket();
    ///     presence.track_on(cx, "staff", user_id, serde_json::json!({ "edits": topic })).await?;
    ///     Join::ok(Self)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Same as [`Presence::track`].
    pub async fn track_on<C: Channel>(
        &self,
        cx: &Context<C>,
        topic: &str,
        key: &str,
        meta: impl Serialize,
    ) -> Result<(), PresenceError> {
        let meta = object(meta)?;
        let (told, is_told) = oneshot::channel();
        let tracked = self.tracker.track(cx.membership().key(), topic, key, meta, told)?;
        if let Some(tracked) = tracked {
            cx.membership().at_end(Box::new(move || drop(tracked)));
        }
        // the sender is dropped only with the server
        let _ = is_told.await;
        Ok(())
    }

    /// Changes the meta of a tracked channel: `change` gets the meta as it was last tracked or updated. Returns before
    /// the diff is broadcast. Clients see the old meta leave and the new one join; the new one's `phx_ref_prev` is the
    /// old one's `phx_ref`.
    ///
    /// # Errors
    /// [`PresenceError::NotTracked`] if this channel is not tracked under that key, even if others are.
    pub fn update<C: Channel>(
        &self,
        cx: &Context<C>,
        key: &str,
        change: impl FnOnce(&mut serde_json::Map<String, Value>),
    ) -> Result<(), PresenceError> {
        self.update_on(cx, cx.pubsub_topic(), key, change)
    }

    /// Changes the meta of a channel that is tracked on any topic.
    ///
    /// # Errors
    /// Same as [`Presence::update`].
    pub fn update_on<C: Channel>(
        &self,
        cx: &Context<C>,
        topic: &str,
        key: &str,
        change: impl FnOnce(&mut serde_json::Map<String, Value>),
    ) -> Result<(), PresenceError> {
        self.tracker.update(cx.membership().key(), topic, key, change)
    }

    /// Stops tracking a channel under a key; does nothing if it is not tracked. Returns before the diff is broadcast.
    pub fn untrack<C: Channel>(&self, cx: &Context<C>, key: &str) {
        self.untrack_on(cx, cx.pubsub_topic(), key);
    }

    /// Stops tracking a channel on any topic.
    pub fn untrack_on<C: Channel>(&self, cx: &Context<C>, topic: &str, key: &str) {
        self.tracker.untrack(cx.membership().key(), topic, key);
    }

    /// All presences of a topic by key, as the payload of `presence_state`. It includes changes that have not been
    /// broadcast yet. It copies every meta without blocking other calls.
    #[must_use]
    pub fn list(&self, topic: &str) -> Presences {
        self.tracker.list(topic)
    }

    /// The presences of a topic under one key, `{"metas": […]}`; `None` if there are none.
    #[must_use]
    pub fn get_by_key(&self, topic: &str, key: &str) -> Option<Value> {
        self.tracker.get_by_key(topic, key)
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presence")
    }
}

fn object(meta: impl Serialize) -> Result<Meta, PresenceError> {
    match serde_json::to_value(meta).map_err(PayloadError::Encode) {
        Ok(Value::Object(meta)) => Ok(meta),
        Ok(_) => Err(PresenceError::Meta(PayloadError::NotAnObject)),
        Err(error) => Err(PresenceError::Meta(error)),
    }
}

/// Why a presence could not be tracked or changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum PresenceError {
    /// The channel is already tracked under this key: update it instead.
    AlreadyTracked,
    /// The channel is not tracked under this key.
    NotTracked,
    /// The meta is not a JSON object.
    Meta(PayloadError),
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyTracked => "the channel is tracked under this key already",
            Self::NotTracked => "the channel is not tracked under this key",
            Self::Meta(_) => "the meta of a presence must be a JSON object",
        })
    }
}

impl std::error::Error for PresenceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Meta(error) => Some(error),
            Self::AlreadyTracked | Self::NotTracked => None,
        }
    }
}
