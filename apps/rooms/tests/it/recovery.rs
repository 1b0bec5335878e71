//! Clients that were away.

use rooms::failure::Failure;
use serde_json::{Value, json};

use crate::kit::{both, refused};

#[actix_web::test]
async fn a_client_gets_the_changes_that_it_missed_each_once_and_as_the_messages_are_now() {
    for node in both().await {
        let (ann, ben) = (node.sign_up("Ann").await, node.sign_up("Ben").await);
        let (mut one, mut two) = (node.connect(&ann).await, node.connect(&ben).await);
        let room_id = one.create("lobby", false).await;
        one.invite(&room_id, &ben.id).await;
        let topic = format!("room:{room_id}");
        one.enter(&room_id).await;
        let first = one.post(&room_id, "first").await;
        let history = two.enter(&room_id).await;
        assert_eq!(history["last_id"], 1);
        drop(two);

        let second = one.post(&room_id, "second").await;
        one.tell(&room_id, "delete", json!({ "id": first })).await.unwrap();
        one.tell(&room_id, "edit", json!({ "id": second, "text": "2nd" })).await.unwrap();

        let mut two = node.connect(&ben).await;
        let cursor = json!({ "last_seen_id": 1, "epoch": history["epoch"] });
        let reply = two.join(&topic, cursor).await.unwrap();
        assert_eq!((&reply["recovered"], &reply["last_id"]), (&json!(true), &json!(4)));
        let changes = reply["messages"].as_array().unwrap();
        let seen: Vec<(&Value, &Value, &Value)> = changes
            .iter()
            .map(|change| (&change["id"], &change["message"]["id"], &change["message"]["text"]))
            .collect();
        let expected = [(2, second, json!("2nd")), (3, first, json!(null)), (4, second, json!("2nd"))];
        for (seen, (position, id, text)) in seen.iter().zip(&expected) {
            assert_eq!(*seen, (&json!(position), &json!(id), text));
        }
        assert_eq!(seen.len(), 3);
        one.post(&room_id, "third").await;
        assert_eq!(two.socket.broadcast("change").await["id"], 5);
    }
}

#[actix_web::test]
async fn a_client_that_cannot_be_told_what_it_missed_gets_the_history() {
    for node in both().await {
        let mut ann = node.welcome("Ann").await;
        let room_id = ann.create("lobby", false).await;
        let topic = format!("room:{room_id}");
        let epoch = ann.enter(&room_id).await["epoch"].take();
        ann.post(&room_id, "hi").await;
        for (cursor, reason) in [
            (json!({ "last_seen_id": 0, "epoch": null }), "epoch"),
            (json!({ "last_seen_id": 0, "epoch": epoch.as_u64().unwrap() + 1 }), "epoch"),
            (json!({ "last_seen_id": 9, "epoch": epoch }), "ahead"),
        ] {
            let reply = ann.join(&topic, cursor).await.unwrap();
            assert_eq!((&reply["recovered"], &reply["reason"]), (&json!(false), &json!(reason)));
            let history = ann.socket.pushed("history").await;
            assert_eq!((&history["last_id"], &history["messages"][0]["text"]), (&json!(1), &json!("hi")));
            assert_eq!(history["epoch"], epoch);
        }
        for cursor in [
            json!({}),
            json!([]),
            json!({ "last_seen_id": "1" }),
            json!({ "last_seen_id": -1, "epoch": epoch }),
        ] {
            assert_eq!(ann.join(&topic, cursor).await, refused(&Failure::Invalid("last_seen_id")));
        }
        let cursor = json!({ "last_seen_id": 1, "epoch": "x" });
        assert_eq!(ann.join(&topic, cursor).await, refused(&Failure::Invalid("epoch")));
    }
}

#[actix_web::test]
async fn a_client_that_sees_a_gap_asks_for_the_changes() {
    for node in both().await {
        let (mut ann, room_id) = node.lobby().await;
        ann.post(&room_id, "1").await;
        ann.post(&room_id, "2").await;
        let changes = async |client: &mut crate::kit::Client, position: i64| {
            client.tell(&room_id, "changes", json!({ "last_seen_id": position })).await
        };
        let missed = changes(&mut ann, 1).await.unwrap();
        assert_eq!(missed["changes"][0]["id"], 2);
        assert_eq!(missed["changes"].as_array().unwrap().len(), 1);
        assert_eq!(changes(&mut ann, 2).await, Ok(json!({ "changes": [] })));
        assert_eq!(changes(&mut ann, 3).await, refused(&Failure::NotFound));
        assert_eq!(changes(&mut ann, i64::MAX).await, refused(&Failure::NotFound));
    }
}
