//! Clients' text in a log line: it cannot end the line, leave its quotes, or fill the disk.

use std::{
    fmt::{self, Write},
    net::IpAddr,
};

/// Bytes of one quoted text. Longer text is cut, with `…` after the quotes.
const LIMIT: usize = 256;

/// Quoted text. Quotes, backslashes and unprintable characters are escaped as in Rust: `"a\n\"b\""`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        f.write_char('"')?;
        for character in self.0.chars() {
            if written >= LIMIT {
                return f.write_str("\"…");
            }
            if character == '\'' {
                f.write_char(character)?;
                written += 1;
            } else {
                for escaped in character.escape_debug() {
                    f.write_char(escaped)?;
                    written += escaped.len_utf8();
                }
            }
        }
        f.write_char('"')
    }
}

/// As much of a text as a quoted one has.
#[cfg(feature = "tracing")]
pub(crate) fn beginning(text: &str) -> &str {
    let mut ends = (0..=LIMIT.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

/// A client's address, or `-` if it is unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address(pub(crate) Option<IpAddr>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_char('-'),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_printed_stays_and_all_else_is_escaped() {
        for (text, quoted) in [
            ("http://a.test:80/?x=it's", r#""http://a.test:80/?x=it's""#),
            ("日本語", r#""日本語""#),
            ("", r#""""#),
            ("a\" reason=\"b\\", r#""a\" reason=\"b\\""#),
            ("a\r\nevent=crashed\t\0\u{1b}[31m", r#""a\r\nevent=crashed\t\0\u{1b}[31m""#),
            ("\u{2028}\u{202e}\u{85}", r#""\u{2028}\u{202e}\u{85}""#),
        ] {
            assert_eq!(Quoted(text).to_string(), quoted);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(Quoted(&"x".repeat(LIMIT)).to_string(), format!("\"{}\"", "x".repeat(LIMIT)));
        assert_eq!(Quoted(&"x".repeat(1_000_000)).to_string(), format!("\"{}\"…", "x".repeat(LIMIT)));
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_quotes_or_its_line(text in any::<String>()) {
            let quoted = Quoted(&text).to_string();
            prop_assert!(!quoted.contains(char::is_control) && quoted.len() < LIMIT + 20);
            let inner = quoted.trim_end_matches('…').strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            prop_assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains('"'));
        }
    }
}
