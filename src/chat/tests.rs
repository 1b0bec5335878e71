//! The lobby's channel, tested without a network.

use actix_web::web::Data;
use serde_json::{Value, json};

use super::{
    Chat, LOBBY, MessageStore, UserSocket,
    message_log::{Memory, suite::LIMIT},
};
use hinotori::{
    Endpoint, Status,
    testing::{ChannelTest, TestSocket},
};

async fn connect(endpoint: &Endpoint, chat: &Data<Chat>) -> TestSocket {
    ChannelTest::new(endpoint).app_data(chat.clone()).connect::<UserSocket>().await.unwrap()
}

fn chat(endpoint: &Endpoint) -> Data<Chat> {
    Data::new(Chat {
        store: MessageStore::start(Box::new(Memory::default()), LIMIT, endpoint).unwrap(),
        message_max: 5,
    })
}

async fn lobby() -> TestSocket {
    let endpoint = Endpoint::new();
    let mut client = connect(&endpoint, &chat(&endpoint)).await;
    assert_eq!(client.subscribe_and_join(LOBBY, json!({})).await.unwrap(), json!({}));
    client.assert_push("load_messages", json!({ "messages": [] })).await;
    client
}

#[actix_web::test]
async fn a_post_is_broadcast_and_not_answered() {
    let mut client = lobby().await;
    let push = client.push(LOBBY, "new_message", json!({ "message": "hi" })).unwrap();
    let message = client.broadcast("new_message").await["message"].clone();
    assert_eq!(
        (&message["id"], &message["content"], &message["likes"]),
        (&json!(1), &json!("hi"), &json!(0))
    );
    client.refute_reply(push).await;
}

#[actix_web::test]
async fn a_like_is_broadcast_and_answered() {
    let mut client = lobby().await;
    let _ = client.push(LOBBY, "new_message", json!({ "message": "hi" })).unwrap();
    let like = client.push(LOBBY, "like_message", json!({ "message_id": "1" })).unwrap();
    client.assert_reply(like, Status::Ok, json!({})).await;
    assert_eq!(client.broadcast("message_liked").await["message"]["likes"], 1);
}

#[actix_web::test]
async fn a_post_with_a_nonce_is_answered_and_its_repetition_is_not_broadcast() {
    let mut client = lobby().await;
    for _ in 0..2 {
        let post = json!({ "message": "hi", "nonce": "5f0c" });
        let push = client.push(LOBBY, "new_message", post).unwrap();
        client.assert_reply(push, Status::Ok, json!({ "id": 1 })).await;
    }
    assert_eq!(client.broadcast("new_message").await["message"]["id"], 1);
    client.refute_broadcast("new_message").await;
}

#[actix_web::test]
async fn who_comes_back_gets_what_they_missed_and_no_history() {
    let endpoint = Endpoint::new();
    let chat = chat(&endpoint);
    let mut ann = connect(&endpoint, &chat).await;
    let first = ann.subscribe_and_join(LOBBY, json!({ "last_seen_id": 0, "epoch": null })).await.unwrap();
    assert_eq!((&first["recovered"], &first["reason"]), (&json!(false), &json!("epoch")));
    ann.assert_push("load_messages", json!({ "messages": [] })).await;
    for message in ["a", "b"] {
        let _ = ann.push(LOBBY, "new_message", json!({ "message": message })).unwrap();
        ann.broadcast("new_message").await;
    }
    let like = ann.push(LOBBY, "like_message", json!({ "message_id": 1 })).unwrap();
    ann.assert_reply(like, Status::Ok, json!({})).await;
    let mut bob = connect(&endpoint, &chat).await;
    let cursor = json!({ "last_seen_id": 1, "epoch": first["epoch"] });
    let reply = bob.subscribe_and_join(LOBBY, cursor).await.unwrap();
    assert_eq!((&reply["recovered"], &reply["last_id"]), (&json!(true), &json!(2)));
    assert_eq!((&reply["messages"][0]["content"], &reply["messages"][1]), (&json!("b"), &Value::Null));
    assert_eq!(reply["liked"], json!([{ "id": 1, "likes": 1 }]));
    let _ = ann.push(LOBBY, "new_message", json!({ "message": "c" })).unwrap();
    // nothing comes before it
    assert_eq!(bob.broadcast("new_message").await["message"]["id"], 3);
    bob.refute_push("load_messages").await;
    let refused = bob.leave(LOBBY);
    bob.assert_reply(refused, Status::Ok, json!({})).await;
    let bad = bob.subscribe_and_join(LOBBY, json!({ "last_seen_id": "1" })).await.unwrap_err().to_string();
    assert!(bad.contains("last_seen_id"), "{bad}");
}

#[actix_web::test]
async fn older_messages_are_answered() {
    let mut client = lobby().await;
    for message in ["a", "b", "c"] {
        let _ = client.push(LOBBY, "new_message", json!({ "message": message })).unwrap();
        client.broadcast("new_message").await;
    }
    for (ask, expected) in [
        (json!({ "id": 3, "limit": 1 }), json!([2])),
        (json!({ "id": 3 }), json!([1, 2])),
        (json!({ "id": 3, "limit": u64::MAX }), json!([1, 2])),
        (json!({ "id": 1 }), json!([])),
    ] {
        let push = client.push(LOBBY, "load_before", ask).unwrap();
        let (status, reply) = client.reply(push).await;
        let messages = reply["messages"].as_array().unwrap();
        let ids: Vec<&Value> = messages.iter().map(|message| &message["id"]).collect();
        assert_eq!((status, json!(ids)), (Status::Ok, expected));
    }
}

#[actix_web::test]
async fn who_joins_later_gets_what_was_said() {
    let endpoint = Endpoint::new();
    let chat = chat(&endpoint);
    let mut ann = connect(&endpoint, &chat).await;
    ann.subscribe_and_join(LOBBY, json!({})).await.unwrap();
    for message in ["a", "b"] {
        let _ = ann.push(LOBBY, "new_message", json!({ "message": message, "reply_to": 1 })).unwrap();
        ann.broadcast("new_message").await;
    }
    let mut bob = connect(&endpoint, &chat).await;
    bob.subscribe_and_join(LOBBY, json!({})).await.unwrap();
    let history = bob.pushed("load_messages").await;
    let quotes: Vec<&Value> =
        history["messages"].as_array().unwrap().iter().map(|message| &message["reply_to_content"]).collect();
    assert_eq!(quotes, [&Value::Null, &json!("a")]);
}

#[actix_web::test]
async fn bad_input_is_answered_and_the_channel_lives_on() {
    let mut client = lobby().await;
    for (event, payload, why) in [
        ("new_message", json!({ "message": 42 }), "invalid message"),
        ("new_message", json!([]), "invalid message"),
        ("new_message", json!({ "message": "sixsix" }), "message too long"),
        ("new_message", json!({ "message": "x", "reply_to": "1" }), "invalid reply_to"),
        ("new_message", json!({ "message": "x", "nonce": "" }), "invalid nonce"),
        ("new_message", json!({ "message": "x", "nonce": 7 }), "invalid nonce"),
        ("new_message", json!({ "message": "x", "nonce": "n".repeat(65) }), "invalid nonce"),
        ("load_before", json!({}), "invalid message id"),
        ("load_before", json!({ "id": -1 }), "invalid message id"),
        ("load_before", json!({ "id": 1, "limit": 0 }), "invalid limit"),
        ("load_before", json!({ "id": 1, "limit": "5" }), "invalid limit"),
        ("like_message", json!({}), "invalid message id"),
        ("like_message", json!({ "message_id": 7 }), "message not found"),
    ] {
        let push = client.push(LOBBY, event, payload).unwrap();
        client.assert_reply(push, Status::Error, json!({ "reason": why })).await;
    }
    client.refute_broadcast("new_message").await;
    let _ = client.push(LOBBY, "get_messages", json!({})).unwrap();
    client.assert_push("load_messages", json!({ "messages": [] })).await;
}

#[actix_web::test]
async fn an_unknown_event_crashes_the_channel_and_no_other_topic_can_be_joined() {
    let mut client = lobby().await;
    let _ = client.push(LOBBY, "no_such_event", json!({})).unwrap();
    client.assert_push("phx_error", json!({ "reason": "channel_crash" })).await;
    let refused = client.subscribe_and_join("chat:other", json!({})).await.unwrap_err();
    assert_eq!(refused.to_string(), r#"the join was refused: {"reason":"unmatched topic"}"#);
}

#[actix_web::test]
async fn one_who_leaves_hears_nothing_more() {
    let mut client = lobby().await;
    let leave = client.leave(LOBBY);
    client.assert_reply(leave, Status::Ok, json!({})).await;
    client.assert_push("phx_close", json!({})).await;
    let push = client.push(LOBBY, "get_messages", json!({})).unwrap();
    client.assert_reply(push, Status::Error, json!({ "reason": "unmatched topic" })).await;
}
