//! Which topics a channel serves.

use std::fmt;

/// A topic pattern: a whole topic, or a prefix and `*`.
///
/// ```
/// # use hinotori_protocol::wire::Pattern;
/// let rooms = Pattern::parse("room:*")?;
/// assert!(rooms.matches("room:lobby") && rooms.matches("room:"));
/// assert!(!rooms.matches("rooms"));
/// # Ok::<_, hinotori_protocol::wire::InvalidPattern>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    open: bool,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] if it is empty or has a `*` anywhere except at its end, as in Phoenix.
    pub fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        let text = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || text.contains('*') {
            return Err(InvalidPattern(pattern.to_owned()));
        }
        Ok(Self { text: text.to_owned(), open: text.len() < pattern.len() })
    }

    /// Whether a topic matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if self.open { topic.starts_with(&self.text) } else { topic == self.text }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.open { "*" } else { "" })
    }
}

/// A pattern that is neither a topic nor a prefix and `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPattern(String);

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid topic pattern {:?}: expected a topic, or the beginning of one followed by *",
            self.0
        )
    }
}

impl std::error::Error for InvalidPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_pattern_matches_its_topic_alone() {
        let lobby = Pattern::parse("chat:lobby").unwrap();
        assert!(lobby.matches("chat:lobby"));
        assert!(!lobby.matches("chat:lobby2") && !lobby.matches("chat:") && !lobby.matches("Chat:lobby"));
    }

    #[test]
    fn a_star_matches_any_rest_and_the_star_itself() {
        let any = Pattern::parse("ref:*").unwrap();
        assert!(any.matches("ref:a") && any.matches("ref:") && any.matches("ref:*"));
        assert!(Pattern::parse("*").unwrap().matches("anything"));
    }

    #[test]
    fn a_star_elsewhere_is_refused() {
        assert!(Pattern::parse("room:*:x").is_err());
        assert!(Pattern::parse("**").is_err());
        assert!(Pattern::parse("").is_err());
    }
}
