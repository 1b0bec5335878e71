//! The application's `handle_metas` hook, which is told who comes and goes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::{Presence, presences::Presences};
use crate::{callback::panic_text, telemetry::Quoted};

/// The presences that have joined and left a topic, as one `presence_diff` has them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PresenceDiff {
    /// Those that joined, and the new metas of updates.
    pub joins: Presences,
    /// Those that left, and the former metas of updates.
    pub leaves: Presences,
}

type Handle = dyn FnMut(&Presence, &str, &PresenceDiff) + Send;

/// The hook, called by one thread alone.
pub(super) struct Metas(Mutex<Box<Handle>>);

impl Metas {
    pub(super) fn new(handle: impl FnMut(&Presence, &str, &PresenceDiff) + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(handle)))
    }

    /// Tells the hook of a diff. If it panics, it is told of the next one all the same.
    pub(super) fn handle(&self, presence: &Presence, topic: &str, diff: &PresenceDiff) {
        let mut handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handle(presence, topic, diff))) {
            let (topic, why) = (Quoted(topic), panic_text(&*panic));
            log::error!("event=handle_metas_failed topic={topic} why={}", Quoted(why));
        }
    }
}
