//! Clients that post while something fails, on a server with any store: what they were told must agree with what is stored.
//!
//! ```text
//! let mut ordeal = Ordeal::new(|| Launch::chat().set("STORE", …));
//! ordeal.round(|server, watcher| {
//!     watcher.sees(100);
//!     server.signal("KILL");
//! });
//! ```

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    checker::{Outcome, Post, Record, Stored, Witness},
    client::Item,
    guest::Guest,
    server::{Launch, Server},
};

/// Clients that post. Every other one gives its posts a nonce, and repeats in the next round what was not answered.
const POSTERS: usize = 6;

/// Several servers of one store, one after the other, and all that their clients did and saw.
pub(crate) struct Ordeal<L> {
    launch: L,
    patience: Duration,
    record: Record,
    rounds: usize,
    /// For each poster, the post with a nonce that was not answered.
    unanswered: [Option<String>; POSTERS],
}

impl<L: Fn() -> Launch> Ordeal<L> {
    /// `launch` makes a server of the store, which keeps all messages.
    pub(crate) fn new(launch: L) -> Self {
        let (record, unanswered) = (Record::default(), Default::default());
        Self { launch, patience: PATIENCE, record, rounds: 0, unanswered }
    }

    /// Its clients wait this long for what must come.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Starts a server and lets clients post, each as fast as it is answered, until `fault` returns. If the server still runs
    /// then, each of them must get one more post through: it has healed. Kills the server, and checks what another one has.
    /// Returns how many messages that are.
    pub(crate) fn round(&mut self, fault: impl FnOnce(&Server, &mut Watcher)) -> usize {
        self.round_on(1, |servers, watcher| fault(&servers[0], watcher))
    }

    /// The same with so many servers at a time, which share the store. The watcher is a client of the first.
    pub(crate) fn round_on(&mut self, nodes: usize, fault: impl FnOnce(&[Server], &mut Watcher)) -> usize {
        self.rounds += 1;
        let servers: Vec<Server> = (0..nodes).map(|_| (self.launch)().start()).collect();
        let enter = |at: usize, name: &str| {
            let mut watcher = Watcher::enter(&servers[at % nodes], format!("{}.{name}", self.rounds));
            watcher.guest.client.patience = self.patience;
            watcher
        };
        // all of them before anyone posts: a broadcast may come before the history that a join pushes
        let (mut watcher, liker) = (enter(0, "watcher"), enter(0, "liker"));
        // what was not answered is repeated on another server
        let posters: Vec<_> = (0..POSTERS).map(|n| enter(n / 2 + self.rounds, &n.to_string())).collect();
        let (unanswered, is_over) = (&mut self.unanswered, &AtomicBool::new(false));
        let witnesses: Vec<Witness> = thread::scope(|scope| {
            let liker = scope.spawn(move || liker.likes_on(is_over));
            let posters = posters.into_iter().zip(unanswered).enumerate();
            let posters: Vec<_> = posters
                .map(|(n, (poster, unanswered))| {
                    scope.spawn(move || poster.posts_on(n % 2 == 0, unanswered, is_over))
                })
                .collect();
            fault(&servers, &mut watcher);
            is_over.store(true, Ordering::Release);
            posters.into_iter().chain([liker]).map(|client| client.join().unwrap()).collect()
        });
        drop(servers);
        self.record.witnesses.push(watcher.witness);
        self.record.witnesses.extend(witnesses);
        let stored = self.stored();
        self.record.check(&stored);
        self.tell(&stored);
        stored.len()
    }

    /// How many posts were answered like this, in all rounds.
    pub(crate) fn posts(&self, wanted: impl Fn(Outcome) -> bool) -> usize {
        let posts = self.record.witnesses.iter().flat_map(|witness| &witness.posts);
        posts.filter(|post| wanted(post.outcome)).count()
    }

    /// All that a new server of the store has.
    fn stored(&self) -> Vec<Stored> {
        let all = (self.launch)().set("HISTORY_LIMIT", 10_000_000).set("HISTORY_BYTES", 1 << 30);
        let stored = |message: &Value| Stored {
            id: message["id"].as_u64().unwrap(),
            content: message["content"].as_str().unwrap().to_owned(),
            likes: message["likes"].as_u64().unwrap(),
        };
        Guest::enter(&all.start()).1.iter().map(stored).collect()
    }

    fn tell(&self, stored: &[Stored]) {
        println!(
            "after round {}: {} messages, {} likes; {} posts acknowledged, {} refused, {} unanswered",
            self.rounds,
            stored.len(),
            stored.iter().map(|message| message.likes).sum::<u64>(),
            self.posts(|outcome| matches!(outcome, Outcome::Posted(_))),
            self.posts(|outcome| outcome == Outcome::Refused),
            self.posts(|outcome| outcome == Outcome::Unknown),
        );
    }
}

/// A client that records what it sees.
pub(crate) struct Watcher {
    guest: Guest,
    witness: Witness,
}

/// What a client is interested in.
enum Heard {
    /// A message was broadcast.
    Message(String, u64),
    Liked,
    /// A reply: its ref, and its response if the status is `ok`.
    Reply(String, Option<Value>),
    End,
}

impl Watcher {
    fn enter(server: &Server, name: String) -> Self {
        let (guest, history) = Guest::enter(server);
        let mut watcher = Self { guest, witness: Witness { name, ..Witness::default() } };
        for message in history {
            watcher.sees_message(&message);
        }
        watcher
    }

    /// Waits until so many messages more were broadcast.
    pub(crate) fn sees(&mut self, messages: usize) {
        let until = Instant::now() + PATIENCE;
        let wanted = self.witness.seen.len() + messages;
        while self.witness.seen.len() < wanted {
            assert!(!matches!(self.hears(), Heard::End), "the connection ended");
            assert!(Instant::now() < until, "not so many messages");
        }
    }

    /// Posts again and again, until the connection ends or it is over and one post more was acknowledged.
    fn posts_on(mut self, is_named: bool, unanswered: &mut Option<String>, is_over: &AtomicBool) -> Witness {
        let mut healing = Healing::new(is_over);
        for n in 0.. {
            let is_last = healing.has_begun();
            let content = unanswered.take().unwrap_or_else(|| format!("{}:{n}", self.witness.name));
            let nonce = is_named.then_some(&content);
            let reference = self.guest.push("new_message", &json!({ "message": content, "nonce": nonce }));
            let outcome = self.learns(&reference, &content, is_named);
            if is_named && outcome == Outcome::Unknown {
                *unanswered = Some(content.clone());
            }
            self.witness.posts.push(Post { content, outcome });
            match outcome {
                Outcome::Unknown => break,
                Outcome::Posted(_) if is_last => break,
                Outcome::Posted(_) | Outcome::Refused => {}
            }
        }
        self.witness
    }

    /// Waits for a post's outcome: a reply, or without a nonce, the message itself.
    fn learns(&mut self, reference: &str, content: &str, is_named: bool) -> Outcome {
        loop {
            match self.hears() {
                Heard::Message(own, id) if !is_named && own == content => return Outcome::Posted(id),
                Heard::Reply(own, Some(response)) if own == reference => {
                    return Outcome::Posted(response["id"].as_u64().unwrap());
                }
                Heard::Reply(own, None) if own == reference => return Outcome::Refused,
                Heard::End => return Outcome::Unknown,
                _ => {}
            }
        }
    }

    /// Likes the first message again and again, as long as others post.
    fn likes_on(mut self, is_over: &AtomicBool) -> Witness {
        let mut healing = Healing::new(is_over);
        loop {
            let is_last = healing.has_begun();
            let reference = self.guest.push("like_message", &json!({ "message_id": 1 }));
            let is_liked = loop {
                match self.hears() {
                    Heard::Reply(own, response) if own == reference => break response.is_some(),
                    Heard::End => return self.witness,
                    _ => {}
                }
            };
            if is_liked && is_last {
                return self.witness;
            }
        }
    }

    fn hears(&mut self) -> Heard {
        let mut message = match self.guest.client.next() {
            Item::Text(message) => message,
            Item::Eof => return Heard::End,
            item => panic!("{item:?}"),
        };
        let payload = message[4].take();
        match message[3].as_str().unwrap() {
            "new_message" => {
                let (id, content) = self.sees_message(&payload["message"]);
                Heard::Message(content, id)
            }
            "message_liked" => {
                let number = |field: &str| payload["message"][field].as_u64().unwrap();
                self.witness.liked.push((number("id"), number("likes")));
                Heard::Liked
            }
            "phx_reply" => {
                let is_ok = payload["status"] == "ok";
                let reasons = [json!("message store unavailable"), json!("message not found")];
                assert!(is_ok || reasons.contains(&payload["response"]["reason"]), "{payload}");
                Heard::Reply(
                    message[1].as_str().unwrap().to_owned(),
                    is_ok.then(|| payload["response"].clone()),
                )
            }
            event => panic!("{event}: {payload}"),
        }
    }

    fn sees_message(&mut self, message: &Value) -> (u64, String) {
        let seen = (message["id"].as_u64().unwrap(), message["content"].as_str().unwrap().to_owned());
        self.witness.seen.push(seen.clone());
        seen
    }
}

/// The time after a fault, in which all must come back to normal.
struct Healing<'a> {
    is_over: &'a AtomicBool,
    until: Option<Instant>,
}

impl<'a> Healing<'a> {
    fn new(is_over: &'a AtomicBool) -> Self {
        Self { is_over, until: None }
    }

    /// Whether the fault is over.
    ///
    /// # Panics
    /// If it has been for too long.
    fn has_begun(&mut self) -> bool {
        if !self.is_over.load(Ordering::Acquire) {
            return false;
        }
        let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        assert!(Instant::now() < until, "nothing is accepted {PATIENCE:?} after the fault");
        true
    }
}
