//! Presence as a data type: who is on a topic, and the diffs that describe changes.
//!
//! A [`State`] holds the presences of one topic, a [`Batch`] collects its changes until they are broadcast, and
//! [`by_key`] turns both into the shape that clients get. Between nodes, a [`Slice`] numbers the changes of one node,
//! and each other node has a [`Replica`] of it. There are no locks, clocks or broadcasts here.
//!
//! # Source
//! Phoenix `lib/phoenix/presence.ex`, 1.8.12; `assets/js/phoenix/presence.js` for how clients interpret it.

mod batch;
mod delta;
mod presences;
mod replica;
mod slice;
mod state;

pub use batch::{Batch, Diff};
pub use delta::{Delta, Join, Part, Step};
pub use presences::{Presences, by_key};
pub use replica::{Changed, Replica};
pub use slice::Slice;
pub use state::{Clock, Entry, Id, Meta, Present, State, Tag, of_key};
