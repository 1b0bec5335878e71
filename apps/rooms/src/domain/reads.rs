//! What a user has read.

use serde_json::json;

use super::{permissions, room::Read};
use crate::{
    failure::Failure,
    store::Tx,
    tables::members::{self, set_read},
    topics,
};

/// Unread messages are counted up to this number.
pub const UNREAD_MAX: i64 = 100;

/// Notes that a user has read everything up to a message. It never goes back. All devices of the user are notified.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member.
pub fn read(tx: &mut Tx<'_>, me: &str, room_id: &str, id: i64) -> Result<(), Failure> {
    let member = permissions::member(tx, me, room_id)?;
    // what is not there cannot have been read
    if set_read(tx, room_id, me, id.min(member.room.last_message))? {
        tx.broadcast(topics::control(me), "read", json!({ "room_id": room_id }));
    }
    Ok(())
}

/// What a user has read of a room; none if the user is no member.
///
/// # Errors
/// If the database failed.
pub fn of(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<Option<Read>, Failure> {
    Ok(members::read(tx, room_id, me)?)
}
