//! The application's `handle_metas` hook, which is notified of joins and leaves.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use hinotori_protocol::presence::Presences;
use serde::Serialize;

use super::Presence;
use crate::{callback::panic_text, telemetry::Quoted};

/// The presences that have joined and left a topic in one `presence_diff`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PresenceDiff {
    /// Presences that joined, and the new metas of updates.
    pub joins: Presences,
    /// Presences that left, and the old metas of updates.
    pub leaves: Presences,
}

type Handle = dyn FnMut(&Presence, &str, &PresenceDiff) + Send;

/// The hook, called by one thread only.
pub(super) struct Metas(Mutex<Box<Handle>>);

impl Metas {
    pub(super) fn new(handle: impl FnMut(&Presence, &str, &PresenceDiff) + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(handle)))
    }

    /// Passes a diff to the hook. If the hook panics, it is still called for the next diff.
    pub(super) fn handle(&self, presence: &Presence, topic: &str, diff: &PresenceDiff) {
        let mut handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handle(presence, topic, diff))) {
            let (topic, why) = (Quoted(topic), panic_text(&*panic));
            log::error!("event=handle_metas_failed topic={topic} why={}", Quoted(why));
        }
    }
}
