//! Creating, joining, inviting, leaving.

use rooms::failure::Failure;
use serde_json::json;

use crate::kit::{both, refused};

#[actix_web::test]
async fn a_public_room_is_listed_and_joined_and_all_members_are_told() {
    for node in both().await {
        let (mut ann, mut ben) = (node.welcome("Ann").await, node.welcome("Ben").await);
        let room_id = ann.create(" the  lobby ", false).await;
        let room = ann.socket.pushed("room").await["room"].take();
        assert_eq!(room["name"], "the lobby");
        assert_eq!((&room["kind"], &room["owner"]), (&json!("public"), &json!(ann.id)));
        assert_eq!(room["members"], json!([ann.id]));

        ann.create("secret", true).await;
        let browsed = ben.ask("browse", json!({})).await.unwrap();
        assert_eq!(browsed, json!({ "rooms": [{ "id": room_id, "name": "the lobby", "members": 1 }] }));

        let joined = ben.ask("join_room", json!({ "room_id": room_id })).await.unwrap();
        assert_eq!(joined["room"]["members"], json!([ann.id, ben.id]));
        assert_eq!(ben.socket.pushed("room").await, joined);
        ann.room_with("members", json!([ann.id, ben.id])).await;

        ben.ask("leave_room", json!({ "room_id": room_id })).await.unwrap();
        assert_eq!(ben.socket.pushed("room_left").await, json!({ "room_id": room_id }));
        ann.room_with("members", json!([ann.id])).await;
    }
}

#[actix_web::test]
async fn a_direct_room_is_the_same_from_both_sides_and_for_ever() {
    for node in both().await {
        let (mut one, mut other) = (node.welcome("Ann").await, node.welcome("Ben").await);
        let room = one.ask("open_direct", json!({ "user_id": other.id })).await.unwrap()["room"].take();
        assert_eq!((&room["kind"], &room["name"]), (&json!("direct"), &json!("")));
        assert_eq!(other.socket.pushed("room").await["room"]["id"], room["id"]);
        let same = other.ask("open_direct", json!({ "user_id": one.id })).await.unwrap();
        assert_eq!(same["room"]["id"], room["id"]);
        let leave = other.ask("leave_room", json!({ "room_id": room["id"] })).await;
        assert_eq!(leave, refused(&Failure::Forbidden));
        let own = one.ask("open_direct", json!({ "user_id": one.id })).await;
        assert_eq!(own, refused(&Failure::Invalid("user_id")));
    }
}

#[actix_web::test]
async fn a_link_lets_in_until_whoever_made_it_is_no_member_any_more() {
    for node in both().await {
        let (ann, ben, cho) =
            (node.sign_up("Ann").await, node.sign_up("Ben").await, node.sign_up("Cho").await);
        let (mut one, mut two) = (node.connect(&ann).await, node.connect(&ben).await);
        let room_id = one.create("secret", true).await;
        let room = json!({ "room_id": room_id });
        let invitation = one.ask("invitation", room.clone()).await.unwrap();
        assert!(invitation["expires_at"].is_string());
        let accepted = two.ask("accept", json!({ "code": invitation["code"] })).await.unwrap();
        assert_eq!(accepted["room"]["id"], json!(room_id));

        let by_ben = two.ask("invitation", room).await.unwrap();
        one.ask("remove_member", json!({ "room_id": room_id, "user_id": ben.id })).await.unwrap();
        let mut three = node.connect(&cho).await;
        let accepted = three.ask("accept", json!({ "code": by_ben["code"] })).await;
        assert_eq!(accepted, refused(&Failure::NotFound));
    }
}

#[actix_web::test]
async fn a_member_who_is_removed_does_not_come_back_by_a_link_of_somebody_else() {
    for node in both().await {
        let (ann, ben, cho) =
            (node.sign_up("Ann").await, node.sign_up("Ben").await, node.sign_up("Cho").await);
        let (mut one, mut two, mut three) =
            (node.connect(&ann).await, node.connect(&ben).await, node.connect(&cho).await);
        let room_id = one.create("secret", true).await;
        let elsewhere = one.create("elsewhere", true).await;
        one.invite(&room_id, &cho.id).await;
        let to_elsewhere = one.ask("invitation", json!({ "room_id": elsewhere })).await.unwrap();
        let mut links = vec![];
        for client in [&mut one, &mut three] {
            links.push(client.ask("invitation", json!({ "room_id": room_id })).await.unwrap());
        }
        two.ask("accept", json!({ "code": links[0]["code"] })).await.unwrap();
        one.ask("remove_member", json!({ "room_id": room_id, "user_id": ben.id })).await.unwrap();
        for link in &links {
            let accepted = two.ask("accept", json!({ "code": link["code"] })).await;
            assert_eq!(accepted, refused(&Failure::NotFound));
        }
        // those that are made afterwards let in, and so do those of other rooms
        let again = three.ask("invitation", json!({ "room_id": room_id })).await.unwrap();
        for link in [again, to_elsewhere] {
            two.ask("accept", json!({ "code": link["code"] })).await.unwrap();
        }
    }
}

#[actix_web::test]
async fn a_room_whose_owner_leaves_goes_to_whoever_has_been_there_longest() {
    for node in both().await {
        let (ann, ben, cho) =
            (node.sign_up("Ann").await, node.sign_up("Ben").await, node.sign_up("Cho").await);
        let (mut two, mut three) = (node.connect(&ben).await, node.connect(&cho).await);
        let room_id = two.create("lobby", false).await;
        two.invite(&room_id, &cho.id).await;
        two.invite(&room_id, &ann.id).await;
        two.ask("leave_room", json!({ "room_id": room_id })).await.unwrap();
        three.ask("remove_member", json!({ "room_id": room_id, "user_id": ann.id })).await.unwrap();
        three.ask("leave_room", json!({ "room_id": room_id })).await.unwrap();
        // it has no member now: the next one owns it
        let joined = two.ask("join_room", json!({ "room_id": room_id })).await.unwrap();
        assert_eq!(joined["room"]["owner"], json!(ben.id));
    }
}
