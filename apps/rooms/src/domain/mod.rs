//! What the application does: functions of a transaction that check every rule and broadcast what changed.
//!
//! Channels and HTTP handlers call them through the [`Store`](crate::store::Store). They have no SQL; that is in
//! `tables`. Who may do what is in [`permissions`].

pub mod accounts;
pub mod change;
pub mod epoch;
pub mod invitations;
pub mod membership;
pub mod message;
pub mod messages;
pub mod names;
pub mod permissions;
pub mod pictures;
pub mod reactions;
pub mod reads;
pub mod room;
pub mod rooms;
pub mod search;
pub mod secret;
pub mod sessions;
pub mod terms;
pub mod upkeep;
pub mod user;
