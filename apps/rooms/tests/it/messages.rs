//! Posting, editing, deleting, reacting, reading.

use hinotori::testing::like;
use rooms::failure::Failure;
use serde_json::{Value, json};

use crate::kit::{both, meet, refused};

#[actix_web::test]
async fn a_message_is_posted_once_however_often_it_is_sent() {
    for node in both().await {
        let mut ann = node.welcome("Ann").await;
        let room_id = ann.create("lobby", false).await;
        let history = ann.enter(&room_id).await;
        assert_eq!(
            (&history["messages"], &history["last_id"], &history["more"]),
            (&json!([]), &json!(0), &json!(false))
        );

        let post = json!({ "text": "**hi**", "nonce": "n1" });
        let id = ann.tell(&room_id, "post", post.clone()).await.unwrap();
        let change = ann.socket.broadcast("change").await;
        assert_eq!(change["id"], 1);
        let message = &change["message"];
        assert_eq!(message["id"], id["id"]);
        assert_eq!(
            (&message["text"], &message["nonce"], &message["author"]),
            (&json!("**hi**"), &json!("n1"), &json!(ann.id))
        );
        for (field, value) in [
            ("edited_at", json!(null)),
            ("deleted", json!(false)),
            ("reply_to", json!(null)),
            ("picture", json!(null)),
            ("reactions", json!([])),
        ] {
            assert_eq!(message[field], value, "{field}");
        }
        assert_eq!(ann.tell(&room_id, "post", post).await, Ok(id));
        // whoever missed the first hears it again, at the same position
        assert_eq!(ann.socket.broadcast("change").await, change);
        ann.post(&room_id, "next").await;
        assert_eq!(ann.socket.broadcast("change").await["id"], 2);
    }
}

#[actix_web::test]
async fn edits_deletions_and_reactions_are_changes_and_a_deleted_text_is_gone() {
    for node in both().await {
        let (mut one, mut two, room_id) = meet(&node, &node).await;
        let id = one.post(&room_id, "a secret").await;
        let answer = json!({ "text": "what?", "nonce": "1", "reply_to": id });
        two.tell(&room_id, "post", answer).await.unwrap();
        two.socket.broadcast("change").await;
        let quote = json!({ "id": id, "author": one.id, "text": "a secret" });
        assert_eq!(two.socket.broadcast("change").await["message"]["reply_to"], quote);

        one.tell(&room_id, "edit", json!({ "id": id, "text": "no secret" })).await.unwrap();
        let edited = two.socket.broadcast("change").await;
        assert_eq!((&edited["id"], &edited["message"]["text"]), (&json!(3), &json!("no secret")));
        assert!(edited["message"]["edited_at"].is_string());
        // the same again changes nothing
        one.tell(&room_id, "edit", json!({ "id": id, "text": "no secret" })).await.unwrap();

        let react = |on: bool| json!({ "id": id, "emoji": "👍", "on": on });
        two.tell(&room_id, "react", react(true)).await.unwrap();
        two.tell(&room_id, "react", react(true)).await.unwrap();
        one.tell(&room_id, "react", react(true)).await.unwrap();
        two.socket.broadcast("change").await;
        let reacted = two.socket.broadcast("change").await;
        assert_eq!(reacted["id"], 5);
        assert_eq!(reacted["message"]["reactions"], json!([{ "emoji": "👍", "users": [two.id, one.id] }]));
        two.tell(&room_id, "react", react(false)).await.unwrap();
        assert_eq!(two.socket.broadcast("change").await["message"]["reactions"][0]["users"], json!([one.id]));

        one.tell(&room_id, "delete", json!({ "id": id })).await.unwrap();
        two.socket.assert_broadcast("change", like(json!({ "id": 7 }))).await;
        for event in ["edit", "delete", "react"] {
            let payload = json!({ "id": id, "text": "x", "emoji": "👍", "on": true });
            assert_eq!(one.tell(&room_id, event, payload).await, refused(&Failure::NotFound), "{event}");
        }
        // nobody can read it any more, by whatever way
        let everything: Vec<Value> = vec![
            two.tell(&room_id, "before", json!({ "id": 1_000_000 })).await.unwrap(),
            two.tell(&room_id, "around", json!({ "id": id })).await.unwrap(),
            two.tell(&room_id, "changes", json!({ "last_seen_id": 0 })).await.unwrap(),
            two.ask("search", json!({ "text": "secret" })).await.unwrap(),
        ];
        assert!(!format!("{everything:?}").contains("secret"), "{everything:#?}");
        assert_eq!(everything[0]["messages"][0]["deleted"], true);
        assert_eq!(
            everything[0]["messages"][1]["reply_to"],
            json!({ "id": id, "author": one.id, "text": null })
        );
        assert_eq!(everything[2]["changes"].as_array().unwrap().len(), 7);
    }
}

#[actix_web::test]
async fn older_messages_come_in_pages_and_around_one() {
    for node in both().await {
        let (mut ann, room_id) = node.lobby().await;
        let other = ann.create("other", false).await;
        ann.enter(&other).await;
        let mut ids = vec![];
        for n in 0..55 {
            ids.push(ann.post(&room_id, &format!("message {n}")).await);
            if n == 20 {
                ann.post(&other, "elsewhere").await;
            }
        }
        let of = |page: &Value| -> Vec<i64> {
            page["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["id"].as_i64().unwrap())
                .collect()
        };
        let history = ann.enter(&room_id).await;
        assert_eq!((of(&history), &history["more"]), (ids[5..].to_vec(), &json!(true)));
        let page = ann.tell(&room_id, "before", json!({ "id": ids[5] })).await.unwrap();
        assert_eq!((of(&page), &page["more"]), (ids[..5].to_vec(), &json!(false)));
        for (at, shown, more) in
            [(3, 4..54, true), (4, 5..55, false), (50, 51..55, false), (54, 55..55, false)]
        {
            let page = ann.tell(&room_id, "after", json!({ "id": ids[at] })).await.unwrap();
            assert_eq!((of(&page), &page["more"]), (ids[shown].to_vec(), &json!(more)));
        }
        for (at, shown, more, more_after) in [
            (25, 0..51, false, true),
            (26, 1..52, true, true),
            (29, 4..55, true, false),
            (54, 29..55, true, false),
        ] {
            let page = ann.tell(&room_id, "around", json!({ "id": ids[at] })).await.unwrap();
            let ends = (&page["more"], &page["more_after"]);
            assert_eq!((of(&page), ends), (ids[shown].to_vec(), (&json!(more), &json!(more_after))));
        }
        let elsewhere = ann.tell(&other, "around", json!({ "id": ids[30] })).await;
        assert_eq!(elsewhere, refused(&Failure::NotFound));
    }
}
