//! Pictures: who can upload and see them.

use actix_web::{
    cookie::Cookie,
    http::StatusCode,
    test::{TestRequest, read_body, read_body_json},
};
use rooms::{domain::upkeep, failure::Failure};
use serde_json::{Value, json};

use crate::{
    accounts::send,
    kit::{Node, Person, both, refused},
};

const PICTURE: &[u8] = include_bytes!("../../src/demo.png");

fn cookie(node: &Node, person: &Person) -> Cookie<'static> {
    Cookie::new("rooms_session", node.team.cookies.sign(&person.session_id).unwrap())
}

async fn upload(node: &Node, person: &Person, bytes: &[u8]) -> Result<Value, (u16, Value)> {
    let request = TestRequest::post().uri("/api/pictures").insert_header(("content-type", "image/png"));
    let response = send(node, request.cookie(cookie(node, person)).set_payload(bytes.to_vec())).await;
    let status = response.status().as_u16();
    let body: Value = read_body_json(response).await;
    if status == 201 { Ok(body["picture"].clone()) } else { Err((status, body["error"].clone())) }
}

async fn can_see(node: &Node, person: &Person, picture: &Value) -> bool {
    let path = format!("/pictures/{}", picture["id"].as_str().unwrap());
    let response = send(node, TestRequest::get().uri(&path).cookie(cookie(node, person))).await;
    match response.status() {
        StatusCode::OK => {
            let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "image/png");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("cache-control"), "private, max-age=31536000, immutable");
            assert_eq!(read_body(response).await, PICTURE);
            true
        }
        status => {
            assert_eq!(status, StatusCode::NOT_FOUND);
            false
        }
    }
}

#[actix_web::test]
async fn a_picture_is_seen_by_its_uploader_and_then_by_the_rooms_that_have_it() {
    for node in both().await {
        let (ann, ben, cho) =
            (node.sign_up("Ann").await, node.sign_up("Ben").await, node.sign_up("Cho").await);
        let picture = upload(&node, &ann, PICTURE).await.unwrap();
        assert_eq!((&picture["width"], &picture["height"]), (&json!(480), &json!(300)));
        assert!(can_see(&node, &ann, &picture).await && !can_see(&node, &ben, &picture).await);

        let (mut one, mut two) = (node.connect(&ann).await, node.connect(&ben).await);
        let room_id = one.create("lobby", true).await;
        one.invite(&room_id, &ben.id).await;
        one.enter(&room_id).await;
        two.enter(&room_id).await;
        let post = |nonce: &str| json!({ "text": "", "nonce": nonce, "picture_id": picture["id"] });
        let foreign = two.tell(&room_id, "post", post("1")).await;
        assert_eq!(foreign, refused(&Failure::Invalid("picture_id")));
        let id = one.tell(&room_id, "post", post("2")).await.unwrap()["id"].take();
        assert_eq!(two.socket.broadcast("change").await["message"]["picture"], picture);
        assert!(can_see(&node, &ben, &picture).await && !can_see(&node, &cho, &picture).await);

        let nobody = TestRequest::get().uri(&format!("/pictures/{}", picture["id"].as_str().unwrap()));
        assert_eq!(send(&node, nobody).await.status(), StatusCode::NOT_FOUND);
        one.tell(&room_id, "delete", json!({ "id": id })).await.unwrap();
        assert!(!can_see(&node, &ben, &picture).await, "the picture of a deleted message");
    }
}

#[actix_web::test]
async fn what_is_no_picture_is_refused_by_its_bytes() {
    for node in both().await {
        let ann = node.sign_up("Ann").await;
        for bytes in
            [&b""[..], b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", b"<html>", b"GIF89a"]
        {
            assert_eq!(upload(&node, &ann, bytes).await, Err((415, json!("not_a_picture"))));
        }
        let too_long = vec![0; (5 << 20) + 1];
        assert_eq!(upload(&node, &ann, &too_long).await, Err((413, json!("too_large"))));
        let nobody = Person { id: String::new(), session_id: rooms::ids::new(), token: String::new() };
        assert_eq!(upload(&node, &nobody, PICTURE).await, Err((401, json!("not_logged_in"))));
    }
}

#[actix_web::test]
async fn upkeep_keeps_pictures_that_are_new() {
    for node in both().await {
        let ann = node.sign_up("Ann").await;
        let picture = upload(&node, &ann, PICTURE).await.unwrap();
        node.team.store.write(upkeep::run).await.unwrap();
        assert!(can_see(&node, &ann, &picture).await);
        node.team.store.write(|tx| Ok(tx.execute("UPDATE pictures SET created_at = 0", &[])?)).await.unwrap();
        node.team.store.write(upkeep::run).await.unwrap();
        assert!(!can_see(&node, &ann, &picture).await);
    }
}
