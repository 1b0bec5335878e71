//! Everything that is forbidden, tried.

use rooms::{
    domain::sessions,
    failure::Failure::{self, Forbidden, Invalid, NotFound},
};
use serde_json::{Value, json};

use crate::kit::{Client, Node, Person, both, refused};

/// A team: Ann is the administrator; Ben owns a private and a public room; Cho is a member of the private one; Dia is not.
struct Cast {
    ann: Person,
    ben: Person,
    cho: Person,
    dia: Person,
    secret: String,
    lobby: String,
    direct: String,
    /// Ben's message in the private room.
    message: i64,
}

async fn cast(node: &Node) -> Cast {
    let (ann, ben) = (node.sign_up("Ann").await, node.sign_up("Ben").await);
    let (cho, dia) = (node.sign_up("Cho").await, node.sign_up("Dia").await);
    let mut client = node.connect(&ben).await;
    let secret = client.create("secret", true).await;
    let lobby = client.create("lobby", false).await;
    client.invite(&secret, &cho.id).await;
    let direct = client.ask("open_direct", json!({ "user_id": cho.id })).await.unwrap()["room"]["id"].take();
    client.enter(&secret).await;
    let message = client.post(&secret, "classified").await;
    Cast { ann, ben, cho, dia, secret, lobby, direct: direct.as_str().unwrap().to_owned(), message }
}

#[actix_web::test]
async fn without_a_valid_token_nobody_connects() {
    for node in both().await {
        let ann = node.sign_up("Ann").await;
        let other = hinotori::Token::new("socket", &[&[7; 32]]).unwrap();
        let forged = other.sign(&ann.session_id).unwrap();
        let for_cookies = node.team.cookies.sign(&ann.session_id).unwrap();
        let of_nobody = node.team.tokens.sign(&rooms::ids::new()).unwrap();
        let cut = &ann.token[..ann.token.len() - 1];
        for token in ["", "x", "a.b.c", &forged, &for_cookies, &of_nobody, cut] {
            let refused = node.try_connect(token).await.unwrap_err();
            assert_eq!(refused.0.status().as_u16(), 403, "{token}");
        }
        assert!(node.try_connect(&ann.token).await.is_ok());
    }
}

#[actix_web::test]
async fn topics_of_others_are_not_joined() {
    for node in both().await {
        let Cast { ben, dia, secret, lobby, direct, .. } = cast(&node).await;
        let mut dia = node.connect(&dia).await;
        let seen = json!({ "last_seen_id": 0, "epoch": null });
        let topics = [
            format!("user:{}", ben.id),
            format!("room:{secret}"),
            format!("room:{lobby}"),
            format!("room:{direct}"),
            "user:".to_owned(),
            "room:".to_owned(),
            "room:nonsense".to_owned(),
            format!("room:{}", rooms::ids::new()),
        ];
        for topic in topics {
            assert_eq!(dia.join(&topic, seen.clone()).await, refused(&NotFound), "{topic}");
        }
        for topic in [format!("control:{}", ben.id), format!("activity:{secret}"), "users".to_owned()] {
            let reply = dia.join(&topic, seen.clone()).await.unwrap_err();
            assert_eq!(reply["reason"], "unmatched topic", "{topic}");
        }
        assert_eq!(dia.join("team", json!({ "device": "toaster" })).await, refused(&Invalid("device")));
    }
}

/// Tries what is to fail, on the user's own topic.
async fn refuse(client: &mut Client, event: &str, payload: Value, failure: Failure) {
    let reply = client.ask(event, payload.clone()).await;
    assert_eq!(reply, refused(&failure), "{event} {payload}");
}

#[actix_web::test]
async fn whoever_is_no_member_can_do_nothing_with_a_room_nor_learn_that_it_exists() {
    for node in both().await {
        let Cast { ben, cho, dia, secret, lobby, direct, message, .. } = cast(&node).await;
        let mut client = node.connect(&dia).await;
        let nowhere = rooms::ids::new();
        for room_id in [&secret, &direct, &nowhere] {
            let (room, id) = (json!({ "room_id": room_id }), json!(room_id));
            refuse(&mut client, "join_room", room.clone(), NotFound).await;
            refuse(&mut client, "leave_room", room.clone(), NotFound).await;
            refuse(&mut client, "invitation", room, NotFound).await;
            refuse(&mut client, "read", json!({ "room_id": id, "id": message }), NotFound).await;
            refuse(&mut client, "invite", json!({ "room_id": id, "user_id": dia.id }), NotFound).await;
            refuse(&mut client, "remove_member", json!({ "room_id": id, "user_id": cho.id }), NotFound).await;
            refuse(&mut client, "search", json!({ "room_id": id, "text": "classified" }), NotFound).await;
        }
        // that the public room exists is known
        refuse(&mut client, "invite", json!({ "room_id": lobby, "user_id": dia.id }), NotFound).await;
        refuse(&mut client, "remove_member", json!({ "room_id": lobby, "user_id": ben.id }), NotFound).await;
        refuse(&mut client, "accept", json!({ "code": rooms::ids::new() }), NotFound).await;
        refuse(&mut client, "open_direct", json!({ "user_id": rooms::ids::new() }), NotFound).await;
        let browsed = client.ask("browse", json!({})).await.unwrap();
        assert!(!browsed.to_string().contains(&secret) && !browsed.to_string().contains(&direct));
    }
}

#[actix_web::test]
async fn members_and_owners_have_their_limits() {
    for node in both().await {
        let Cast { ben, cho, dia, secret, direct, message, .. } = cast(&node).await;
        let (mut owner, mut member) = (node.connect(&ben).await, node.connect(&cho).await);
        let with = |room_id: &str, user: &Person| json!({ "room_id": room_id, "user_id": user.id });
        refuse(&mut member, "remove_member", with(&secret, &ben), Forbidden).await;
        refuse(&mut member, "remove_member", with(&secret, &cho), Forbidden).await;
        refuse(&mut owner, "remove_member", with(&secret, &dia), NotFound).await;
        for client in [&mut owner, &mut member] {
            refuse(client, "invite", with(&direct, &dia), Forbidden).await;
            refuse(client, "remove_member", with(&direct, &cho), Forbidden).await;
            refuse(client, "leave_room", json!({ "room_id": direct }), Forbidden).await;
            refuse(client, "invitation", json!({ "room_id": direct }), Forbidden).await;
        }
        member.enter(&secret).await;
        owner.enter(&secret).await;
        let theirs = member.post(&secret, "mine").await;
        let edit = |id: i64| json!({ "id": id, "text": "forged" });
        assert_eq!(member.tell(&secret, "edit", edit(message)).await, refused(&Forbidden));
        assert_eq!(member.tell(&secret, "delete", json!({ "id": message })).await, refused(&Forbidden));
        assert_eq!(owner.tell(&secret, "edit", edit(theirs)).await, refused(&Forbidden));
        assert_eq!(owner.tell(&secret, "delete", json!({ "id": theirs })).await, Ok(json!({})));
    }
}

#[actix_web::test]
async fn messages_are_reached_only_in_their_room() {
    for node in both().await {
        let Cast { dia, message, .. } = cast(&node).await;
        let mut client = node.connect(&dia).await;
        let own = client.create("own", false).await;
        client.enter(&own).await;
        for event in ["edit", "delete", "react", "around"] {
            let payload = json!({ "id": message, "text": "x", "emoji": "👍", "on": true });
            assert_eq!(client.tell(&own, event, payload).await, refused(&NotFound), "{event}");
        }
        let reply = json!({ "text": "x", "nonce": "1", "reply_to": message });
        assert_eq!(client.tell(&own, "post", reply).await, refused(&Invalid("reply_to")));
        for (event, id) in [("before", message + 1), ("after", message - 1)] {
            let page = client.tell(&own, event, json!({ "id": id })).await.unwrap();
            assert_eq!(page["messages"], json!([]), "{event}");
        }
    }
}

#[actix_web::test]
async fn only_an_administrator_removes_users_and_not_itself() {
    for node in both().await {
        let Cast { ann, ben, cho, .. } = cast(&node).await;
        let team = json!({ "device": "phone" });
        let (mut one, mut two) = (node.connect(&ann).await, node.connect(&ben).await);
        one.join("team", team.clone()).await.unwrap();
        two.join("team", team).await.unwrap();
        let remove = |id: &str| json!({ "user_id": id });
        assert_eq!(two.push("team", "remove_user", remove(&cho.id)).await, refused(&Forbidden));
        assert_eq!(one.push("team", "remove_user", remove(&ann.id)).await, refused(&Forbidden));
        assert_eq!(one.push("team", "remove_user", remove(&rooms::ids::new())).await, refused(&NotFound));
        assert_eq!(one.push("team", "remove_user", remove(&ben.id)).await, Ok(json!({})));
        assert_eq!(one.push("team", "remove_user", remove(&ben.id)).await, refused(&NotFound));
    }
}

#[actix_web::test]
async fn a_user_who_is_removed_is_gone_at_once_from_everything_but_the_past() {
    for node in both().await {
        let Cast { ann, ben, cho, secret, direct, message, .. } = cast(&node).await;
        let (mut one, mut gone, mut member) =
            (node.connect(&ann).await, node.connect(&ben).await, node.connect(&cho).await);
        one.join("team", json!({ "device": "desktop" })).await.unwrap();
        gone.enter(&secret).await;
        member.enter(&secret).await;
        let link = gone.ask("invitation", json!({ "room_id": secret })).await.unwrap();
        let id = ben.id.clone();
        let phone = node.team.store.write(move |tx| sessions::begin(tx, &id)).await.unwrap();
        let mut phone = node.try_connect(&node.team.tokens.sign(&phone).unwrap()).await.unwrap();
        one.push("team", "remove_user", json!({ "user_id": ben.id })).await.unwrap();
        gone.socket.assert_closed(1001).await;
        phone.assert_closed(1001).await;
        let user = one.socket.broadcast("user").await["user"].take();
        assert_eq!((&user["id"], &user["removed"]), (&json!(ben.id), &json!(true)));
        assert!(node.try_connect(&ben.token).await.is_err());
        // its room goes to whoever is left; its messages and the direct room stay
        let room = member.room_with("members", json!([cho.id])).await;
        assert_eq!((&room["id"], &room["owner"]), (&json!(secret), &json!(cho.id)));
        let around = member.tell(&secret, "around", json!({ "id": message })).await.unwrap();
        assert_eq!(around["messages"][0]["text"], "classified");
        let rooms = member.join(&member.user_topic(), json!({})).await.unwrap();
        assert!(rooms["rooms"].as_array().unwrap().iter().any(|room| room["id"] == json!(direct)));

        member.enter(&direct).await;
        let unread = json!({ "text": "are you there?", "nonce": "1" });
        assert_eq!(member.tell(&direct, "post", unread).await, refused(&Forbidden));
        refuse(&mut member, "invite", json!({ "room_id": secret, "user_id": ben.id }), NotFound).await;
        refuse(&mut member, "open_direct", json!({ "user_id": ben.id }), NotFound).await;
        refuse(&mut one, "accept", json!({ "code": link["code"] }), NotFound).await;
    }
}

#[actix_web::test]
async fn a_member_who_is_removed_hears_nothing_more() {
    for node in both().await {
        let Cast { ann, ben, cho, secret, .. } = cast(&node).await;
        let (mut admin, mut owner, mut member) =
            (node.connect(&ann).await, node.connect(&ben).await, node.connect(&cho).await);
        owner.enter(&secret).await;
        member.enter(&secret).await;
        let remove = json!({ "room_id": secret, "user_id": cho.id });
        // an administrator may remove members of rooms of which it is none
        admin.ask("remove_member", remove).await.unwrap();
        assert_eq!(member.socket.pushed("room_left").await, json!({ "room_id": secret }));
        member.socket.pushed("phx_close").await;
        owner.post(&secret, "among us").await;
        member.socket.refute_push("unread").await;
        let push = member.tell(&secret, "post", json!({ "text": "x", "nonce": "1" })).await.unwrap_err();
        assert_eq!(push["reason"], "unmatched topic");
        let seen = json!({ "last_seen_id": 0, "epoch": null });
        assert_eq!(member.join(&format!("room:{secret}"), seen).await, refused(&NotFound));
    }
}
