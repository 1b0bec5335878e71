//! What a client sends that no page does.

use rooms::failure::Failure::{self, Invalid, NotFound, TooMany};
use serde_json::{Value, json};

use crate::kit::{Node, both, meet, refused};

#[actix_web::test]
async fn a_field_that_is_missing_or_wrong_is_named_and_the_channel_goes_on() {
    for node in both().await {
        let (mut client, room_id) = node.lobby().await;
        let id = client.post(&room_id, "hi").await;
        let long = "x".repeat(8_001);
        let in_room: &[(&str, Value, Failure)] = &[
            ("post", json!([]), Invalid("text")),
            ("post", json!({ "text": "hi" }), Invalid("nonce")),
            ("post", json!({ "text": "hi", "nonce": "" }), Invalid("nonce")),
            ("post", json!({ "text": "hi", "nonce": "n".repeat(65) }), Invalid("nonce")),
            ("post", json!({ "text": "hi", "nonce": "a\0" }), Invalid("nonce")),
            ("post", json!({ "text": " \n", "nonce": "1" }), Invalid("text")),
            ("post", json!({ "text": "a\0b", "nonce": "1" }), Invalid("text")),
            ("post", json!({ "text": long, "nonce": "1" }), Invalid("text")),
            ("post", json!({ "text": "hi", "nonce": "1", "reply_to": "1" }), Invalid("reply_to")),
            ("post", json!({ "text": "hi", "nonce": "1", "reply_to": 999_999 }), Invalid("reply_to")),
            ("post", json!({ "text": "hi", "nonce": "1", "picture_id": 1 }), Invalid("picture_id")),
            ("post", json!({ "text": "hi", "nonce": "1", "picture_id": "../etc" }), NotFound),
            (
                "post",
                json!({ "text": "hi", "nonce": "1", "picture_id": rooms::ids::new() }),
                Invalid("picture_id"),
            ),
            ("edit", json!({ "id": id, "text": "" }), Invalid("text")),
            ("edit", json!({ "id": id, "text": long }), Invalid("text")),
            ("edit", json!({ "id": 1.5, "text": "x" }), Invalid("id")),
            ("edit", json!({ "id": u64::MAX, "text": "x" }), Invalid("id")),
            ("delete", json!({ "id": -1 }), Invalid("id")),
            ("delete", json!({ "id": i64::MAX }), NotFound),
            ("react", json!({ "id": id, "emoji": "<script>", "on": true }), Invalid("emoji")),
            ("react", json!({ "id": id, "emoji": "👍", "on": 1 }), Invalid("on")),
            ("before", json!({}), Invalid("id")),
            ("after", json!({ "id": "1" }), Invalid("id")),
            ("around", json!({ "id": null }), Invalid("id")),
            ("changes", json!({ "last_seen_id": "0" }), Invalid("last_seen_id")),
        ];
        for (event, payload, failure) in in_room {
            let reply = client.tell(&room_id, event, payload.clone()).await;
            assert_eq!(reply, refused(failure), "{event} {payload}");
        }
        let own: &[(&str, Value, Failure)] = &[
            ("create_room", json!({ "name": "", "private": false }), Invalid("name")),
            ("create_room", json!({ "name": "x".repeat(33), "private": false }), Invalid("name")),
            ("create_room", json!({ "name": "a\u{202e}b", "private": false }), Invalid("name")),
            ("create_room", json!({ "name": "a" }), Invalid("private")),
            ("join_room", json!({ "room_id": "' OR 1=1 --" }), NotFound),
            ("join_room", json!({ "room_id": 1 }), Invalid("room_id")),
            ("read", json!({ "room_id": room_id, "id": "x" }), Invalid("id")),
            ("search", json!({ "text": "x", "before": -1 }), Invalid("before")),
            ("search", json!({ "text": 1 }), Invalid("text")),
            ("search", json!({ "text": "!?" }), Invalid("text")),
            ("accept", json!({ "code": "\0" }), Invalid("code")),
        ];
        for (event, payload, failure) in own {
            assert_eq!(client.ask(event, payload.clone()).await, refused(failure), "{event} {payload}");
        }
        // the longest that may be, with every character that is hard to store
        let text: String =
            "\u{1f525}\u{202e}\u{feff}\"\\\u{1}\u{7f}%_'".chars().cycle().take(8_000).collect();
        client.tell(&room_id, "edit", json!({ "id": id, "text": text })).await.unwrap();
        let page = client.tell(&room_id, "around", json!({ "id": id })).await.unwrap();
        assert_eq!(page["messages"][0]["text"], json!(text));
    }
}

#[actix_web::test]
async fn whoever_writes_too_fast_is_told_to_wait_and_others_are_not() {
    let node = Node::sqlite().await;
    let (mut one, mut two, room_id) = meet(&node, &node).await;
    let mut refusals = 0;
    for n in 0..80 {
        let reply = one.tell(&room_id, "post", json!({ "text": "spam", "nonce": n.to_string() })).await;
        if let Err(error) = reply {
            assert_eq!(error, TooMany.reason());
            refusals += 1;
        }
    }
    assert!(refusals > 0, "nothing stops it");
    two.post(&room_id, "calm").await;
}

#[actix_web::test]
async fn a_message_has_no_more_than_twenty_different_reactions() {
    for node in both().await {
        let (mut ann, room_id) = node.lobby().await;
        let id = ann.post(&room_id, "hi").await;
        for n in 0..20 {
            let emoji = char::from_u32(0x1f600 + n).unwrap().to_string();
            let react = json!({ "id": id, "emoji": emoji, "on": true });
            assert_eq!(ann.tell(&room_id, "react", react).await, Ok(json!({})));
        }
        let react = json!({ "id": id, "emoji": "👍", "on": true });
        assert_eq!(ann.tell(&room_id, "react", react).await, refused(&TooMany));
    }
}
