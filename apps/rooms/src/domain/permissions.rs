//! Who may do what: every rule is here.
//!
//! | who | may |
//! |---|---|
//! | a user | see all users and all public rooms, create rooms, join public ones, write to any user |
//! | a member of a room | read, post, react, edit and delete its own messages; invite to a room that is not direct; leave it |
//! | the owner of a room | also delete messages, and remove members |
//! | an administrator | as the owner of any room of which it is a member; remove members of any room, and users |
//!
//! Nobody posts to a direct room whose other member was removed.
//!
//! A room of which a user is no member does not exist for the user, except that public rooms are listed. A user who was removed
//! may do nothing.

use super::{message::Message, room::Kind, user::User};
use crate::{
    failure::Failure,
    store::Tx,
    tables::{
        members,
        rooms::{self, RoomRow},
        users,
    },
};

/// A user who may act.
///
/// # Errors
/// [`Failure::Forbidden`] if the user was removed.
pub fn user(tx: &mut Tx<'_>, me: &str) -> Result<User, Failure> {
    users::find(tx, me)?.filter(|user| !user.removed).ok_or(Failure::Forbidden)
}

/// An administrator.
///
/// # Errors
/// [`Failure::Forbidden`] if the user is none.
pub fn administrator(tx: &mut Tx<'_>, me: &str) -> Result<User, Failure> {
    Some(user(tx, me)?).filter(|user| user.admin).ok_or(Failure::Forbidden)
}

/// Another user, who can be written to and invited.
///
/// # Errors
/// [`Failure::NotFound`] if there is no such user, or it was removed.
pub fn other(tx: &mut Tx<'_>, user_id: &str) -> Result<User, Failure> {
    users::find(tx, user_id)?.filter(|user| !user.removed).ok_or(Failure::NotFound)
}

/// A member of a room, in the room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) user: User,
    pub(crate) room: RoomRow,
}

/// A member who reads.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member, as those of the others.
pub(crate) fn member(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<Member, Failure> {
    let room = rooms::find(tx, room_id)?.ok_or(Failure::NotFound)?;
    in_room(tx, me, room)
}

/// A member who changes something. Nobody else changes the room until the end of the transaction, nor who is a member of it.
pub(crate) fn changing_member(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<Member, Failure> {
    let room = rooms::lock(tx, room_id)?.ok_or(Failure::NotFound)?;
    in_room(tx, me, room)
}

fn in_room(tx: &mut Tx<'_>, me: &str, room: RoomRow) -> Result<Member, Failure> {
    let user = user(tx, me)?;
    if members::has(tx, &room.id, me)? { Ok(Member { user, room }) } else { Err(Failure::NotFound) }
}

impl Member {
    fn is_moderator(&self) -> bool {
        self.user.admin || self.room.owner == self.user.id
    }

    /// In a direct room whose other member was removed, nobody would read it.
    pub(crate) fn may_post(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let is_alone = self.room.kind == Kind::Direct && members::names(tx, &self.room.id)?.len() < 2;
        if is_alone { Err(Failure::Forbidden) } else { Ok(()) }
    }

    /// Members of a direct room are always the same two.
    pub(crate) fn may_invite_or_leave(&self) -> Result<(), Failure> {
        if self.room.kind == Kind::Direct { Err(Failure::Forbidden) } else { Ok(()) }
    }

    pub(crate) fn may_edit(&self, message: &Message) -> Result<(), Failure> {
        if message.author == self.user.id { Ok(()) } else { Err(Failure::Forbidden) }
    }

    pub(crate) fn may_delete(&self, message: &Message) -> Result<(), Failure> {
        if message.author == self.user.id || self.is_moderator() { Ok(()) } else { Err(Failure::Forbidden) }
    }
}

/// A room from which a user may remove others.
pub(crate) fn removing_from(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<RoomRow, Failure> {
    let room = rooms::lock(tx, room_id)?.ok_or(Failure::NotFound)?;
    let user = user(tx, me)?;
    if !user.admin {
        let member = in_room(tx, me, room.clone())?;
        if !member.is_moderator() {
            return Err(Failure::Forbidden);
        }
    }
    if room.kind == Kind::Direct { Err(Failure::Forbidden) } else { Ok(room) }
}
