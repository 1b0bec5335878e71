//! Signing up, logging in and out, over HTTP; sockets of sessions that have ended.

use actix_web::{
    App,
    cookie::Cookie,
    dev::ServiceResponse,
    http::StatusCode,
    test::{TestRequest, call_service, init_service, read_body_json},
};
use rooms::{domain::accounts, http};
use serde_json::{Value, json};

use crate::kit::{Client, Node, both};

/// A request to a server.
pub(crate) async fn send(node: &Node, request: TestRequest) -> ServiceResponse {
    let app = init_service(App::new().app_data(node.team.clone()).configure(http::configure)).await;
    call_service(&app, request.peer_addr("192.0.2.1:9".parse().unwrap()).to_request())
        .await
        .map_into_boxed_body()
}

fn post(path: &str, body: &Value) -> TestRequest {
    TestRequest::post().uri(path).insert_header(("host", "chat.test")).set_json(body)
}

fn cookie(response: &ServiceResponse) -> Cookie<'static> {
    response.response().cookies().next().unwrap().into_owned()
}

#[actix_web::test]
async fn whoever_signs_up_first_is_the_administrator_and_names_are_compared_without_case() {
    for node in both().await {
        let response =
            send(&node, post("/api/sign-up", &json!({ "name": " Ann ", "password": "hinotori" }))).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let cookie = cookie(&response);
        assert!(cookie.http_only().unwrap() && cookie.same_site().unwrap().is_lax());
        let user = read_body_json::<Value, _>(response).await["user"].take();
        assert_eq!(
            (&user["name"], &user["admin"], &user["removed"]),
            (&json!("Ann"), &json!(true), &json!(false))
        );

        for (name, password, status, error) in [
            ("ANN", "hinotori", 409, "name_taken"),
            ("", "hinotori", 422, "invalid_name"),
            ("a\u{200b}nn", "hinotori", 422, "invalid_name"),
            ("Ben", "1234567", 422, "weak_password"),
        ] {
            let response =
                send(&node, post("/api/sign-up", &json!({ "name": name, "password": password }))).await;
            assert_eq!(response.status().as_u16(), status, "{name}");
            assert_eq!(read_body_json::<Value, _>(response).await["error"], error);
        }
        let response =
            send(&node, post("/api/sign-up", &json!({ "name": "Ben", "password": "12345678" }))).await;
        assert_eq!(read_body_json::<Value, _>(response).await["user"]["admin"], false);

        let login = async |name: &str, password: &str| {
            send(&node, post("/api/login", &json!({ "name": name, "password": password }))).await
        };
        for (name, password) in
            [("Ann", "hinotorl"), ("Nobody", "hinotori"), ("Ann", ""), ("\u{202e}", "hinotori")]
        {
            let response = login(name, password).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(read_body_json::<Value, _>(response).await["error"], "wrong_password");
        }
        let response = login("aNN", "hinotori").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(read_body_json::<Value, _>(response).await["user"], user);
    }
}

#[actix_web::test]
async fn a_session_has_a_token_until_its_user_logs_out_which_disconnects_its_sockets() {
    for node in both().await {
        let response =
            send(&node, post("/api/sign-up", &json!({ "name": "Ann", "password": "hinotori" }))).await;
        let cookie = cookie(&response);
        let session = || TestRequest::get().uri("/api/session");
        let response = send(&node, session().cookie(cookie.clone())).await;
        let body: Value = read_body_json(response).await;
        let (id, token) = (body["user"]["id"].as_str().unwrap(), body["token"].as_str().unwrap());
        let mut socket = Client { id: id.to_owned(), socket: node.try_connect(token).await.unwrap() };
        socket.join(&socket.user_topic(), json!({})).await.unwrap();

        let response = send(&node, post("/api/logout", &json!({})).cookie(cookie.clone())).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        socket.socket.assert_closed(1001).await;
        assert!(node.try_connect(token).await.is_err(), "the token outlives its session");
        let forged = Cookie::new("rooms_session", "SFMyNTY.WyJhIiwxXQ.AAAA");
        for nobody in [session().cookie(cookie), session(), session().cookie(forged)] {
            let response = send(&node, nobody).await;
            assert_eq!(response.status(), StatusCode::OK);
            let body: Value = read_body_json(response).await;
            assert_eq!(body, json!({ "user": null, "token": null }));
        }
    }
}

#[actix_web::test]
async fn a_user_who_was_removed_is_told_so_by_each_session_and_cannot_log_in() {
    for node in both().await {
        let ann = node.sign_up("Ann").await;
        let credentials = json!({ "name": "Ben", "password": "hinotori" });
        let phone = cookie(&send(&node, post("/api/sign-up", &credentials)).await);
        let desk = cookie(&send(&node, post("/api/login", &credentials)).await);
        let session = |cookie: &Cookie<'static>| {
            let request = TestRequest::get().uri("/api/session").cookie(cookie.clone());
            async { read_body_json::<Value, _>(send(&node, request).await).await }
        };
        let told = session(&phone).await;
        let (id, token) = (told["user"]["id"].as_str().unwrap().to_owned(), told["token"].as_str().unwrap());
        let mut online = node.try_connect(token).await.unwrap();
        let (me, user_id) = (ann.id.clone(), id.clone());
        node.team.store.write(move |tx| accounts::remove(tx, &me, &user_id)).await.unwrap();

        // the phone was online; the desk was not, and comes back
        online.assert_closed(1001).await;
        assert!(node.try_connect(token).await.is_err());
        for cookie in [&phone, &desk] {
            assert_eq!(session(cookie).await["error"], "removed");
        }
        let response = send(&node, post("/api/login", &credentials)).await;
        assert_eq!(read_body_json::<Value, _>(response).await["error"], "wrong_password");
        let response = send(&node, post("/api/logout", &json!({})).cookie(desk.clone())).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(session(&desk).await["user"], Value::Null);
    }
}

#[actix_web::test]
async fn whoever_joins_the_team_misses_nobody_who_signs_up_meanwhile() {
    for node in both().await {
        let ann = node.sign_up("Ann").await;
        for name in ["Ben", "Cho", "Dan", "Eve", "Fay"] {
            let mut client = node.connect(&ann).await;
            let join = client.join("team", json!({ "device": "phone" }));
            let (joined, new) = tokio::join!(join, node.sign_up(name));
            let users = joined.unwrap()["users"].take();
            if !users.as_array().unwrap().iter().any(|user| user["id"] == json!(new.id)) {
                assert_eq!(client.socket.broadcast("user").await["user"]["id"], json!(new.id));
            }
        }
    }
}

#[actix_web::test]
async fn a_foreign_page_and_a_form_change_nothing() {
    let node = Node::sqlite().await;
    let body = json!({ "name": "Ann", "password": "hinotori" });
    let foreign = post("/api/sign-up", &body).insert_header(("origin", "https://evil.test"));
    assert_eq!(send(&node, foreign).await.status(), StatusCode::FORBIDDEN);
    let form = TestRequest::post().uri("/api/sign-up").set_form(body.as_object().unwrap());
    assert_eq!(send(&node, form).await.status(), StatusCode::FORBIDDEN);
    let text = TestRequest::post().uri("/api/sign-up").insert_header(("content-type", "text/plain"));
    assert_eq!(send(&node, text.set_payload(body.to_string())).await.status(), StatusCode::FORBIDDEN);
    let own = post("/api/sign-up", &body).insert_header(("origin", "https://chat.test"));
    let response = send(&node, own).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert!(cookie(&response).secure().unwrap(), "a cookie of https is not sent over http");
}

#[actix_web::test]
async fn passwords_cannot_be_tried_without_end_nor_users_be_made() {
    let node = Node::sqlite().await;
    let login = || post("/api/login", &json!({ "name": "Ann", "password": "" }));
    let mut statuses = vec![];
    for _ in 0..11 {
        statuses.push(send(&node, login()).await.status().as_u16());
    }
    assert_eq!((statuses[9], statuses[10]), (401, 429), "{statuses:?}");
    let sign_up = || post("/api/sign-up", &json!({ "name": "Ann", "password": "" }));
    let mut statuses = vec![];
    for _ in 0..21 {
        statuses.push(send(&node, sign_up()).await.status().as_u16());
    }
    assert_eq!((statuses[19], statuses[20]), (422, 429), "{statuses:?}");
}

#[actix_web::test]
async fn a_body_that_is_too_long_or_no_json_is_refused_as_json() {
    let node = Node::sqlite().await;
    let json = || TestRequest::post().uri("/api/login").insert_header(("content-type", "application/json"));
    for body in
        ["", "{", "[]", "null", "{\"name\":1,\"password\":2}", "{\"name\":\"a\"}", &" ".repeat(100_000)]
    {
        let response = send(&node, json().set_payload(body.to_owned())).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(read_body_json::<Value, _>(response).await["error"], "invalid");
    }
}
