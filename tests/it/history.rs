//! The chat's history: what a join shows, and what is left when the oldest messages have gone.

use serde_json::{Value, json};

use crate::{
    guest::{Guest, ids},
    server::{Launch, Server},
};

/// A server that keeps five messages, and someone who has posted eight.
fn five_of_eight() -> (Server, Guest) {
    let server = Launch::chat().set("HISTORY_LIMIT", 5).start();
    let (mut ann, _) = Guest::enter(&server);
    for n in 1..=8 {
        assert_eq!(ann.posts(&format!("message {n}"))["id"], n);
    }
    (server, ann)
}

#[test]
fn a_join_shows_the_newest_messages_within_the_limit_and_ids_go_on() {
    let (server, mut ann) = five_of_eight();
    let (_bob, history) = Guest::enter(&server);
    assert_eq!(ids(&history), [4, 5, 6, 7, 8]);
    assert_eq!(ann.posts("one more")["id"], 9);
    assert_eq!(ids(&ann.history()), [5, 6, 7, 8, 9]);
}

#[test]
fn an_expired_message_cannot_be_liked() {
    let (_server, mut ann) = five_of_eight();
    ann.is_refused("like_message", &json!({"message_id": 3}), "message not found");
    assert_eq!(ann.likes(&json!(4))["likes"], 1);
}

#[test]
fn a_reply_to_an_expired_message_keeps_the_id_and_has_no_content_to_quote() {
    let (_server, mut ann) = five_of_eight();
    ann.push("new_message", &json!({"message": "too late", "reply_to": 1}));
    let reply = ann.hears("new_message");
    assert_eq!((&reply["reply_to_id"], &reply["reply_to_content"]), (&json!(1), &Value::Null));
}

#[test]
fn a_reply_still_quotes_a_message_that_expires_after_it() {
    let server = Launch::chat().set("HISTORY_LIMIT", 1).start();
    let (mut ann, _) = Guest::enter(&server);
    ann.posts("quote me");
    ann.push("new_message", &json!({"message": "a reply", "reply_to": 1}));
    ann.hears("new_message");
    let (_bob, history) = Guest::enter(&server);
    assert_eq!(ids(&history), [2]);
    assert_eq!(history[0]["reply_to_content"], "quote me");
}

#[test]
fn the_history_of_a_join_and_of_get_messages_has_the_likes() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    let posted: Vec<Value> = (0..3).map(|n| ann.posts(&format!("message {n}"))).collect();
    for _ in 0..12 {
        ann.likes(&json!(2));
    }
    let mut wanted = posted;
    wanted[1]["likes"] = json!(12);
    let (mut bob, history) = Guest::enter(&server);
    assert_eq!(history, wanted);
    assert_eq!(bob.history(), wanted);
}

#[test]
fn an_empty_history_is_an_empty_list() {
    let server = Launch::chat().start();
    let (mut ann, history) = Guest::enter(&server);
    assert!(history.is_empty() && ann.history().is_empty());
}
