//! Topics of the server that are not what clients call them.

/// Stands in front of a scope and behind it. No topic that a client joins begins with it.
const MARK: char = '\0';

/// The topic of the channels that are in a [scope](crate::Context::scope). Their clients call it `topic`.
///
/// Use it where a topic of the server is meant: with [`Endpoint::broadcast`](crate::Endpoint::broadcast),
/// [`Endpoint::subscribe`](crate::Endpoint::subscribe) and [`Presence`](crate::Presence).
///
/// ```
/// let endpoint = hinotori::Endpoint::new();
/// let topic = hinotori::scoped_topic("private", "room:1");
/// endpoint.broadcast(&topic, "news", serde_json::json!({ "n": 1 }))?;
/// # Ok::<_, hinotori::PayloadError>(())
/// ```
///
/// # Panics
/// If the scope has a character NUL.
#[must_use]
pub fn scoped_topic(scope: &str, topic: &str) -> String {
    assert!(!scope.contains(MARK), "expected a scope without NUL, got {scope:?}");
    format!("{MARK}{scope}{MARK}{topic}")
}

/// Whether a topic has a scope, or looks so: no client may join it.
pub(crate) fn is_scoped(topic: &str) -> bool {
    topic.starts_with(MARK)
}

/// What clients call a topic.
pub(super) fn on_wire(topic: &str) -> &str {
    let scoped = topic.strip_prefix(MARK).and_then(|scoped| scoped.split_once(MARK));
    scoped.map_or(topic, |(_, topic)| topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_know_a_topic_without_its_scope() {
        for topic in ["room:1", "", "a\0b"] {
            assert_eq!(on_wire(topic), topic);
            assert_eq!(on_wire(&scoped_topic("private", topic)), topic);
            assert!(is_scoped(&scoped_topic("private", topic)) && !is_scoped(topic));
        }
        assert_ne!(scoped_topic("a", "b"), scoped_topic("", "b"));
    }

    #[test]
    #[should_panic(expected = "expected a scope without NUL")]
    fn a_scope_cannot_reach_into_the_topic() {
        let _ = scoped_topic("a\0b", "c");
    }
}
