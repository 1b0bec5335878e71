//! What a user has not read.

use serde_json::json;

use crate::{
    instance::Instance,
    kit::{both, deaf_nodes},
};

#[actix_web::test]
async fn messages_of_others_are_unread_until_they_are_read_on_any_device() {
    for node in both().await {
        let (ann, ben) = (node.sign_up("Ann").await, node.sign_up("Ben").await);
        let (mut one, mut desk, mut phone) =
            (node.connect(&ann).await, node.connect(&ben).await, node.connect(&ben).await);
        let room_id = one.create("lobby", false).await;
        one.enter(&room_id).await;
        let old = one.post(&room_id, "before Ben").await;
        one.invite(&room_id, &ben.id).await;
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
    let (mut one, mut two) = (node.welcome("Ann").await, node.welcome("Ben").await);
    let room_id = one.create("lobby", false).await;
    one.invite(&room_id, &two.id).await;
    let (id, room) = (one.id.clone(), room_id.clone());
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

#[actix_web::test]
async fn what_a_lost_broadcast_would_have_told_is_counted_when_the_rooms_are_asked_for() {
    let database = Instance::shared().database();
    let [one, two] = deaf_nodes(&database).await;
    let (mut a, mut b, mut c) =
        (one.welcome("Ann").await, two.welcome("Ben").await, two.welcome("Cho").await);
    let room_id = a.create("lobby", false).await;
    let room = json!({ "room_id": room_id });
    for late in [&mut b, &mut c] {
        late.ask("join_room", room.clone()).await.unwrap();
    }
    b.socket.pushed("room").await;
    a.enter(&room_id).await;
    a.post(&room_id, "one").await;
    a.post(&room_id, "@ben two").await;
    b.socket.refute_push("unread").await;
    let rooms = b.ask("rooms", json!({})).await.unwrap();
    assert_eq!((&rooms["rooms"][0]["unread"], &rooms["rooms"][0]["mentions"]), (&json!(2), &json!(1)));

    // and counted on from there
    c.enter(&room_id).await;
    let third = c.post(&room_id, "three").await;
    let unread = json!({ "room_id": room_id, "unread": 3, "mentions": 1, "last_id": third });
    assert_eq!(b.socket.pushed("unread").await, unread);

    // nothing more is heard of a room that was left meanwhile
    a.ask("remove_member", json!({ "room_id": room_id, "user_id": b.id })).await.unwrap();
    assert_eq!(b.ask("rooms", json!({})).await.unwrap(), json!({ "rooms": [] }));
    c.post(&room_id, "four").await;
    b.socket.refute_push("unread").await;
}
