//! Who is a member of a room, and who is told of it.
//!
//! A user's channels are told by the user's control topic when the user enters or leaves a room, and by the room's activity
//! topic when somebody else does.

use serde_json::json;

use super::{
    permissions,
    room::{Room, Shared},
};
use crate::{
    clock,
    failure::Failure,
    store::Tx,
    tables::{
        invitations, members,
        rooms::{self, RoomRow},
    },
    topics,
};

/// Invites a user to a room, who is a member at once.
///
/// # Errors
/// [`Failure::NotFound`] unless a member does, for a user who is there; [`Failure::Forbidden`] if it is direct.
pub fn invite(tx: &mut Tx<'_>, me: &str, room_id: &str, user_id: &str) -> Result<(), Failure> {
    let member = permissions::changing_member(tx, me, room_id)?;
    member.may_invite_or_leave()?;
    permissions::other(tx, user_id)?;
    add(tx, &member.room, user_id)
}

/// Removes a member from a room, and ends its invitations: with a link of anybody the member could come back.
///
/// # Errors
/// [`Failure::Forbidden`] unless the owner or an administrator does, or if it is direct; [`Failure::NotFound`].
pub fn remove_member(tx: &mut Tx<'_>, me: &str, room_id: &str, user_id: &str) -> Result<(), Failure> {
    let room = permissions::removing_from(tx, me, room_id)?;
    if !members::has(tx, room_id, user_id)? {
        return Err(Failure::NotFound);
    }
    invitations::delete_of_room(tx, room_id)?;
    remove(tx, room, user_id)
}

/// Makes a user a member of a room, who has read all of it so far.
pub(super) fn add(tx: &mut Tx<'_>, room: &RoomRow, user_id: &str) -> Result<(), Failure> {
    if members::insert(tx, &room.id, user_id, room.last_message, clock::now())? {
        tx.broadcast(topics::control(user_id), "joined", json!({ "room_id": room.id }));
        // a public room whose last member has left
        let mut room = room.clone();
        if room.owner != user_id && !members::has(tx, &room.id, &room.owner)? {
            hand_over(tx, &mut room)?;
        }
        tell_others(tx, &room)?;
    }
    Ok(())
}

/// Ends a membership. The room of an owner who leaves goes to whoever has been there longest.
pub(super) fn remove(tx: &mut Tx<'_>, mut room: RoomRow, user_id: &str) -> Result<(), Failure> {
    if members::delete(tx, &room.id, user_id)? {
        tx.broadcast(topics::control(user_id), "left", json!({ "room_id": room.id }));
        if room.owner == user_id {
            hand_over(tx, &mut room)?;
        }
        tell_others(tx, &room)?;
    }
    Ok(())
}

fn hand_over(tx: &mut Tx<'_>, room: &mut RoomRow) -> Result<(), Failure> {
    if let Some(first) = members::of_room(tx, &room.id)?.into_iter().next() {
        rooms::set_owner(tx, &room.id, &first)?;
        room.owner = first;
    }
    Ok(())
}

fn tell_others(tx: &mut Tx<'_>, room: &RoomRow) -> Result<(), Failure> {
    let shared = shared(tx, room)?;
    tx.broadcast(topics::activity(&room.id), "room", json!({ "room": shared }));
    Ok(())
}

fn shared(tx: &mut Tx<'_>, room: &RoomRow) -> Result<Shared, Failure> {
    let members = members::of_room(tx, &room.id)?;
    let RoomRow { id, name, kind, owner, .. } = room.clone();
    Ok(Shared { id, name, kind, owner, members })
}

/// A room as a member sees it.
pub(super) fn view(tx: &mut Tx<'_>, room: &RoomRow, user_id: &str) -> Result<Room, Failure> {
    // its owner may have changed in the same transaction
    let room = rooms::find(tx, &room.id)?.ok_or(Failure::NotFound)?;
    let read = members::read(tx, &room.id, user_id)?.ok_or(Failure::NotFound)?;
    Ok(Room { shared: shared(tx, &room)?, read })
}
