//! One conversation on every version over every transport: the rules are the same everywhere.
//!
//! It is written once, in the terms of version 2; a version or a transport only says how a message looks on its wire.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{
    client::Client,
    http::{exchange, get},
    server::{Launch, Server},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn query(self) -> &'static str {
        match self {
            Self::One => "vsn=1.0.0",
            Self::Two => "vsn=2.0.0",
        }
    }

    /// What a client sends, or what it must get: version 1 has no join_ref.
    fn on_the_wire(self, message: &Value) -> Value {
        match self {
            Self::One => {
                json!({ "topic": message[2], "event": message[3], "payload": message[4], "ref": message[1] })
            }
            Self::Two => message.clone(),
        }
    }

    /// `phx_close` and `phx_error` carry the join_ref as their ref too, and so none in version 1.
    fn ended(self, topic: &str, event: &str, payload: &Value) -> Value {
        let reference = if self == Self::One { Value::Null } else { json!("1") };
        self.on_the_wire(&json!(["1", reference, topic, event, payload]))
    }
}

trait Line {
    fn send(&mut self, message: &Value);
    fn receive(&mut self) -> Value;
}

impl Line for Client {
    fn send(&mut self, message: &Value) {
        Self::send(self, message);
    }

    fn receive(&mut self) -> Value {
        self.message()
    }
}

/// A client on long poll.
struct Poller {
    port: u16,
    path: String,
    inbox: VecDeque<Value>,
}

impl Poller {
    fn open(port: u16, version: Version) -> Self {
        let path = format!("/socket/longpoll?{}", version.query());
        let opened: Value = serde_json::from_slice(&get(port, &path, &[]).body).unwrap();
        assert_eq!(opened["status"], 410);
        let path = format!("{path}&token={}", opened["token"].as_str().unwrap());
        Self { port, path, inbox: VecDeque::new() }
    }
}

impl Line for Poller {
    fn send(&mut self, message: &Value) {
        let reply =
            exchange(self.port, "POST", &self.path, &[], Some(message.to_string().as_bytes())).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), json!({ "status": 200 }));
    }

    fn receive(&mut self) -> Value {
        while self.inbox.is_empty() {
            let polled: Value = serde_json::from_slice(&get(self.port, &self.path, &[]).body).unwrap();
            assert_eq!(polled["status"], 200, "{polled}");
            let messages = polled["messages"].as_array().unwrap().clone();
            self.inbox
                .extend(messages.iter().map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap()));
        }
        self.inbox.pop_front().unwrap()
    }
}

/// What is said, and what comes back, in version 2's terms; null ref and join_ref where none is given.
fn body(topic: &str) -> Vec<(Value, Vec<Value>)> {
    let reply = |reference: &str, status: &str, response: Value| json!(["1", reference, topic, "phx_reply", { "status": status, "response": response }]);
    let unmatched = |reference: &str, topic: &str| json!([null, reference, topic, "phx_reply", { "status": "error", "response": { "reason": "unmatched topic" } }]);
    vec![
        (
            json!([null, "h", "phoenix", "heartbeat", {}]),
            vec![json!([null, "h", "phoenix", "phx_reply", { "status": "ok", "response": {} }])],
        ),
        (json!(["1", "0", topic, "echo", {}]), vec![unmatched("0", topic)]),
        (json!(["1", "j", "nobody:1", "phx_join", {}]), vec![unmatched("j", "nobody:1")]),
        (
            json!(["1", "1", topic, "phx_join", { "deny": true }]),
            vec![reply("1", "error", json!({ "reason": "denied" }))],
        ),
        (
            json!(["1", "1", topic, "phx_join", { "crash": true }]),
            vec![reply("1", "error", json!({ "reason": "join crashed" }))],
        ),
        (
            json!(["1", "1", topic, "phx_join", { "k": 1 }]),
            vec![reply("1", "ok", json!({ "echo": { "k": 1 } }))],
        ),
        (
            json!(["1", "2", topic, "echo", { "x": [1, null, "é"] }]),
            vec![reply("2", "ok", json!({ "x": [1, null, "é"] }))],
        ),
        (json!(["1", "3", topic, "echo_error", { "y": 1 }]), vec![reply("3", "error", json!({ "y": 1 }))]),
        (json!(["1", "4", topic, "async_echo", { "z": 1 }]), vec![reply("4", "ok", json!({ "z": 1 }))]),
        (
            json!(["1", "5", topic, "bcast", { "m": 1 }]),
            vec![json!([null, null, topic, "bcast", { "m": 1 }])],
        ),
        (json!(["1", "6", topic, "push", { "p": 1 }]), vec![json!(["1", null, topic, "pushed", { "p": 1 }])]),
        (
            json!(["1", "7", topic, "stop_reply", { "bye": 1 }]),
            vec![reply("7", "ok", json!({ "bye": 1 })), json!({ "ended": "phx_close", "payload": {} })],
        ),
        (json!(["1", "1", topic, "phx_join", {}]), vec![reply("1", "ok", json!({ "echo": {} }))]),
        (
            json!(["1", "8", topic, "crash", {}]),
            vec![json!({ "ended": "phx_error", "payload": { "reason": "channel_crash" } })],
        ),
        (json!(["1", "1", topic, "phx_join", {}]), vec![reply("1", "ok", json!({ "echo": {} }))]),
        (
            json!(["1", "9", topic, "phx_leave", {}]),
            vec![reply("9", "ok", json!({})), json!({ "ended": "phx_close", "payload": {} })],
        ),
        (json!(["1", "10", topic, "phx_leave", {}]), vec![reply("10", "ok", json!({}))]),
    ]
}

fn play(line: &mut impl Line, version: Version, topic: &str) {
    for (said, answers) in body(topic) {
        line.send(&version.on_the_wire(&said));
        for answer in answers {
            let wanted = match answer["ended"].as_str() {
                Some(event) => version.ended(topic, event, &answer["payload"]),
                None => version.on_the_wire(&answer),
            };
            assert_eq!(line.receive(), wanted, "{version:?}, after {said}");
        }
    }
}

fn server() -> Server {
    Launch::reference().set("WORKERS", 2).start()
}

#[test]
fn version_1_over_websocket() {
    let server = server();
    let path = format!("/socket/websocket?{}", Version::One.query());
    play(&mut Client::open(server.port, &path), Version::One, "ref:a");
}

#[test]
fn version_2_over_websocket() {
    let server = server();
    let path = format!("/socket/websocket?{}", Version::Two.query());
    play(&mut Client::open(server.port, &path), Version::Two, "ref:a");
}

#[test]
fn version_1_over_long_poll() {
    let server = server();
    play(&mut Poller::open(server.port, Version::One), Version::One, "ref:a");
}

#[test]
fn version_2_over_long_poll() {
    let server = server();
    play(&mut Poller::open(server.port, Version::Two), Version::Two, "ref:a");
}

#[test]
fn a_post_that_waits_for_room_in_the_outbox_holds_up_no_poll() {
    const ECHOES: usize = 40;
    let server = server();
    let mut poller = Poller::open(server.port, Version::Two);
    let (port, path) = (server.port, poller.path.clone());
    let post = move |messages: Vec<Value>| {
        let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
        let ndjson = [("Content-Type".to_owned(), "application/x-ndjson".to_owned())];
        exchange(port, "POST", &path, &ndjson, Some(lines.join("\n").as_bytes())).unwrap().text()
    };
    // 800 KB of replies, which nobody fetches yet: more than half of what may wait
    let content = "x".repeat(20 * 1024);
    let mut messages = vec![json!(["1", "1", "ref:a", "phx_join", {}])];
    messages.extend((0..ECHOES).map(|n| json!(["1", n, "ref:a", "echo", { "x": content }])));
    assert_eq!(post(messages), r#"{"status":200}"#);
    let waiting = std::thread::spawn(move || post(vec![json!(["1", "last", "ref:a", "echo", {}])]));
    // long enough for the second request to come before the first poll; if it does not, nothing waits
    std::thread::sleep(std::time::Duration::from_millis(100));
    poller.receive();
    for n in 0..ECHOES {
        assert_eq!(poller.receive()[1], n);
    }
    assert_eq!(poller.receive()[1], "last");
    assert_eq!(waiting.join().unwrap(), r#"{"status":200}"#);
}
