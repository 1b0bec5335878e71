//! Reactions: emoji at a message.

use super::{
    change,
    message::Reaction,
    messages,
    permissions::{self, Member},
};
use crate::{
    failure::Failure,
    store::{DbError, Tx},
    tables,
};

/// Different emoji at a message.
const EMOJI_MAX: usize = 20;

/// Bytes of an emoji: a family of four with skin tones has 41.
const BYTES_MAX: usize = 64;

/// Adds a user's reaction to a message, or takes it back. Nothing changes if it is so already.
///
/// # Errors
/// [`Failure::NotFound`] if there is no such message, or it is deleted; [`Failure::Invalid`] if it is no emoji;
/// [`Failure::TooMany`] if the message has too many different ones.
pub fn react(
    tx: &mut Tx<'_>,
    me: &str,
    room_id: &str,
    id: i64,
    emoji: &str,
    on: bool,
) -> Result<(), Failure> {
    if !is_emoji(emoji) {
        return Err(Failure::Invalid("emoji"));
    }
    let Member { mut room, .. } = permissions::changing_member(tx, me, room_id)?;
    let mut reactions = messages::present(tx, room_id, id)?.reactions;
    let has_changed = if on { add(&mut reactions, me, emoji)? } else { take_back(&mut reactions, me, emoji) };
    if !has_changed {
        return Ok(());
    }
    let json = serde_json::to_string(&reactions).map_err(|error| DbError::Statement(error.to_string()))?;
    tables::messages::set_reactions(tx, id, &json)?;
    change::append(tx, &mut room, id)
}

fn add(reactions: &mut Vec<Reaction>, me: &str, emoji: &str) -> Result<bool, Failure> {
    let is_full = reactions.len() >= EMOJI_MAX;
    match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
        Some(reaction) if reaction.users.iter().any(|user| user == me) => return Ok(false),
        Some(reaction) => reaction.users.push(me.to_owned()),
        None if is_full => return Err(Failure::TooMany),
        None => reactions.push(Reaction { emoji: emoji.to_owned(), users: vec![me.to_owned()] }),
    }
    Ok(true)
}

fn take_back(reactions: &mut Vec<Reaction>, me: &str, emoji: &str) -> bool {
    let Some(reaction) = reactions.iter_mut().find(|reaction| reaction.emoji == emoji) else { return false };
    let before = reaction.users.len();
    reaction.users.retain(|user| user != me);
    let has_changed = reaction.users.len() < before;
    reactions.retain(|reaction| !reaction.users.is_empty());
    has_changed
}

/// Whether a text is made of pictographs and what joins and varies them. No letters: a reaction is no message. No braille,
/// whose first pattern is blank.
fn is_emoji(text: &str) -> bool {
    let is_pictograph = |char| {
        matches!(char,
            '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{27ff}' | '\u{2900}'..='\u{2bff}' | '\u{3030}'
            | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{a9}' | '\u{ae}' | '\u{1f000}'..='\u{1faff}')
    };
    let joins = |char| matches!(char, '\u{200d}' | '\u{fe0f}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}' | '0'..='9' | '#' | '*');
    text.len() <= BYTES_MAX
        && (text.chars().any(is_pictograph) || text.contains('\u{20e3}'))
        && text.chars().all(|char| is_pictograph(char) || joins(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_is_a_pictograph_and_not_a_word() {
        for emoji in ["👍", "❤️", "👩‍👩‍👧‍👦", "👋🏽", "🇯🇵", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "🎉"]
        {
            assert!(is_emoji(emoji), "{emoji}");
        }
        for text in
            ["", "a", ":+1:", "1", "\u{2800}", "👍a", "<b>", "\u{202e}👍", "👍\0", "あ", &"👍".repeat(17)]
        {
            assert!(!is_emoji(text), "{text:?}");
        }
    }

    #[test]
    fn a_reaction_is_there_once_and_goes_with_its_last_user() {
        let mut reactions = vec![];
        assert_eq!(add(&mut reactions, "a", "👍"), Ok(true));
        assert_eq!(add(&mut reactions, "a", "👍"), Ok(false));
        assert_eq!(add(&mut reactions, "b", "👍"), Ok(true));
        assert!(take_back(&mut reactions, "a", "👍") && !take_back(&mut reactions, "a", "👍"));
        assert!(take_back(&mut reactions, "b", "👍") && reactions.is_empty());
    }
}
