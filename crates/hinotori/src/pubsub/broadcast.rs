//! One broadcast on its way to any number of subscribers.

use std::{num::NonZeroU64, sync::OnceLock, time::Instant};

use super::{SubscriberKey, scope::on_wire};
use crate::{
    telemetry::Quoted,
    wire::{Frame, Outgoing, Payload, Serializer, compression::Window},
};

/// An event for all subscribers of a topic (Phoenix's `%Broadcast{}`), encoded when the first client needs it.
#[derive(Debug)]
pub struct Broadcast {
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Payload,
    /// The subscriber to skip.
    pub(crate) from: Option<SubscriberKey>,
    /// The event's key, if a client that lags needs only the newest event with that key.
    pub(crate) latest: Option<Box<str>>,
    /// Its position among the messages of its topic, if these have positions.
    pub(crate) position: Option<NonZeroU64>,
    pub(super) made: Instant,
    v1: Forms,
    v2: Forms,
    /// For sockets with user broadcasts, if it is one that only they can be sent.
    user: Option<Box<Forms>>,
}

/// The frame of one version, created when it is first needed.
#[derive(Debug, Default)]
struct Forms {
    plain: OnceLock<Option<Frame>>,
    /// By window. Boxed, because few servers compress. `None` if the plain frame should be sent.
    compressed: [OnceLock<Option<Box<Frame>>>; Window::ALL.len()],
}

impl Broadcast {
    /// The topic that it was broadcast to, with its [scope](super::scoped_topic) if it has one.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The event, `presence_diff` for a change of presences.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// A JSON object, or bytes.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The position that [`PubSub::broadcast_at`](super::PubSub::broadcast_at) gave it.
    #[must_use]
    pub fn position(&self) -> Option<NonZeroU64> {
        self.position
    }

    pub(crate) fn new(topic: &str, event: &str, payload: Payload, from: Option<SubscriberKey>) -> Self {
        let (v1, v2) = (Forms::default(), Forms::default());
        let user = payload.is_user_broadcast().then(Box::default);
        let made = Instant::now();
        let (topic, event) = (topic.to_owned(), event.to_owned());
        Self { topic, event, payload, from, latest: None, position: None, made, v1, v2, user }
    }

    pub(crate) fn at(self, position: Option<NonZeroU64>) -> Self {
        Self { position, ..self }
    }

    pub(crate) fn latest_of(self, key: Option<&str>) -> Self {
        Self { latest: key.map(Box::from), ..self }
    }

    /// Bytes that it takes in memory, close enough to limit a queue.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.event.len() + self.payload.len()
    }

    /// The frame for sockets of one version and window, encoded and compressed once, whatever the number of receivers
    /// and workers. `None` if that version cannot encode it, which is logged once.
    pub(crate) fn frame(&self, serializer: Serializer, window: Option<Window>) -> Option<&Frame> {
        let forms = match serializer {
            Serializer::V1 => &self.v1,
            Serializer::V2 => &self.v2,
            Serializer::V2User => self.user.as_deref().unwrap_or(&self.v2),
        };
        let plain = forms.plain.get_or_init(|| self.encode(serializer)).as_ref()?;
        let Some(window) = window else { return Some(plain) };
        let compressed =
            forms.compressed[window as usize].get_or_init(|| plain.deflated(window).map(Box::new));
        Some(compressed.as_deref().unwrap_or(plain))
    }

    fn encode(&self, serializer: Serializer) -> Option<Frame> {
        let Self { topic, event, payload, .. } = self;
        // a client may send any number of them, and it is known that some receivers cannot have them
        if payload.is_user_broadcast() && serializer != Serializer::V2User {
            return None;
        }
        let topic = on_wire(topic);
        serializer
            .encode(Outgoing::Broadcast { topic, event, payload })
            .inspect_err(|error| {
                log::warn!(
                    "event=not_sent what=broadcast topic={} name={} to={serializer:?} why={}",
                    Quoted(topic),
                    Quoted(event),
                    Quoted(&error.to_string())
                );
            })
            .ok()
    }
}
