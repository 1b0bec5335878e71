//! What a batch of commands comes to: computed between what a transaction reads and what it writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::{
    super::message::{Likes, Message},
    Command, Committed,
};

/// What a batch must know of the messages that there are.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) ids: BTreeSet<i64>,
    pub(super) nonces: BTreeSet<Vec<u8>>,
}

/// How far the topic has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    pub(super) last_id: u64,
    pub(super) last_rev: u64,
}

/// What there is of what is needed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) head: Head,
    pub(super) messages: HashMap<u64, Message>,
    pub(super) nonces: HashMap<Vec<u8>, u64>,
}

/// What a batch does.
#[derive(Debug)]
pub(super) struct Plan {
    /// How far the topic has come then.
    pub(super) head: Head,
    pub(super) posted: Vec<Row>,
    /// Likes of messages that were there before.
    pub(super) liked: BTreeMap<u64, Likes>,
    /// For each command, in its order.
    pub(super) outcomes: Vec<Committed>,
}

/// A message to be added.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) message: Message,
    pub(super) created_at: i64,
    pub(super) nonce: Option<Vec<u8>>,
}

impl Needs {
    /// What a command must know beside what it brings.
    pub(super) fn add(&mut self, command: &Command) {
        let id = match command {
            Command::Post { draft, quote } => {
                self.nonces.extend(draft.nonce().map(|nonce| nonce.as_bytes().to_vec()));
                draft.reply_to().filter(|_| quote.is_none())
            }
            Command::Like { id, .. } => Some(*id),
        };
        self.ids.extend(id.and_then(|id| i64::try_from(id).ok()));
    }
}

impl Plan {
    /// Carries commands out on what was found.
    pub(super) fn of<'a>(found: Found, commands: impl Iterator<Item = &'a Command>) -> Self {
        let mut state = State { head: found.head, found, posted: BTreeMap::new(), liked: BTreeMap::new() };
        let outcomes = commands.map(|command| state.carry_out(command)).collect();
        let State { head, posted, liked, .. } = state;
        Self { head, posted: posted.into_values().collect(), liked, outcomes }
    }
}

struct State {
    head: Head,
    found: Found,
    posted: BTreeMap<u64, Row>,
    liked: BTreeMap<u64, Likes>,
}

impl State {
    fn carry_out(&mut self, command: &Command) -> Committed {
        match command {
            Command::Post { draft, quote } => {
                let nonce = draft.nonce().map(|nonce| nonce.as_bytes().to_vec());
                if let Some(id) = nonce.as_ref().and_then(|nonce| self.found.nonces.get(nonce)) {
                    return Committed::Repeated(*id);
                }
                // the content of a message never changes: what the history has of it is what the table has
                let quoted = draft.reply_to().and_then(|id| self.message(id));
                let quote = quote.as_deref().or(quoted.map(Message::quote));
                let message = draft.message(self.head.last_id + 1, self.head.last_rev, quote);
                self.head.last_id = message.id();
                self.found.nonces.extend(nonce.clone().map(|nonce| (nonce, message.id())));
                let row = Row { message: message.clone(), created_at: draft.posted_at(), nonce };
                self.posted.insert(message.id(), row);
                Committed::Posted(message)
            }
            Command::Like { id, .. } => self.like(*id).map_or(Committed::NotFound, Committed::Liked),
        }
    }

    /// A message that was there, or that this batch adds.
    fn message(&self, id: i128) -> Option<&Message> {
        let id = u64::try_from(id).ok()?;
        self.posted.get(&id).map(|row| &row.message).or_else(|| self.found.messages.get(&id))
    }

    fn like(&mut self, id: i128) -> Option<Message> {
        let id = u64::try_from(id).ok()?;
        let is_new = self.posted.contains_key(&id);
        let message = match self.posted.get_mut(&id) {
            Some(row) => &mut row.message,
            None => self.found.messages.get_mut(&id)?,
        };
        self.head.last_rev += 1;
        *message = message.clone().liked(self.head.last_rev);
        if !is_new {
            self.liked.insert(id, message.likes());
        }
        Some(message.clone())
    }
}

/// The columns of some rows, as arrays.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) ids: Vec<i64>,
    pub(super) bodies: Vec<String>,
    pub(super) likes: Vec<i64>,
    pub(super) revs: Vec<i64>,
    pub(super) posted_revs: Vec<i64>,
    pub(super) created_at: Vec<i64>,
    pub(super) nonces: Vec<Option<Vec<u8>>>,
}

impl Columns {
    pub(super) fn of(rows: impl Iterator<Item = Row>) -> Self {
        let mut columns = Self::default();
        for Row { message, created_at, nonce } in rows {
            let likes = message.likes();
            columns.ids.push(message.id().cast_signed());
            columns.bodies.push(message.body());
            columns.likes.push(likes.count.cast_signed());
            columns.revs.push(likes.rev.cast_signed());
            columns.posted_revs.push(likes.posted_rev.cast_signed());
            columns.created_at.push(created_at);
            columns.nonces.push(nonce);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::super::message::Draft, *};

    const HEAD: Head = Head { epoch: 1, last_id: 4, last_rev: 2 };

    fn post(content: &str, reply_to: Option<i128>, nonce: Option<&str>) -> Command {
        Command::Post { draft: Draft::new(content, reply_to, nonce.map(str::to_owned)).unwrap(), quote: None }
    }

    fn like(id: i128) -> Command {
        Command::Like { id, known: None }
    }

    fn found() -> Found {
        let message = Draft::new("four", None, None).unwrap().message(4, 1, None);
        Found { head: HEAD, messages: [(4, message)].into(), nonces: [(b"old".to_vec(), 3)].into() }
    }

    fn ids(committed: &[Committed]) -> Vec<(&'static str, u64)> {
        let id = |committed: &Committed| match committed {
            Committed::Posted(message) => ("posted", message.id()),
            Committed::Liked(message) => ("liked", message.id()),
            Committed::Repeated(id) => ("repeated", *id),
            Committed::NotFound => ("not found", 0),
        };
        committed.iter().map(id).collect()
    }

    #[test]
    fn commands_see_what_those_before_them_in_the_batch_did() {
        let commands = [
            post("five", Some(4), Some("new")),
            post("again", None, Some("new")),
            post("again", None, Some("old")),
            like(5),
            like(4),
            like(5),
            post("six", Some(5), None),
            like(7),
            like(-1),
        ];
        let plan = Plan::of(found(), commands.iter());
        assert_eq!(
            ids(&plan.outcomes),
            [
                ("posted", 5),
                ("repeated", 5),
                ("repeated", 3),
                ("liked", 5),
                ("liked", 4),
                ("liked", 5),
                ("posted", 6),
                ("not found", 0),
                ("not found", 0),
            ]
        );
        assert_eq!(plan.head, Head { last_id: 6, last_rev: 5, ..HEAD });
        assert_eq!(plan.liked, [(4, Likes { count: 1, rev: 4, posted_rev: 1 })].into());
        // what is told of a post is what it was then; what is written has the likes of the batch
        let Committed::Posted(first) = &plan.outcomes[0] else { panic!("not posted") };
        assert_eq!((first.likes().count, first.likes().posted_rev), (0, 2));
        let columns = Columns::of(plan.posted.into_iter());
        assert_eq!((columns.ids, columns.likes, columns.revs), (vec![5, 6], vec![2, 0], vec![5, 5]));
        assert_eq!((columns.posted_revs, columns.nonces), (vec![2, 5], vec![Some(b"new".to_vec()), None]));
        assert!(columns.bodies[0].contains(r#""reply_to_content":"four""#), "{}", columns.bodies[0]);
        assert!(columns.bodies[1].contains(r#""reply_to_content":"five""#), "{}", columns.bodies[1]);
    }

    #[test]
    fn a_batch_needs_what_its_commands_do_not_bring() {
        let mut needs = Needs::default();
        for command in [post("a", Some(3), Some("x")), post("b", None, None), like(9), like(i128::MAX)] {
            needs.add(&command);
        }
        let draft = Draft::new("c", Some(1), None).unwrap();
        needs.add(&Command::Post { draft, quote: Some(b"\"one\"".to_vec()) });
        assert_eq!((needs.ids, needs.nonces), ([3, 9].into(), [b"x".to_vec()].into()));
    }
}
