//! Users: signing up, logging in, removing. Passwords are hashed before: see [`Passwords`](crate::passwords::Passwords).

use serde_json::json;

use super::{membership, names, permissions, user::User};
use crate::{
    clock,
    failure::Failure,
    ids,
    store::Tx,
    tables::{
        members, rooms, settings,
        users::{self, NewUser},
    },
    topics,
};

/// Adds a user with the hash of a password. The first one is the administrator.
///
/// # Errors
/// [`Failure::InvalidName`]; [`Failure::NameTaken`].
pub fn sign_up(tx: &mut Tx<'_>, name: &str, password: &str) -> Result<User, Failure> {
    let name = names::shown(name)?;
    let id = ids::new();
    // two nodes may each be asked for the first user at the same moment
    let admin = settings::set_first(tx, "founder", &id)?;
    let user = User { id, name, admin, removed: false };
    let new = NewUser { user: &user, name_key: &names::key(&user.name), password, created_at: clock::now() };
    if !users::insert(tx, &new)? {
        return Err(Failure::NameTaken);
    }
    tx.broadcast(topics::TEAM.to_owned(), "user", json!({ "user": user }));
    Ok(user)
}

/// A user with the hash of its password, by its name; none if it was removed.
///
/// # Errors
/// If the database failed.
pub fn by_name(tx: &mut Tx<'_>, name: &str) -> Result<Option<(User, String)>, Failure> {
    Ok(users::find_by_name(tx, &names::key(&names::shown(name)?))?.filter(|(user, _)| !user.removed))
}

/// All users, also those who were removed: they wrote messages.
///
/// # Errors
/// [`Failure::Forbidden`] if the one who asks was removed.
pub fn all(tx: &mut Tx<'_>, me: &str) -> Result<Vec<User>, Failure> {
    permissions::user(tx, me)?;
    Ok(users::all(tx)?)
}

/// Whether nobody has signed up yet.
///
/// # Errors
/// If the database failed.
pub fn is_empty(tx: &mut Tx<'_>) -> Result<bool, Failure> {
    Ok(users::is_empty(tx)?)
}

/// Removes a user from the team: from its rooms, everywhere at once. It cannot log in again. Its messages stay, and its
/// sessions, which only tell [why](Failure::Removed) they are refused.
///
/// # Errors
/// [`Failure::Forbidden`] unless an administrator does it to somebody else.
pub fn remove(tx: &mut Tx<'_>, me: &str, user_id: &str) -> Result<(), Failure> {
    permissions::administrator(tx, me)?;
    if me == user_id {
        return Err(Failure::Forbidden);
    }
    let user = permissions::other(tx, user_id)?;
    users::remove(tx, user_id)?;
    // in the order of their ids, so that two who do the same do not wait for each other
    let mut rooms = members::room_ids(tx, user_id)?;
    rooms.sort();
    for room_id in rooms {
        if let Some(room) = rooms::lock(tx, &room_id)?
            && room.kind != super::room::Kind::Direct
        {
            membership::remove(tx, room, user_id)?;
        }
    }
    let user = User { removed: true, ..user };
    tx.broadcast(topics::TEAM.to_owned(), "user", json!({ "user": user }));
    tx.disconnect(topics::sockets(user_id));
    Ok(())
}
