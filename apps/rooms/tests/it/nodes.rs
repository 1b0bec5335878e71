//! Two nodes on one database: what a user of one does reaches those of the other.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;
use hinotori::{
    Endpoint,
    testing::{TestSocket, like},
};
use rooms::{
    domain::{accounts, sessions, upkeep},
    failure::Failure,
    store::{Health, Store},
};
use serde_json::{Value, json};

use crate::{
    PATIENCE,
    instance::Instance,
    kit::{Client, Node, Person, deaf_nodes, eventually, meet, refused, two_nodes},
};

/// The changes that have reached a client, in the order of their positions, as its page would have them: from broadcasts, and
/// where one is missing by asking.
async fn follow(client: &mut Client, room_id: &str, until: i64) -> Vec<Value> {
    let mut seen: Vec<Value> = vec![];
    while i64::try_from(seen.len()).unwrap() < until {
        let change = client.socket.broadcast("change").await;
        let (id, next) = (change["id"].as_i64().unwrap(), i64::try_from(seen.len()).unwrap() + 1);
        if id == next {
            seen.push(change["message"]["text"].clone());
        } else if id > next {
            let missed = json!({ "last_seen_id": next - 1 });
            let changes = client.tell(room_id, "changes", missed).await.unwrap()["changes"].take();
            seen.extend(changes.as_array().unwrap().iter().map(|change| change["message"]["text"].clone()));
        }
    }
    seen
}

#[actix_web::test]
async fn all_see_the_same_messages_in_the_same_order_whatever_node_they_are_on() {
    let database = Instance::shared().database();
    let [one, two] = two_nodes(&database).await;
    let (mut a, mut b, room_id) = meet(&one, &two).await;
    let topic = format!("room:{room_id}");
    // both at once, without waiting for the answers
    let mut pushes = vec![];
    for n in 0..20 {
        for (client, name) in [(&mut a, "a"), (&mut b, "b")] {
            let post = json!({ "text": format!("{name}{n}"), "nonce": n.to_string() });
            pushes.push((name, client.socket.push(&topic, "post", post).unwrap()));
        }
    }
    for (name, push) in pushes {
        let client = if name == "a" { &mut a } else { &mut b };
        client.socket.assert_reply(push, hinotori::Status::Ok, like(json!({}))).await;
    }
    let (seen_by_a, seen_by_b) = (follow(&mut a, &room_id, 40).await, follow(&mut b, &room_id, 40).await);
    assert_eq!(seen_by_a, seen_by_b);
    let mut texts: Vec<_> = seen_by_a.iter().map(|text| text.as_str().unwrap()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 40, "each is there once");
}

#[actix_web::test]
async fn a_client_recovers_on_another_node_and_a_repeated_post_is_not_posted_again() {
    let database = Instance::shared().database();
    let [one, two] = two_nodes(&database).await;
    let ann = one.sign_up("Ann").await;
    let mut before = one.connect(&ann).await;
    let room_id = before.create("lobby", false).await;
    let epoch = before.enter(&room_id).await["epoch"].take();
    let post = json!({ "text": "once", "nonce": "1" });
    let id = before.tell(&room_id, "post", post.clone()).await.unwrap();
    drop(before);
    // its node is gone; it did not hear whether its message arrived
    let mut after = two.connect(&ann).await;
    let cursor = json!({ "last_seen_id": 0, "epoch": epoch });
    let reply = after.join(&format!("room:{room_id}"), cursor).await.unwrap();
    assert_eq!(
        (&reply["recovered"], &reply["messages"][0]["message"]["text"]),
        (&json!(true), &json!("once"))
    );
    assert_eq!(after.tell(&room_id, "post", post).await, Ok(id));
    let missed = after.tell(&room_id, "changes", json!({ "last_seen_id": 0 })).await.unwrap();
    assert_eq!(missed["changes"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_user_who_is_removed_is_disconnected_from_every_node_and_a_member_hears_no_more() {
    let database = Instance::shared().database();
    let [one, two] = two_nodes(&database).await;
    let (ann, ben, cho) = (one.sign_up("Ann").await, two.sign_up("Ben").await, two.sign_up("Cho").await);
    let (mut admin, mut user, mut member) =
        (one.connect(&ann).await, two.connect(&ben).await, two.connect(&cho).await);
    let room_id = admin.create("secret", true).await;
    for person in [&ben, &cho] {
        admin.invite(&room_id, &person.id).await;
    }
    user.room_with("id", json!(room_id)).await;
    user.enter(&room_id).await;
    member.enter(&room_id).await;

    admin.ask("remove_member", json!({ "room_id": room_id, "user_id": cho.id })).await.unwrap();
    assert_eq!(member.socket.pushed("room_left").await, json!({ "room_id": room_id }));
    member.socket.pushed("phx_close").await;
    let seen = json!({ "last_seen_id": 0, "epoch": null });
    assert_eq!(member.join(&format!("room:{room_id}"), seen).await, refused(&Failure::NotFound));

    admin.join("team", json!({ "device": "desktop" })).await.unwrap();
    admin.push("team", "remove_user", json!({ "user_id": ben.id })).await.unwrap();
    user.socket.assert_closed(1001).await;
    for node in [&one, &two] {
        assert!(node.try_connect(&ben.token).await.is_err());
    }
}

/// A socket that has joined nothing but the team.
async fn listener(node: &Node, person: &Person) -> TestSocket {
    let mut socket = node.try_connect(&person.token).await.unwrap();
    socket.subscribe_and_join("team", json!({ "device": "desktop" })).await.unwrap();
    socket
}

#[actix_web::test]
async fn a_socket_whose_session_has_ended_hears_no_more_though_nobody_tells_it() {
    let database = Instance::shared().database();
    let [one, two] = deaf_nodes(&database).await;
    let (ann, ben, cho) = (one.sign_up("Ann").await, one.sign_up("Ben").await, one.sign_up("Cho").await);
    let (mut admin, mut logged_out, mut removed) =
        (listener(&two, &ann).await, listener(&two, &ben).await, listener(&two, &cho).await);

    let session_id = ben.session_id.clone();
    one.team.store.write(move |tx| sessions::end(tx, &session_id)).await.unwrap();
    logged_out.assert_closed(1001).await;

    let (me, user_id) = (ann.id.clone(), cho.id.clone());
    one.team.store.write(move |tx| accounts::remove(tx, &me, &user_id)).await.unwrap();
    removed.assert_closed(1001).await;

    // whose session goes on is connected until it is a month old
    let push = admin.push("team", "status", json!({ "status": "away" })).unwrap();
    admin.assert_reply(push, hinotori::Status::Ok, json!({})).await;
    let month_passes =
        |tx: &mut rooms::store::Tx<'_>| Ok(tx.execute("UPDATE sessions SET created_at = 0", &[])?);
    one.team.store.write(month_passes).await.unwrap();
    one.team.store.write(upkeep::run).await.unwrap();
    admin.assert_closed(1001).await;
}

#[actix_web::test]
async fn unread_messages_and_presences_of_all_nodes_are_told() {
    let database = Instance::shared().database();
    let [one, two] = two_nodes(&database).await;
    let ((mut a, room_id), mut b) = (one.lobby().await, two.welcome("Ben").await);
    a.invite(&room_id, &b.id).await;
    b.room_with("id", json!(room_id)).await;
    let id = a.post(&room_id, "@ben!").await;
    let unread = json!({ "room_id": room_id, "unread": 1, "mentions": 1, "last_id": id });
    assert_eq!(b.socket.pushed("unread").await, unread);

    a.join("team", json!({ "device": "desktop" })).await.unwrap();
    b.join("team", json!({ "device": "phone" })).await.unwrap();
    for node in [&one, &two] {
        let is_there = || async { has_both(node, &a.id, &b.id) };
        eventually(is_there).await;
    }
    b.push("team", "status", json!({ "status": "away" })).await.unwrap();
    eventually(|| async { one.team.presence.list("team")[&b.id]["metas"][0]["status"] == "away" }).await;
    let refusal = b.push("team", "status", json!({ "status": "asleep" })).await;
    assert_eq!(refusal, refused(&Failure::Invalid("status")));
}

fn has_both(node: &Node, one: &str, other: &str) -> bool {
    let present = node.team.presence.list("team");
    present.contains_key(one) && present.contains_key(other)
}

#[actix_web::test]
async fn a_second_server_that_is_no_node_is_refused() {
    let database = Instance::shared().database();
    let address = database.address().parse().unwrap();
    let open = || Store::open(&address, false, &Endpoint::new(), Health::default());
    let _first = open().unwrap();
    let why = open().unwrap_err();
    assert!(why.contains("another server"), "{why}");
}

#[actix_web::test]
async fn a_database_that_is_cut_off_is_connected_to_again() {
    let instance = Instance::new();
    let database = instance.database();
    let [one, _two] = two_nodes(&database).await;
    let (mut a, room_id) = one.lobby().await;
    instance.crash();
    let post = json!({ "text": "hi", "nonce": "1" });
    assert_eq!(a.tell(&room_id, "post", post.clone()).await.unwrap_err(), json!({ "reason": "unavailable" }));
    instance.start();
    let until = Instant::now() + PATIENCE;
    let id = loop {
        match a.tell(&room_id, "post", post.clone()).await {
            Ok(mut posted) => break posted["id"].take(),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(a.tell(&room_id, "post", post).await.unwrap()["id"], id);
}
