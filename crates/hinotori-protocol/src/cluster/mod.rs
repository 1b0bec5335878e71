//! What nodes of one server tell each other, and what each of them knows of the others.
//!
//! An [`Envelope`] is one frame, a [`Heartbeat`] what a node says of itself each second, a [`Lane`] notices what is lost,
//! late or doubled, and [`Nodes`] decides who is there. [`Passed`] is a request of a long poll for another node. Slices of presences are in [`presence`](crate::presence). There
//! is no clock here: the caller passes the time.

mod disconnects;
mod envelope;
mod heartbeat;
mod lane;
mod nodes;
mod passed;
pub(crate) mod reader;

pub use disconnects::{Kept, Received};
pub use envelope::{Envelope, EnvelopeError, Kind, TooLong, set_seq};
pub use heartbeat::{Ack, Announced, Heartbeat};
pub use lane::{Arrival, Lane};
pub use nodes::{Event, Leaving, Nodes};
pub use passed::{Answer, Asked, Fragment, Fragments, NoRoom, Passed};
