//! What must be true of any run, whatever failed in it: a record of posts and of what clients saw, against what is stored in
//! the end.
//!
//! | rule | violated by |
//! |---|---|
//! | what was acknowledged or seen by anyone is stored, under the same id | [`Violation::Lost`] |
//! | an id has one content, for all clients and in the store | [`Violation::Changed`] |
//! | ids ascend without a gap, for each client and in the store | [`Violation::Gap`] |
//! | a post is there once at most, answered by an error or not at all included | [`Violation::Twice`] |
//! | what is there was posted | [`Violation::Unasked`] |
//! | likes that anyone saw are stored | [`Violation::Likes`] |

use std::collections::{BTreeMap, BTreeSet};

/// What a client was told about its post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has this id.
    Posted(u64),
    /// An error.
    Refused,
    /// Nothing, as the connection ended before.
    Unknown,
}

/// One try to post a content, which no other post of the run has, except for those that repeat it.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) content: String,
    pub(crate) outcome: Outcome,
}

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: u64,
    pub(crate) content: String,
    pub(crate) likes: u64,
}

/// What one connection did and saw, in that order.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) posts: Vec<Post>,
    /// The ids and contents of messages: those of its history, then those that were broadcast.
    pub(crate) seen: Vec<(u64, String)>,
    /// The ids of liked messages, and how many likes they had.
    pub(crate) liked: Vec<(u64, u64)>,
}

/// All connections of a run.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) witnesses: Vec<Witness>,
}

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// `by` knows of a message that is not stored.
    Lost { by: String, id: u64, content: String },
    /// `by` knows a message by another content than the one that is stored.
    Changed { by: String, id: u64, content: String, stored: String },
    /// `by` saw, after a message, one that is not the next.
    Gap { by: String, after: u64, then: u64 },
    /// One post is stored under two ids.
    Twice { content: String, first: u64, second: u64 },
    /// Nobody posted what is stored.
    Unasked { id: u64, content: String },
    /// `by` saw more likes than are stored.
    Likes { by: String, id: u64, seen: u64, stored: u64 },
}

impl Record {
    /// Checks it against all that is stored, in its order, once everything has healed.
    pub(crate) fn violations(&self, stored: &[Stored]) -> Vec<Violation> {
        let mut violations = twice(stored);
        violations.extend(gaps("the store", stored.iter().map(|message| message.id)));
        violations.extend(self.unasked(stored));
        let by_id: BTreeMap<u64, &Stored> = stored.iter().map(|message| (message.id, message)).collect();
        for witness in &self.witnesses {
            violations.extend(gaps(&witness.name, witness.seen.iter().map(|(id, _)| *id)));
            violations.extend(witness.known().filter_map(|known| witness.contradicts(known, &by_id)));
            violations.extend(witness.likes(&by_id));
        }
        violations
    }

    /// Fails with the first few violations, if there are any.
    pub(crate) fn check(&self, stored: &[Stored]) {
        let violations = self.violations(stored);
        let shown: Vec<_> = violations.iter().take(10).collect();
        assert!(violations.is_empty(), "{} violations, such as {shown:#?}", violations.len());
    }

    fn unasked(&self, stored: &[Stored]) -> Vec<Violation> {
        let posts = self.witnesses.iter().flat_map(|witness| &witness.posts);
        let asked: BTreeSet<&str> = posts.map(|post| post.content.as_str()).collect();
        let unasked = stored.iter().filter(|message| !asked.contains(message.content.as_str()));
        unasked
            .map(|Stored { id, content, .. }| Violation::Unasked { id: *id, content: content.clone() })
            .collect()
    }
}

impl Witness {
    /// The messages that must be there: what it saw, and what it was told of its own posts.
    fn known(&self) -> impl Iterator<Item = (u64, &str)> {
        let seen = self.seen.iter().map(|(id, content)| (*id, content.as_str()));
        seen.chain(self.posts.iter().filter_map(|post| match post.outcome {
            Outcome::Posted(id) => Some((id, post.content.as_str())),
            Outcome::Refused | Outcome::Unknown => None,
        }))
    }

    fn contradicts(&self, (id, content): (u64, &str), by_id: &BTreeMap<u64, &Stored>) -> Option<Violation> {
        let (by, content) = (self.name.clone(), content.to_owned());
        match by_id.get(&id) {
            None => Some(Violation::Lost { by, id, content }),
            Some(stored) if stored.content != content => {
                Some(Violation::Changed { by, id, content, stored: stored.content.clone() })
            }
            Some(_) => None,
        }
    }

    fn likes(&self, by_id: &BTreeMap<u64, &Stored>) -> Option<Violation> {
        self.liked.iter().find_map(|&(id, seen)| {
            let stored = by_id.get(&id).map_or(0, |message| message.likes);
            (seen > stored).then(|| Violation::Likes { by: self.name.clone(), id, seen, stored })
        })
    }
}

fn gaps(by: &str, ids: impl Iterator<Item = u64>) -> Vec<Violation> {
    let ids: Vec<u64> = ids.collect();
    let pairs = ids.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    pairs.map(|pair| Violation::Gap { by: by.to_owned(), after: pair[0], then: pair[1] }).collect()
}

fn twice(stored: &[Stored]) -> Vec<Violation> {
    let mut first = BTreeMap::new();
    let mut twice = Vec::new();
    for Stored { id, content, .. } in stored {
        if let Some(first) = first.insert(content, *id) {
            twice.push(Violation::Twice { content: content.clone(), first, second: *id });
        }
    }
    twice
}

mod tests {
    //! Runs that never were, each of which breaks one rule.

    use super::*;

    fn stored(contents: &[&str]) -> Vec<Stored> {
        let message = |(id, content): (u64, &&str)| Stored { id, content: (*content).to_owned(), likes: 2 };
        (1..).zip(contents).map(message).collect()
    }

    fn post(content: &str, outcome: Outcome) -> Post {
        Post { content: content.to_owned(), outcome }
    }

    fn seen(messages: &[(u64, &str)]) -> Vec<(u64, String)> {
        messages.iter().map(|(id, content)| (*id, (*content).to_owned())).collect()
    }

    /// Ann posts a, b, c and d: she is told of a and c, b is refused, and her connection ends over d. Bob comes when a is there.
    fn record() -> Record {
        let posts = vec![
            post("a", Outcome::Posted(1)),
            post("b", Outcome::Refused),
            post("c", Outcome::Posted(2)),
            post("d", Outcome::Unknown),
        ];
        let ann = Witness { name: "ann".to_owned(), posts, ..Witness::default() };
        let bob = Witness {
            name: "bob".to_owned(),
            seen: seen(&[(1, "a"), (2, "c")]),
            liked: vec![(1, 1), (1, 2)],
            ..Witness::default()
        };
        Record { witnesses: vec![ann, bob] }
    }

    /// The violations of bob, if he saw this instead.
    fn if_bob_saw(messages: &[(u64, &str)], contents: &[&str]) -> Vec<Violation> {
        let mut record = record();
        record.witnesses[1].seen = seen(messages);
        record.violations(&stored(contents))
    }

    #[test]
    fn what_was_refused_or_not_answered_may_be_there_or_not() {
        for contents in [&["a", "c"][..], &["a", "c", "d"], &["a", "c", "b"], &["a", "c", "d", "b"]] {
            assert_eq!(record().violations(&stored(contents)), [], "{contents:?}");
        }
    }

    #[test]
    fn who_comes_late_or_leaves_early_has_missed_nothing() {
        for messages in [&[][..], &[(1, "a")], &[(2, "c")]] {
            assert_eq!(if_bob_saw(messages, &["a", "c", "d"]), [], "{messages:?}");
        }
    }

    #[test]
    fn a_message_that_was_acknowledged_or_seen_and_is_not_stored_is_lost() {
        let lost = |by: &str| Violation::Lost { by: by.to_owned(), id: 2, content: "c".to_owned() };
        assert_eq!(record().violations(&stored(&["a"])), [lost("ann"), lost("bob")]);
        // seen alone: its poster was told nothing
        let mut record = record();
        record.witnesses[0].posts[2].outcome = Outcome::Unknown;
        assert_eq!(record.violations(&stored(&["a"])), [lost("bob")]);
    }

    #[test]
    fn an_id_with_two_contents_is_changed() {
        let changed = |by: &str, content: &str, stored: &str| Violation::Changed {
            by: by.to_owned(),
            id: 2,
            content: content.to_owned(),
            stored: stored.to_owned(),
        };
        assert_eq!(if_bob_saw(&[(1, "a"), (2, "d")], &["a", "c", "d"]), [changed("bob", "d", "c")]);
        let all = record().violations(&stored(&["a", "d", "c"]));
        assert_eq!(all, [changed("ann", "c", "d"), changed("bob", "c", "d")]);
    }

    #[test]
    fn an_id_that_is_left_out_or_comes_again_or_too_late_is_a_gap() {
        let gap = |by: &str, after, then| Violation::Gap { by: by.to_owned(), after, then };
        let contents = ["a", "c", "d"];
        assert_eq!(if_bob_saw(&[(1, "a"), (3, "d")], &contents), [gap("bob", 1, 3)]);
        assert_eq!(if_bob_saw(&[(1, "a"), (2, "c"), (2, "c")], &contents), [gap("bob", 2, 2)]);
        assert_eq!(if_bob_saw(&[(2, "c"), (1, "a")], &contents), [gap("bob", 2, 1)]);
        let mut stored = stored(&contents);
        stored[2].id = 4;
        assert_eq!(record().violations(&stored), [gap("the store", 2, 4)]);
    }

    #[test]
    fn a_post_that_is_stored_twice_is_a_violation_whatever_its_client_was_told() {
        for content in ["b", "c", "d"] {
            let twice = |first, second| Violation::Twice { content: content.to_owned(), first, second };
            let expected = if content == "c" { twice(2, 3) } else { twice(3, 4) };
            let contents: Vec<&str> = match content {
                "c" => vec!["a", "c", "c"],
                content => vec!["a", "c", content, content],
            };
            assert_eq!(record().violations(&stored(&contents)), [expected]);
        }
    }

    #[test]
    fn a_message_that_nobody_posted_is_a_violation() {
        let unasked = Violation::Unasked { id: 3, content: "e".to_owned() };
        assert_eq!(record().violations(&stored(&["a", "c", "e"])), [unasked]);
    }

    #[test]
    fn likes_that_someone_saw_and_are_not_stored_are_lost() {
        let mut messages = stored(&["a", "c"]);
        messages[0].likes = 1;
        let likes = Violation::Likes { by: "bob".to_owned(), id: 1, seen: 2, stored: 1 };
        assert_eq!(record().violations(&messages), [likes]);
    }

    #[test]
    #[should_panic(expected = "1 violations, such as")]
    fn a_violation_fails_the_test() {
        record().check(&stored(&["a", "c", "e"]));
    }
}
