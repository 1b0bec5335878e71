//! What the chat writes into its log, and what it never writes there.

use std::time::Duration;

use serde_json::json;

use crate::{
    client::Client,
    guest::{Guest, LOBBY},
    server::{Launch, Server},
};

/// Nothing that is not part of a message contains it.
const PRIVATE: &str = "between-you-and-me";

fn log_to_the_end(mut server: Server) -> String {
    server.signal("TERM");
    server.wait_exit(Duration::from_secs(5));
    server.log()
}

#[test]
fn the_log_never_has_a_messages_content_whether_it_was_taken_or_not() {
    let server = Launch::chat().set("MESSAGE_MAX", 50).start();
    let (mut ann, _) = Guest::enter(&server);
    ann.posts(PRIVATE);
    ann.likes(&json!(1));
    ann.push("new_message", &json!({"message": PRIVATE, "reply_to": 1}));
    ann.hears("new_message");
    ann.is_refused("new_message", &json!({ "message": PRIVATE.repeat(9) }), "message too long");
    ann.is_refused("new_message", &json!({ "message": [PRIVATE] }), "invalid message");
    ann.is_refused("new_message", &json!({"message": PRIVATE, "reply_to": PRIVATE}), "invalid reply_to");
    ann.is_refused("like_message", &json!({ "message_id": PRIVATE }), "invalid message id");
    // an event that nothing handles crashes the channel, with its payload in hand
    ann.push("no_such_event", &json!({ "message": PRIVATE }));
    ann.client.expect(&json!(["1", "1", LOBBY, "phx_error", {"reason": "channel_crash"}]));
    // and a message that does not decode ends the socket
    ann.client.text(&format!(r#"["1","2","{LOBBY}","new_message",{{"message":"{PRIVATE}"#));
    ann.client.closes(1011);
    let mut bob = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    bob.text(&format!("\"{PRIVATE}\""));
    bob.closes(1011);
    let log = log_to_the_end(server);
    assert!(log.contains(LOBBY), "the log is empty: {log}");
    assert!(!log.contains(PRIVATE), "{log}");
}

#[test]
fn joins_leaves_and_crashes_are_logged_with_their_topic_and_how_long_they_took() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    let joined = server.log_line(|line| line.contains(LOBBY) && line.to_lowercase().contains("join"));
    assert!(has_duration(&joined), "{joined}");
    let reference = ann.push("phx_leave", &json!({}));
    ann.client.expect(&json!(["1", reference, LOBBY, "phx_reply", {"status": "ok", "response": {}}]));
    let left = server.log_line(|line| {
        line.contains(LOBBY) && ["left", "leave"].iter().any(|word| line.to_lowercase().contains(word))
    });
    assert!(has_duration(&left), "{left}");
    let (mut bob, _) = Guest::enter(&server);
    bob.push("no_such_event", &json!({}));
    server.log_line(|line| line.contains(LOBBY) && line.to_lowercase().contains("crash"));
    assert!(
        !log_to_the_end(server).contains("panicked"),
        "an event that nothing handles is not a bug of the server"
    );
}

/// A number and its unit of time, as in `12 µs`, `3ms` or `1.5s`.
fn has_duration(line: &str) -> bool {
    ["ns", "µs", "us", "ms", "s"].iter().any(|unit| {
        line.match_indices(unit).any(|(at, _)| {
            let (before, after) = (line[..at].trim_end(), &line[at + unit.len()..]);
            before.ends_with(|c: char| c.is_ascii_digit()) && !after.starts_with(char::is_alphanumeric)
        })
    })
}
