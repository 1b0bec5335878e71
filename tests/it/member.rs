//! Someone on a node of the example `reference`: in a room, and present in it.

use std::{
    collections::{BTreeSet, VecDeque},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{PATIENCE, client::Client, http::get, server::Server};

const ROOM: &str = "ref:room";
pub(crate) const PRESENCE: &str = "presence:room";

const POLL: Duration = Duration::from_millis(5);

pub(crate) struct Member {
    pub(crate) name: String,
    client: Client,
    next_ref: u64,
    heard: VecDeque<Value>,
    /// What was said to find out whether it is heard.
    marks: Vec<Value>,
}

impl Member {
    /// Connects and joins.
    pub(crate) fn enter(node: &Server, name: &str) -> Self {
        let mut client = Client::joined(node.port, ROOM);
        client.send(&json!(["2", "2", PRESENCE, "phx_join", { "user_id": name }]));
        let mut member =
            Self { name: name.to_owned(), client, next_ref: 3, heard: VecDeque::new(), marks: vec![] };
        member.answer("2");
        member
    }

    /// Says something to all in the room.
    pub(crate) fn says(&mut self, what: &Value) {
        self.client.send(&json!(["1", null, ROOM, "bcast", what]));
    }

    /// What was said next.
    pub(crate) fn hears(&mut self) -> Value {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let message = self.client.message();
            self.take(message);
        }
    }

    /// What has come and was not asked for yet.
    pub(crate) fn has_heard(&mut self) -> Vec<Value> {
        self.heard.drain(..).collect()
    }

    /// Says something of its own until others have heard it: what is said while there is no connection between nodes reaches
    /// nobody on another one.
    pub(crate) fn is_heard_by(&mut self, others: &mut [&mut Self]) {
        self.next_ref += 1;
        let mark = json!({ "from": self.name, "n": self.next_ref });
        let until = Instant::now() + PATIENCE;
        let mut rest: Vec<_> = others.iter_mut().collect();
        while !rest.is_empty() {
            assert!(Instant::now() < until, "{} is not heard by {}", self.name, rest[0].name);
            self.client.send(&json!(["1", null, ROOM, "bcast_from", mark]));
            rest.retain_mut(|other| {
                other.people();
                !std::mem::take(&mut other.marks).contains(&mark)
            });
            thread::sleep(POLL);
        }
    }

    /// Who is present, as its node says.
    pub(crate) fn people(&mut self) -> BTreeSet<String> {
        let reference = self.next_ref.to_string();
        self.next_ref += 1;
        self.client.send(&json!(["2", reference, PRESENCE, "list", {}]));
        let answer = self.answer(&reference);
        answer.as_object().unwrap().keys().cloned().collect()
    }

    /// Waits until its node says that these are present, and nobody else.
    pub(crate) fn sees(&mut self, people: &[&str]) {
        let wanted: BTreeSet<String> = people.iter().map(|&name| name.to_owned()).collect();
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.people();
            if seen == wanted {
                return;
            }
            assert!(Instant::now() < until, "{} sees {seen:?}, not {wanted:?}", self.name);
            thread::sleep(POLL);
        }
    }

    fn answer(&mut self, reference: &str) -> Value {
        loop {
            let mut message = self.client.message();
            if message[3] == "phx_reply" && message[1] == reference {
                assert_eq!(message[4]["status"], "ok", "{message}");
                return message[4]["response"].take();
            }
            self.take(message);
        }
    }

    fn take(&mut self, mut message: Value) {
        let payload = message[4].take();
        match message[3].as_str() {
            Some("bcast") => self.heard.push_back(payload),
            Some("bcast_from") => self.marks.push(payload),
            _ => {}
        }
    }
}

/// Waits until a node says something like this of the cluster.
pub(crate) fn says(node: &Server, wanted: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = get(node.port, "/readyz", &[]).text();
        if said.contains(wanted) {
            return;
        }
        assert!(Instant::now() < until, "expected {wanted}, got {said}: {}", node.log());
        thread::sleep(POLL);
    }
}
