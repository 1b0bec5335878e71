//! Messages: posting, editing, deleting, reading.

use serde_json::json;

use super::{
    change,
    message::Message,
    permissions::{self, Member},
    terms,
};
use crate::{
    clock,
    failure::Failure,
    store::Tx,
    tables::{
        members,
        messages::{self, NewMessage},
        pictures,
    },
    topics,
};

/// Characters of a text.
pub const TEXT_MAX: usize = 8_000;

/// Bytes of a nonce.
const NONCE_MAX: usize = 64;

/// Messages of a history, and of a page of older ones.
const PAGE: i64 = 50;

/// Messages on either side of one that is shown with its surroundings.
const AROUND: i64 = 25;

/// What a client posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Markdown. It may be empty if there is a picture.
    pub text: String,
    /// By which a repetition is recognized, among the messages of its author in the room.
    pub nonce: String,
    /// The message to which it replies.
    pub reply_to: Option<i64>,
    /// A picture that its author has uploaded.
    pub picture_id: Option<String>,
}

/// Messages in ascending order before or after one, and whether there are more beyond them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are more in the same direction.
    pub more: bool,
}

/// Messages in ascending order on both sides of one, which is among them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Around {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub more: bool,
    /// Whether there are newer ones.
    pub more_after: bool,
}

/// Posts a message, and returns its id. A repetition returns the id of the first, and posts nothing.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member; [`Failure::Forbidden`] in a direct room whose other member was removed;
/// [`Failure::Invalid`].
pub fn post(tx: &mut Tx<'_>, me: &str, room_id: &str, draft: &Draft) -> Result<i64, Failure> {
    let Draft { text, nonce, reply_to, picture_id } = draft;
    if !(1..=NONCE_MAX).contains(&nonce.len()) {
        return Err(Failure::Invalid("nonce"));
    }
    check_text(text, picture_id.is_some())?;
    let member = permissions::changing_member(tx, me, room_id)?;
    if let Some(id) = messages::find_nonce(tx, room_id, me, nonce)? {
        change::repeat(tx, room_id, id)?;
        return Ok(id);
    }
    member.may_post(tx)?;
    if let Some(id) = *reply_to
        && messages::find(tx, room_id, id)?.is_none_or(|message| message.deleted)
    {
        return Err(Failure::Invalid("reply_to"));
    }
    if let Some(id) = picture_id
        && !pictures::is_uploaded_by(tx, id, me)?
    {
        return Err(Failure::Invalid("picture_id"));
    }
    let picture_id = picture_id.as_deref();
    let posted_at = clock::now();
    let new = NewMessage { room_id, author: me, text, reply_to: *reply_to, picture_id, nonce, posted_at };
    let id = messages::insert(tx, &new)?;
    crate::tables::terms::insert(tx, id, &terms::of(text))?;
    let mentions = mention(tx, room_id, me, id, text)?;
    // whoever writes has read
    members::set_read(tx, room_id, me, id)?;
    let Member { mut room, .. } = member;
    room.last_message = id;
    change::append(tx, &mut room, id)?;
    let posted = json!({ "room_id": room_id, "id": id, "author": me, "mentions": mentions });
    tx.broadcast(topics::activity(room_id), "posted", posted);
    Ok(id)
}

/// Changes the text of a message.
///
/// # Errors
/// [`Failure::Forbidden`] unless its author does; [`Failure::NotFound`], also if it is deleted; [`Failure::Invalid`].
pub fn edit(tx: &mut Tx<'_>, me: &str, room_id: &str, id: i64, text: &str) -> Result<(), Failure> {
    let mut member = permissions::changing_member(tx, me, room_id)?;
    let message = present(tx, room_id, id)?;
    member.may_edit(&message)?;
    check_text(text, message.picture.is_some())?;
    if message.text.as_deref() == Some(text) {
        return Ok(());
    }
    messages::edit(tx, id, text, clock::now())?;
    crate::tables::terms::delete(tx, id)?;
    crate::tables::terms::insert(tx, id, &terms::of(text))?;
    members::forget_mentions(tx, room_id, id)?;
    mention(tx, room_id, me, id, text)?;
    change::append(tx, &mut member.room, id)?;
    recount(tx, room_id, id);
    Ok(())
}

/// Deletes what a message says, its picture and its reactions. That it was there stays.
///
/// # Errors
/// [`Failure::Forbidden`] unless its author, the room's owner or an administrator does; [`Failure::NotFound`].
pub fn delete(tx: &mut Tx<'_>, me: &str, room_id: &str, id: i64) -> Result<(), Failure> {
    let mut member = permissions::changing_member(tx, me, room_id)?;
    let message = present(tx, room_id, id)?;
    member.may_delete(&message)?;
    messages::delete(tx, id)?;
    crate::tables::terms::delete(tx, id)?;
    members::forget_mentions(tx, room_id, id)?;
    change::append(tx, &mut member.room, id)?;
    recount(tx, room_id, id);
    Ok(())
}

/// The messages before one.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member.
pub fn before(tx: &mut Tx<'_>, me: &str, room_id: &str, id: i64) -> Result<Page, Failure> {
    permissions::member(tx, me, room_id)?;
    page_before(tx, room_id, id, PAGE)
}

/// The messages after one.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member.
pub fn after(tx: &mut Tx<'_>, me: &str, room_id: &str, id: i64) -> Result<Page, Failure> {
    permissions::member(tx, me, room_id)?;
    page_after(tx, room_id, id, PAGE)
}

/// A message and those on either side of it.
///
/// # Errors
/// [`Failure::NotFound`] if the user is no member, or there is no such message.
pub fn around(tx: &mut Tx<'_>, me: &str, room_id: &str, id: i64) -> Result<Around, Failure> {
    permissions::member(tx, me, room_id)?;
    let message = of_room(tx, room_id, id)?;
    let Page { mut messages, more } = page_before(tx, room_id, id, AROUND)?;
    let after = page_after(tx, room_id, id, AROUND)?;
    messages.push(message);
    messages.extend(after.messages);
    Ok(Around { messages, more, more_after: after.more })
}

/// The newest messages of a room.
pub(super) fn newest(tx: &mut Tx<'_>, room_id: &str) -> Result<Page, Failure> {
    page_before(tx, room_id, i64::MAX, PAGE)
}

/// A message of a room, also a deleted one.
pub(super) fn of_room(tx: &mut Tx<'_>, room_id: &str, id: i64) -> Result<Message, Failure> {
    messages::find(tx, room_id, id)?.ok_or(Failure::NotFound)
}

/// A message that is not deleted.
pub(super) fn present(tx: &mut Tx<'_>, room_id: &str, id: i64) -> Result<Message, Failure> {
    messages::find(tx, room_id, id)?.filter(|message| !message.deleted).ok_or(Failure::NotFound)
}

fn page_after(tx: &mut Tx<'_>, room_id: &str, id: i64, limit: i64) -> Result<Page, Failure> {
    let mut messages = messages::after(tx, room_id, id, limit + 1)?;
    let most = usize::try_from(limit).unwrap_or_default();
    let more = messages.len() > most;
    messages.truncate(most);
    Ok(Page { messages, more })
}

fn page_before(tx: &mut Tx<'_>, room_id: &str, id: i64, limit: i64) -> Result<Page, Failure> {
    // one more tells whether there are more
    let mut messages = messages::before(tx, room_id, id, limit + 1)?;
    let more = messages.len() > usize::try_from(limit).unwrap_or_default();
    if more {
        messages.remove(0);
    }
    Ok(Page { messages, more })
}

fn check_text(text: &str, has_picture: bool) -> Result<(), Failure> {
    let is_empty = text.trim().is_empty() && !has_picture;
    if is_empty || text.chars().nth(TEXT_MAX).is_some() { Err(Failure::Invalid("text")) } else { Ok(()) }
}

/// Notes which members a text mentions, and returns their ids. Nobody is mentioned by the own message.
fn mention(tx: &mut Tx<'_>, room_id: &str, me: &str, id: i64, text: &str) -> Result<Vec<String>, Failure> {
    if !text.contains('@') {
        return Ok(vec![]);
    }
    let names = members::names(tx, room_id)?;
    let mut mentioned = terms::mentioned(text, &names);
    mentioned.retain(|user_id| user_id != me);
    for user_id in &mentioned {
        members::mention(tx, room_id, user_id, id)?;
    }
    Ok(mentioned)
}

/// Members who have not read the message count again what they have not.
fn recount(tx: &mut Tx<'_>, room_id: &str, id: i64) {
    tx.broadcast(topics::activity(room_id), "recount", json!({ "room_id": room_id, "id": id }));
}
