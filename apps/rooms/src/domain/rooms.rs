//! Rooms: creating, listing, joining, leaving.

use serde_json::json;

use super::{
    membership, names, permissions,
    room::{Kind, Room},
};
use crate::{
    clock,
    failure::Failure,
    ids,
    store::Tx,
    tables::{
        members,
        rooms::{self, RoomRow},
    },
};

/// The rooms of a user.
///
/// # Errors
/// [`Failure::Forbidden`] if the user was removed.
pub fn of_user(tx: &mut Tx<'_>, me: &str) -> Result<Vec<Room>, Failure> {
    permissions::user(tx, me)?;
    Ok(members::rooms(tx, me)?)
}

/// The ids of the rooms of a user.
///
/// # Errors
/// If the database failed.
pub fn ids_of_user(tx: &mut Tx<'_>, me: &str) -> Result<Vec<String>, Failure> {
    Ok(members::room_ids(tx, me)?)
}

/// A room of a user.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member.
pub fn get(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<Room, Failure> {
    let room = permissions::member(tx, me, room_id)?.room;
    membership::view(tx, &room, me)
}

/// The public rooms, as JSON, with the number of members of each.
///
/// # Errors
/// [`Failure::Forbidden`] if the user was removed.
pub fn browse(tx: &mut Tx<'_>, me: &str) -> Result<Vec<serde_json::Value>, Failure> {
    permissions::user(tx, me)?;
    let rooms = rooms::public(tx)?.into_iter();
    Ok(rooms.map(|(id, name, members)| json!({ "id": id, "name": name, "members": members })).collect())
}

/// Creates a room. The user owns it and is its first member.
///
/// # Errors
/// [`Failure::Invalid`] if it cannot have this name.
pub fn create(tx: &mut Tx<'_>, me: &str, name: &str, private: bool) -> Result<Room, Failure> {
    permissions::user(tx, me)?;
    let name = names::shown(name).map_err(|_| Failure::Invalid("name"))?;
    let room = new(name, if private { Kind::Private } else { Kind::Public }, me);
    rooms::insert(tx, &room, None, clock::now())?;
    membership::add(tx, &room, me)?;
    membership::view(tx, &room, me)
}

/// Joins a public room.
///
/// # Errors
/// [`Failure::NotFound`] if there is none with this id.
pub fn join(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<Room, Failure> {
    permissions::user(tx, me)?;
    let room = rooms::lock(tx, room_id)?.filter(|room| room.kind == Kind::Public).ok_or(Failure::NotFound)?;
    membership::add(tx, &room, me)?;
    membership::view(tx, &room, me)
}

/// Leaves a room.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member; [`Failure::Forbidden`] if it is direct.
pub fn leave(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<(), Failure> {
    let member = permissions::changing_member(tx, me, room_id)?;
    member.may_invite_or_leave()?;
    membership::remove(tx, member.room, me)
}

/// The direct room of two users, which is created if there is none.
///
/// # Errors
/// [`Failure::NotFound`] if there is no such user; [`Failure::Invalid`] if it is the same.
pub fn open_direct(tx: &mut Tx<'_>, me: &str, user_id: &str) -> Result<Room, Failure> {
    permissions::user(tx, me)?;
    if me == user_id {
        return Err(Failure::Invalid("user_id"));
    }
    permissions::other(tx, user_id)?;
    let direct_key = format!("{}:{}", me.min(user_id), me.max(user_id));
    let room = new(String::new(), Kind::Direct, me);
    if rooms::insert(tx, &room, Some(&direct_key), clock::now())? {
        membership::add(tx, &room, me)?;
        membership::add(tx, &room, user_id)?;
        return membership::view(tx, &room, me);
    }
    let room = rooms::find_direct(tx, &direct_key)?.ok_or(Failure::NotFound)?;
    membership::view(tx, &room, me)
}

fn new(name: String, kind: Kind, owner: &str) -> RoomRow {
    RoomRow { id: ids::new(), name, kind, owner: owner.to_owned(), last_position: 0, last_message: 0 }
}
