//! Who gets in, and for how long.

use serde_json::{Value, json};

use crate::{
    client::Upgrade,
    server::{Server, anon, granting, hears, now, signed},
};

fn status(server: &Server, query: &str, header: Option<&str>) -> u16 {
    let header = header.map(|value| [value]);
    let header: Vec<(&str, &[&str])> = header.iter().map(|value| ("x-api-key", &value[..])).collect();
    let path = format!("/socket/websocket?{query}");
    Upgrade::request(server.port, &path, &header).unwrap().status
}

#[test]
fn a_key_is_in_the_query_or_in_the_header_which_wins() {
    let server = Server::start(&[]);
    let (good, bad) = (anon(), "not.a.key");
    for (query, header, expected) in [
        (format!("apikey={good}"), None, 101),
        (format!("apikey={good}&vsn=2.0.0&log_level=info"), None, 101),
        (format!("apikey={bad}"), Some(&*good), 101),
        (String::new(), Some(&*good), 101),
        (format!("apikey={good}"), Some(bad), 401),
        (format!("apikey={bad}"), None, 401),
        (String::new(), None, 401),
        ("apikey=".to_owned(), None, 401),
        (format!("apikey={good}&vsn=3.0.0"), None, 403),
    ] {
        assert_eq!(status(&server, &query, header), expected, "{query} {header:?}");
    }
    for claims in [
        json!({ "role": "anon", "exp": now() - 1 }),
        json!({ "role": "anon" }),
        json!({ "exp": now() + 60 }),
        json!({ "role": 7, "exp": now() + 60 }),
    ] {
        assert_eq!(status(&server, &format!("apikey={}", signed(&claims)), None), 401, "{claims}");
    }
}

/// The response of a join with this payload.
fn join(server: &Server, key: &str, topic: &str, payload: &Value) -> (Value, Value) {
    let mut client = server.client(key);
    client.send(&json!(["1", "1", topic, "phx_join", payload]));
    let message = client.message();
    (message[4]["status"].clone(), message[4]["response"].clone())
}

#[test]
fn a_join_is_refused_with_a_code_that_says_why() {
    let server = Server::start(&[]);
    let expired = signed(&json!({ "role": "anon", "exp": now() - 7 }));
    let roleless = signed(&json!({ "exp": now() + 60 }));
    let forged = format!("{}x", anon());
    let private = json!({ "config": { "private": true } });
    let changes = json!({ "config": { "postgres_changes": [{ "event": "*", "schema": "public" }] } });
    for (topic, payload, code) in [
        ("realtime:", json!({}), "TopicNameRequired: You must provide a topic name"),
        ("realtime:a", json!({ "access_token": expired }), "InvalidJWTToken: Token has expired "),
        ("realtime:a", json!({ "user_token": expired }), "InvalidJWTToken: Token has expired "),
        ("realtime:a", json!({ "access_token": roleless }), "InvalidJWTToken: Fields `role` and `exp`"),
        ("realtime:a", json!({ "access_token": forged }), "JwtSignatureError: "),
        ("realtime:a", json!({ "access_token": "x" }), "MalformedJWT: "),
        ("realtime:a", json!({ "access_token": "" }), "MalformedJWT: "),
        ("realtime:a", private, "Unauthorized: "),
        ("realtime:a", changes, "PostgresChangesNotSupported: "),
    ] {
        let (status, response) = join(&server, &anon(), topic, &payload);
        let reason = response["reason"].as_str().unwrap_or_default();
        assert!(status == "error" && reason.starts_with(code), "{topic} {payload}: {response}");
    }
    // of no token, the apikey counts
    for token in [json!(null), json!("sb_publishable_x"), json!(7)] {
        let (status, response) = join(&server, &anon(), "realtime:a", &json!({ "access_token": token }));
        assert_eq!((status, response), (json!("ok"), json!({ "postgres_changes": [] })), "{token}");
    }
}

#[test]
fn who_may_read_a_private_channel_hears_it_and_only_who_may_write_is_heard() {
    let server = Server::start(&[]);
    let private = json!({ "private": true, "broadcast": { "ack": true } });
    let mut writer = server.joined(&granting(&json!(["a"])), "a", &private);
    let mut reader = server.joined(&granting(&json!({ "read": ["a"] })), "a", &private);
    let message = |n: u8| json!({ "type": "broadcast", "event": "e", "payload": { "n": n } });
    reader.send(&json!(["1", "2", "realtime:a", "broadcast", message(1)]));
    reader.send(&json!(["1", "3", "realtime:a", "presence", { "event": "track", "payload": {} }]));
    // the broadcast was dropped without a reply
    let refused = reader.message();
    assert_eq!((&refused[1], &refused[4]["status"]), (&json!("3"), &json!("error")), "{refused}");
    writer.send(&json!(["1", "2", "realtime:a", "broadcast", message(2)]));
    hears(&reader, "broadcast", &message(2));
    let reply = writer.message();
    assert_eq!((&reply[1], &reply[4]), (&json!("2"), &json!({ "status": "ok", "response": {} })));
}

#[test]
fn everyone_who_is_signed_in_may_use_private_channels_if_the_server_says_so() {
    let server = Server::start(&[("PRIVATE_CHANNELS", "signed-in")]);
    let private = json!({ "config": { "private": true } });
    assert_eq!(join(&server, &granting(&json!(null)), "realtime:a", &private).0, "ok");
    assert_eq!(join(&server, &anon(), "realtime:a", &private).0, "error");
}

#[test]
fn a_token_that_loses_the_channel_closes_it_and_one_that_is_none_is_ignored() {
    let server = Server::start(&[]);
    let private = json!({ "private": true });
    let mut client = server.joined(&granting(&json!(["a"])), "a", &private);
    for payload in [
        json!({ "access_token": null }),
        json!({ "access_token": "sb_secret_x" }),
        json!({ "access_token": 7 }),
        json!({}),
        json!([]),
        json!({ "access_token": granting(&json!({ "read": ["*"] })) }),
    ] {
        client.send(&json!(["1", "2", "realtime:a", "access_token", payload]));
    }
    client.beat();
    client
        .send(&json!(["1", "3", "realtime:a", "access_token", { "access_token": granting(&json!(["b"])) }]));
    let message = "You do not have permissions to read from this Channel topic: a";
    hears(
        &client,
        "system",
        &json!({ "extension": "system", "status": "error", "message": message, "channel": "a" }),
    );
    assert_eq!(client.message()[3], "phx_close");
}
