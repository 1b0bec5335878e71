//! The search in the history of a user's rooms.

use super::{message::Message, permissions, terms};
use crate::{failure::Failure, store::Tx, tables};

/// Hits of a page.
const PAGE: i64 = 20;

/// The newest messages that have words which begin with all those of the text, with their rooms, and whether there are more.
///
/// # Errors
/// [`Failure::Invalid`] if the text has no word; [`Failure::NotFound`] if the user is no member of the room.
pub fn search(
    tx: &mut Tx<'_>,
    me: &str,
    text: &str,
    room_id: Option<&str>,
    before: Option<i64>,
) -> Result<(Vec<(String, Message)>, bool), Failure> {
    permissions::user(tx, me)?;
    if let Some(room_id) = room_id {
        permissions::member(tx, me, room_id)?;
    }
    let terms = terms::of_query(text);
    if terms.is_empty() {
        return Err(Failure::Invalid("text"));
    }
    let before = before.unwrap_or(i64::MAX);
    let mut hits = tables::terms::search(tx, &terms, me, room_id, before, PAGE + 1)?;
    let page = usize::try_from(PAGE).unwrap_or_default();
    let more = hits.len() > page;
    hits.truncate(page);
    Ok((hits, more))
}
