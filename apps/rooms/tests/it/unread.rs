//! What a user has not read.

use serde_json::json;

use crate::kit::both;

#[actix_web::test]
async fn messages_of_others_are_unread_until_they_are_read_on_any_device() {
    for node in both().await {
        let (ann, ben) = (node.sign_up("Ann").await, node.sign_up("Ben").await);
        let (mut one, mut desk, mut phone) =
            (node.connect(&ann).await, node.connect(&ben).await, node.connect(&ben).await);
        let room_id = one.create("lobby", false).await;
        one.enter(&room_id).await;
        let old = one.post(&room_id, "before Ben").await;
        one.invite(&room_id, &ben).await;
        for device in [&mut desk, &mut phone] {
            let room = device.socket.pushed("room").await["room"].take();
            assert_eq!((&room["unread"], &room["last_read"]), (&json!(0), &json!(old)));
        }
        let first = one.post(&room_id, "hi").await;
        let second = one.post(&room_id, "hello @ben").await;
        let unread = |unread: i64, mentions: i64, last_id: i64| json!({ "room_id": room_id, "unread": unread, "mentions": mentions, "last_id": last_id });
        for device in [&mut desk, &mut phone] {
            assert_eq!(device.socket.pushed("unread").await, unread(1, 0, first));
            assert_eq!(device.socket.pushed("unread").await, unread(2, 1, second));
        }
        let read = |id: i64| json!({ "room_id": room_id, "id": id });
        desk.ask("read", read(first)).await.unwrap();
        assert_eq!(phone.socket.pushed("unread").await, unread(1, 1, second));
        // it never goes back
        desk.ask("read", read(0)).await.unwrap();
        phone.socket.refute_push("unread").await;
        phone.ask("read", read(i64::MAX)).await.unwrap();
        assert_eq!(phone.socket.pushed("unread").await, unread(0, 0, second));
        assert_eq!(desk.socket.pushed("unread").await, unread(1, 1, second));
        assert_eq!(desk.socket.pushed("unread").await, unread(0, 0, second));

        // a later message is unread all the same, and a deleted one is not
        let third = one.post(&room_id, "@Ben?").await;
        assert_eq!(desk.socket.pushed("unread").await, unread(1, 1, third));
        one.tell(&room_id, "delete", json!({ "id": third })).await.unwrap();
        assert_eq!(desk.socket.pushed("unread").await, unread(0, 0, third));

        // whoever writes has read
        one.post(&room_id, "so?").await;
        desk.socket.pushed("unread").await;
        desk.enter(&room_id).await;
        let answer = desk.post(&room_id, "yes").await;
        assert_eq!(desk.socket.pushed("unread").await, unread(0, 0, answer));
        let again = node.connect(&ben).await;
        drop(again);
        let rooms = phone.join(&phone.user_topic(), json!({})).await.unwrap();
        assert_eq!(
            (&rooms["rooms"][0]["unread"], &rooms["rooms"][0]["last_read"]),
            (&json!(0), &json!(answer))
        );
    }
}

#[actix_web::test]
async fn unread_messages_are_counted_up_to_a_hundred() {
    let node = crate::kit::Node::sqlite().await;
    let (ann, ben) = (node.sign_up("Ann").await, node.sign_up("Ben").await);
    let (mut one, mut two) = (node.connect(&ann).await, node.connect(&ben).await);
    let room_id = one.create("lobby", false).await;
    one.invite(&room_id, &ben).await;
    let (id, room) = (ann.id.clone(), room_id.clone());
    let posts = move |tx: &mut rooms::store::Tx<'_>| {
        for n in 0..103 {
            let draft = rooms::domain::messages::Draft {
                text: n.to_string(),
                nonce: n.to_string(),
                reply_to: None,
                picture_id: None,
            };
            rooms::domain::messages::post(tx, &id, &room, &draft)?;
        }
        Ok(())
    };
    node.team.store.write(posts).await.unwrap();
    for n in 1..=103 {
        assert_eq!(two.socket.pushed("unread").await["unread"], n.min(100));
    }
    let rooms = two.join(&two.user_topic(), json!({})).await.unwrap();
    assert_eq!(rooms["rooms"][0]["unread"], 100);
}
