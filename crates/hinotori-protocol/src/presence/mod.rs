//! Presence as a data type: who is on a topic, and the diffs that tell it.
//!
//! A [`State`] holds the presences of one topic, a [`Batch`] gathers its changes until they are broadcast, and
//! [`by_key`] gives both the shape that clients get. There is no lock, no clock and no broadcast here.
//!
//! # Source
//! Phoenix `lib/phoenix/presence.ex`, 1.8.12; `assets/js/phoenix/presence.js` for what clients make of it.

mod batch;
mod presences;
mod state;

pub use batch::{Batch, Diff};
pub use presences::{Presences, by_key};
pub use state::{Clock, Entry, Id, Meta, Present, State, Tag, of_key};
