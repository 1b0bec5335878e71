//! The changes of a room: each takes the room's next position, in the same transaction.

use hinotori::{
    IntoPayload, Payload,
    recovery::{Cursor, Recovery},
};
use serde_json::json;

use super::{epoch, message::Change, messages, permissions};
use crate::{
    failure::Failure,
    store::{DbError, Tx},
    tables::{changes, rooms, rooms::RoomRow},
    topics,
};

/// Changes that are kept in each room. A client that missed more loads the history.
const KEPT: i64 = 10_000;

/// Gives a change of a message the next position of its room, and broadcasts the message as it is now.
pub(crate) fn append(tx: &mut Tx<'_>, room: &mut RoomRow, message_id: i64) -> Result<(), Failure> {
    room.last_position += 1;
    changes::insert(tx, &room.id, room.last_position, message_id)?;
    changes::forget(tx, &room.id, room.last_position - KEPT)?;
    rooms::advance(tx, room)?;
    announce(tx, &room.id, room.last_position, message_id)
}

/// Broadcasts a change again whose first broadcast may have been lost.
pub(crate) fn repeat(tx: &mut Tx<'_>, room_id: &str, message_id: i64) -> Result<(), Failure> {
    match changes::first(tx, room_id, message_id)? {
        Some(position) => announce(tx, room_id, position, message_id),
        None => Ok(()),
    }
}

fn announce(tx: &mut Tx<'_>, room_id: &str, position: i64, message_id: i64) -> Result<(), Failure> {
    let message = messages::of_room(tx, room_id, message_id)?;
    let change = json!({ "id": position, "message": message });
    tx.broadcast_at(position, topics::room(room_id), "change", change);
    Ok(())
}

/// What a member missed, or the history.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member.
pub fn recover(tx: &mut Tx<'_>, me: &str, room_id: &str, cursor: Cursor) -> Result<Recovery, Failure> {
    let room = permissions::member(tx, me, room_id)?.room;
    let (epoch, last_id) = (epoch::get(tx)?, room.last_position.cast_unsigned());
    let changes = match cursor.missing(epoch, last_id) {
        Ok(0) | Err(_) => vec![],
        Ok(_) => after(tx, room_id, cursor.last_seen_id().cast_signed())?,
    };
    let changes: Vec<Payload> = changes.iter().map(payload).collect::<Result<_, _>>()?;
    let recovery = Recovery::new(cursor, epoch, last_id, &changes).map_err(broken)?;
    if recovery.why_not().is_none() {
        return Ok(recovery);
    }
    let history = messages::newest(tx, room_id)?;
    let history = json!({
        "epoch": epoch, "last_id": last_id, "messages": history.messages, "more": history.more,
    });
    Ok(recovery.or_push("history", history).map_err(broken)?)
}

/// The changes after a position.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member, or if some of them are not known any more.
pub fn missed(tx: &mut Tx<'_>, me: &str, room_id: &str, position: i64) -> Result<Vec<Change>, Failure> {
    let room = permissions::member(tx, me, room_id)?.room;
    let (epoch, last_id) = (epoch::get(tx)?, room.last_position.cast_unsigned());
    let cursor = Cursor::new(position.cast_unsigned(), Some(epoch));
    match cursor.missing(epoch, last_id) {
        Ok(0) => Ok(vec![]),
        Ok(missing) => {
            let changes = after(tx, room_id, position)?;
            if changes.len() == missing { Ok(changes) } else { Err(Failure::NotFound) }
        }
        Err(_) => Err(Failure::NotFound),
    }
}

fn after(tx: &mut Tx<'_>, room_id: &str, position: i64) -> Result<Vec<Change>, DbError> {
    crate::tables::messages::changes(tx, room_id, position)
}

fn payload(change: &Change) -> Result<Payload, DbError> {
    change.into_payload().map_err(broken)
}

fn broken(error: hinotori::PayloadError) -> DbError {
    DbError::Statement(error.to_string())
}
