//! What any JSON from a client must keep to before a part of it may be passed on unread.

use std::fmt;

/// Arrays and objects within each other; what serde_json accepts when it builds a value (its `recursion_limit`), and
/// so what a receiver in Rust can read.
pub const MAX_DEPTH: usize = 128;

/// Why JSON that parses is refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An escape such as `\ud800` that stands for no character: strict parsers of other clients would fail on it.
    LoneSurrogate,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(f, "JSON nested deeper than {MAX_DEPTH} levels"),
            Self::LoneSurrogate => f.write_str("JSON with an escape of half a character"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Judges JSON text that is known to be well formed, in one pass without recursion.
pub(super) fn check(json: &[u8]) -> Result<(), Unfit> {
    if json.len() <= MAX_DEPTH && !json.contains(&b'\\') {
        // too short to nest so deep
        return Ok(());
    }
    let mut depth = 0usize;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Unfit::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(json, at + 1)?,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The index of the quote that ends the string whose text begins at `at`.
fn string_end(json: &[u8], mut at: usize) -> Result<usize, Unfit> {
    while at < json.len() {
        match json[at] {
            b'"' => break,
            b'\\' => match code_unit(json, at) {
                Some(0xD800..0xDC00) => match code_unit(json, at + 6) {
                    Some(0xDC00..0xE000) => at += 12,
                    _ => return Err(Unfit::LoneSurrogate),
                },
                Some(0xDC00..0xE000) => return Err(Unfit::LoneSurrogate),
                Some(_) => at += 6,
                None => at += 2,
            },
            _ => at += 1,
        }
    }
    Ok(at)
}

/// The UTF-16 code unit that an escape (`\u` and four digits) at `at` spells, if there is one.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let escape = json.get(at..at + 6)?.strip_prefix(br"\u")?;
    u16::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings_only() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(check(deep.as_bytes()), Ok(()));
        assert_eq!(check(format!("[{deep}]").as_bytes()), Err(Unfit::TooDeep));
        assert_eq!(check(format!("\"{}\"", "[".repeat(MAX_DEPTH + 1)).as_bytes()), Ok(()));
        assert_eq!(check("[1],".repeat(1_000).as_bytes()), Ok(()), "siblings do not nest");
    }

    #[test]
    fn a_pair_of_surrogates_is_fine_and_a_lone_one_is_not() {
        assert_eq!(check(br#""\ud83d\udc4b""#), Ok(()));
        assert_eq!(check(br#""\ud83d""#), Err(Unfit::LoneSurrogate));
        assert_eq!(check(br#""\ud83dx\udc4b""#), Err(Unfit::LoneSurrogate));
        assert_eq!(check(br#""\udc4b""#), Err(Unfit::LoneSurrogate));
        assert_eq!(check(br#""\\ud83d""#), Ok(()), "an escaped backslash begins no escape");
        assert_eq!(check(br#""\"\u00e9[""#), Ok(()));
    }
}
