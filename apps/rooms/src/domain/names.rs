//! The names of users and rooms.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::failure::Failure;

/// Characters of a name.
const MAX: usize = 32;

/// A name as it is shown: without spaces around it, one space at most between its words, and in the normal form NFC, so that "Zoë"
/// is the same name however it was typed.
///
/// # Errors
/// [`Failure::InvalidName`] if it is empty or too long, if a word begins with a combining mark, or if it has characters that are
/// not visible: two names would look the same.
pub fn shown(text: &str) -> Result<String, Failure> {
    let name: String = text.split_whitespace().collect::<Vec<_>>().join(" ").nfc().collect();
    let is_long = name.chars().nth(MAX).is_some();
    // a mark that has no letter changes the look of what stands before the name
    let has_bare_mark = name.split(' ').any(|word| word.starts_with(is_combining_mark));
    if name.is_empty() || is_long || has_bare_mark || name.chars().any(is_invisible) {
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
            "\u{301}",
            "\u{301}nn",
            "Ann \u{301}Lee",
        ] {
            assert_eq!(shown(name), Err(Failure::InvalidName), "{name:?}");
        }
        assert_eq!(key("ÄNN"), key("änn"));
    }

    #[test]
    fn a_name_is_the_same_however_its_letters_were_composed() {
        assert_eq!(shown("Zoe\u{308}"), Ok("Zo\u{eb}".to_owned()));
        assert_eq!(shown("\u{304b}\u{3099}"), Ok("\u{304c}".to_owned()));
        assert_eq!(shown(&"e\u{308}".repeat(32)), Ok("\u{eb}".repeat(32)));
        assert_eq!(shown("नमस्ते"), Ok("नमस्ते".to_owned()));
    }
}
