//! The names of users and rooms.

use crate::failure::Failure;

/// Characters of a name.
const MAX: usize = 32;

/// A name as it is shown: without spaces around it, and one space at most between its words.
///
/// # Errors
/// [`Failure::InvalidName`] if it is empty or too long, or if it has characters that are not visible: two names would look
/// the same.
pub fn shown(text: &str) -> Result<String, Failure> {
    let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_long = name.chars().nth(MAX).is_some();
    if name.is_empty() || is_long || name.chars().any(is_invisible) {
        Err(Failure::InvalidName)
    } else {
        Ok(name)
    }
}

/// A name without case, by which names are compared.
#[must_use]
pub fn key(name: &str) -> String {
    name.to_lowercase()
}

/// Controls, marks of the writing direction, spaces without a width, and the like.
fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_visible_and_short() {
        assert_eq!(shown("  Ann   Lee "), Ok("Ann Lee".to_owned()));
        assert_eq!(shown(&"紙".repeat(32)), Ok("紙".repeat(32)));
        for name in [
            "",
            " ",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\0",
            &"a".repeat(33),
            "\u{3164}",
            "a\u{1bca0}b",
            "a\u{1d173}b",
        ] {
            assert_eq!(shown(name), Err(Failure::InvalidName), "{name:?}");
        }
        assert_eq!(key("ÄNN"), key("änn"));
    }
}
