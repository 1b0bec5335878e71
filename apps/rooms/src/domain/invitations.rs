//! Invitations by a link that anyone can follow who has it.

use std::time::Duration;

use super::{membership, permissions, room::Room};
use crate::{
    clock,
    failure::Failure,
    ids,
    store::Tx,
    tables::{invitations, members, rooms},
};

/// How long an invitation is valid.
const AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Makes a code that lets any user into a room, and returns when it expires.
///
/// # Errors
/// [`Failure::NotFound`] unless a member does; [`Failure::Forbidden`] if it is direct.
pub fn make(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<(String, String), Failure> {
    let member = permissions::member(tx, me, room_id)?;
    member.may_invite_or_leave()?;
    let (code, expires_at) = (ids::new(), clock::after(AGE));
    invitations::insert(tx, &code, room_id, me, expires_at)?;
    Ok((code, clock::text(expires_at)))
}

/// Enters the room of a code.
///
/// # Errors
/// [`Failure::NotFound`] if there is no such code, it has expired or was ended, or who made it is no member any
/// more.
pub fn accept(tx: &mut Tx<'_>, me: &str, code: &str) -> Result<Room, Failure> {
    permissions::user(tx, me)?;
    let (room_id, _) = invitations::find(tx, code, clock::now())?.ok_or(Failure::NotFound)?;
    let room = rooms::lock(tx, &room_id)?.ok_or(Failure::NotFound)?;
    // it may have been ended while this waited for the room
    let (_, invited_by) = invitations::find(tx, code, clock::now())?.ok_or(Failure::NotFound)?;
    if !members::has(tx, &room_id, &invited_by)? {
        return Err(Failure::NotFound);
    }
    membership::add(tx, &room, me)?;
    membership::view(tx, &room, me)
}
