//! Who is present on a topic, as data: the state that converges, and the diffs that clients are sent.

mod diff;
mod state;

pub use diff::{Diff, Presences, Seen, by_key};
pub use state::{Entry, Meta, State, Tag};
