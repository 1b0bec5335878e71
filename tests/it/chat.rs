//! The chat's events: what is taken, what is refused, and what comes back.

use serde_json::json;

use crate::{
    client::Client,
    guest::{Guest, LOBBY},
    normal::is_time,
    server::Launch,
};

#[test]
fn a_message_has_all_its_fields_and_its_time_has_six_digits_of_microseconds() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    let mut message = ann.posts("hello");
    let time = message["timestamp"].take();
    let time = time.as_str().unwrap();
    assert!(is_time(time) && time.len() == "2024-05-06T07:08:09.123456Z".len(), "{time}");
    let rest = json!({"id": 1, "content": "hello", "reply_to_id": null, "reply_to_content": null, "likes": 0, "timestamp": null});
    assert_eq!(message, rest);
}

#[test]
fn content_with_every_kind_of_escape_comes_back_equal_at_once_and_from_the_history() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    let written = r#"\" \\ \/ / \b \f \n \r \t \u0000 \u001f \u007f \u00e9 é \u2028 \ud83d\udd25 🔥 </script> <!-- & ' {"a":[1]}"#;
    let written = written.replace(r#"{"a":[1]}"#, r#"{\"a\":[1]}"#);
    ann.client.text(&format!(r#"["1","9","{LOBBY}","new_message",{{"message":"{written}"}}]"#));
    let meant = "\" \\ / / \u{8} \u{c} \n \r \t \u{0} \u{1f} \u{7f} é é \u{2028} 🔥 🔥 </script> <!-- & ' {\"a\":[1]}";
    assert_eq!(ann.hears("new_message")["content"], meant);
    let (_bob, history) = Guest::enter(&server);
    assert_eq!(history[0]["content"], meant);
    ann.push("new_message", &json!({"message": "quoted", "reply_to": 1}));
    assert_eq!(ann.hears("new_message")["reply_to_content"], meant);
}

#[test]
fn the_length_limit_counts_characters_not_bytes() {
    let server = Launch::chat().set("MESSAGE_MAX", 10).start();
    let (mut ann, _) = Guest::enter(&server);
    for character in ["x", "é", "火", "🔥"] {
        let fits = character.repeat(10);
        assert_eq!(ann.posts(&fits)["content"], fits);
        ann.is_refused("new_message", &json!({ "message": character.repeat(11) }), "message too long");
    }
    // e and a combining accent are two
    ann.is_refused("new_message", &json!({ "message": "e\u{301}".repeat(6) }), "message too long");
    // a refused message takes no id
    assert_eq!(ann.posts("next")["id"], 5);
}

#[test]
fn the_default_limit_of_4000_characters_holds_however_they_are_written() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    // the longest way to write a character: 48 kB for 4,000
    let escaped = r"\ud83d\udd25".repeat(4000);
    ann.client.text(&format!(r#"["1","9","{LOBBY}","new_message",{{"message":"{escaped}"}}]"#));
    assert_eq!(ann.hears("new_message")["content"], "🔥".repeat(4000));
    ann.is_refused("new_message", &json!({ "message": "x".repeat(4001) }), "message too long");
}

#[test]
fn what_is_not_a_message_is_refused_with_its_reason_and_the_channel_stays() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    for payload in [json!({}), json!({"message": null}), json!({"message": 1}), json!({"message": ["x"]})] {
        ann.is_refused("new_message", &payload, "invalid message");
    }
    for reply_to in [json!("1"), json!(1.5), json!(true), json!([1]), json!({})] {
        ann.is_refused("new_message", &json!({"message": "x", "reply_to": reply_to}), "invalid reply_to");
    }
    for id in [json!(null), json!(""), json!("x1"), json!(" 1"), json!(true), json!([1])] {
        ann.is_refused("like_message", &json!({ "message_id": id }), "invalid message id");
    }
    for id in [json!(0), json!(-1), json!(1), json!("-1"), json!(u64::MAX)] {
        ann.is_refused("like_message", &json!({ "message_id": id }), "message not found");
    }
    assert_eq!(ann.posts("still here")["id"], 1);
}

#[test]
fn a_like_takes_an_integer_or_a_string_that_starts_with_one() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    ann.posts("like me");
    for (likes, id) in [json!(1), json!("1"), json!("1st"), json!("01")].iter().enumerate() {
        assert_eq!(ann.likes(id)["likes"], likes + 1, "{id}");
    }
}

#[test]
fn everyone_hears_of_a_post_and_of_a_like_once() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    let (mut bob, _) = Guest::enter(&server);
    let posted = ann.posts("hi");
    assert_eq!(bob.hears("new_message"), posted);
    let liked = bob.likes(&posted["id"]);
    assert_eq!(liked["likes"], 1);
    assert_eq!(ann.hears("message_liked"), liked);
    ann.client.beat();
    bob.client.beat();
}

#[test]
fn no_topic_but_the_lobby_can_be_joined() {
    let server = Launch::chat().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    for topic in ["chat:other", "chat:", "chat:lobby2", "chat:lobb", "lobby", "", "*", "chat:*"] {
        client.send(&json!(["1", "2", topic, "phx_join", {}]));
        let response = json!({"status": "error", "response": {"reason": "unmatched topic"}});
        client.expect(&json!([null, "2", topic, "phx_reply", response]));
    }
}

#[test]
fn the_chat_speaks_version_1_too() {
    let server = Launch::chat().start();
    let mut client = Client::open(server.port, "/socket/websocket");
    client.send(&json!({"topic": LOBBY, "event": "phx_join", "payload": {}, "ref": "1"}));
    let ok = json!({"status": "ok", "response": {}});
    client.expect(&json!({"topic": LOBBY, "event": "phx_reply", "payload": ok, "ref": "1"}));
    client
        .expect(&json!({"topic": LOBBY, "event": "load_messages", "payload": {"messages": []}, "ref": null}));
    client.send(
        &json!({"topic": LOBBY, "event": "new_message", "payload": {"message": "old client"}, "ref": "2"}),
    );
    let heard = client.message();
    assert_eq!(
        (&heard["event"], &heard["payload"]["message"]["content"]),
        (&json!("new_message"), &json!("old client"))
    );
}
