//! Broadcasts by HTTP.

use serde_json::{Value, json};

use crate::{
    client::Item,
    http::{Reply, exchange, get},
    server::{Server, anon, granting, hears, now, signed},
};

const BATCH: &str = "/api/broadcast";

struct Asks<'a> {
    server: &'a Server,
    headers: Vec<(String, String)>,
}

impl Server {
    /// Someone with a token.
    fn with(&self, token: &str) -> Asks<'_> {
        Asks { server: self, headers: vec![] }.header("Authorization", &format!("Bearer {token}"))
    }
}

impl Asks<'_> {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn post(&self, path: &str, body: &[u8]) -> Reply {
        exchange(self.server.port, "POST", path, &self.headers, Some(body)).unwrap()
    }

    fn posts(&self, messages: &Value) -> Reply {
        self.post(BATCH, json!({ "messages": messages }).to_string().as_bytes())
    }
}

fn error(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"], body["message"]);
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_batch_reaches_its_channels_and_skips_private_ones_that_are_not_granted() {
    let server = Server::start(&[]);
    let public = server.joined(&anon(), "a/é", &json!({}));
    let private = server.joined(&granting(&json!(["a/é"])), "a/é", &json!({ "private": true }));
    let messages = json!([
        { "topic": "a/é", "event": "e", "payload": { "n": 1 } },
        { "topic": "a/é", "event": "e", "payload": { "n": 2 }, "private": true },
        { "topic": "a/é", "event": "e", "payload": { "n": 3 }, "private": "FALSE", "id": "7" },
        { "topic": "nobody", "event": "e", "payload": {} },
    ]);
    for (token, prefix) in [(anon(), ""), (granting(&json!({ "write": ["a/*"] })), "/realtime/v1")] {
        let body = json!({ "messages": messages }).to_string();
        let reply = server.with(&token).post(&format!("{prefix}{BATCH}"), body.as_bytes());
        assert_eq!((reply.status, &*reply.text()), (202, ""));
        let message = |n: u8| json!({ "type": "broadcast", "event": "e", "payload": { "n": n } });
        hears(&public, "broadcast", &message(1));
        let mut third = message(3);
        third["meta"] = json!({ "id": "7" });
        hears(&public, "broadcast", &third);
    }
    hears(&private, "broadcast", &json!({ "type": "broadcast", "event": "e", "payload": { "n": 2 } }));
    let metrics = get(server.port, "/metrics", &[]).text();
    for line in [r#"supabase_broadcasts_total{by="http"} 7"#, "supabase_broadcasts_skipped_total 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn a_batch_with_one_wrong_field_sends_nothing() {
    let server = Server::start(&[]);
    let mut client = server.joined(&anon(), "a", &json!({}));
    let asks = server.with(&anon());
    let good = json!({ "topic": "a", "event": "e", "payload": {} });
    for (field, wrong) in [
        ("topic", json!("")),
        ("topic", json!(7)),
        ("topic", json!(null)),
        ("event", json!("")),
        ("event", json!([])),
        ("payload", json!(null)),
        ("payload", json!([])),
        ("payload", json!("x")),
        ("private", json!("yes")),
        ("private", json!(1)),
        ("id", json!(7)),
    ] {
        let mut bad = good.clone();
        bad[field] = wrong;
        let reply = asks.posts(&json!([good, bad]));
        assert_eq!(reply.status, 422, "{bad}: {}", reply.text());
        assert!(!error(&reply).is_empty());
    }
    for field in ["topic", "event", "payload"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(field);
        assert_eq!(asks.posts(&json!([good, bad])).status, 422, "without {field}");
    }
    let deep = format!(
        r#"{{"messages":[{{"topic":"a","event":"e","payload":{{"x":{}{}}}}}]}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    let bodies: [&[u8]; 10] = [
        b"",
        b"{",
        b"[]",
        b"{}",
        br#"{"messages":{}}"#,
        br#"{"messages":[]}"#,
        b"\xff",
        deep.as_bytes(),
        br#"[[]]"#,
        br#"{"messages":[["a","e",{}]]}"#,
    ];
    for body in bodies {
        assert_eq!(asks.post(BATCH, body).status, 422, "{}", String::from_utf8_lossy(body));
    }
    client.beat();
}

#[test]
fn one_message_has_its_names_in_the_path_and_any_json_or_bytes_as_its_body() {
    let server = Server::start(&[]);
    let client = server.joined(&anon(), "a/é%", &json!({}));
    let private = server.joined(&granting(&json!(["a/é%"])), "a/é%", &json!({ "private": true }));
    let path = "/api/broadcast/a%2F%C3%A9%25/events/e%2F%20";
    let asks = server.with(&anon()).header("Content-Type", "application/json; charset=utf-8");
    for body in ["{\"n\":1}", "[1]", "7", "null", "\"x\""] {
        assert_eq!(asks.post(&format!("/realtime/v1{path}"), body.as_bytes()).status, 202);
        let payload: Value = serde_json::from_str(body).unwrap();
        hears(&client, "broadcast", &json!({ "type": "broadcast", "event": "e/ ", "payload": payload }));
    }
    let asks = server.with(&anon()).header("Content-Type", "application/octet-stream");
    assert_eq!(asks.post(path, &[0, 255]).status, 202);
    let header = [4, 14, 3, 0, 0];
    let bytes = [&header[..], "realtime:a/é%e/ ".as_bytes(), &[0, 255]].concat();
    assert_eq!(client.next(), Item::Binary(bytes));
    let long = "x".repeat(256);
    for path in [format!("/api/broadcast/{long}/events/e"), format!("/api/broadcast/a/events/{long}")] {
        let reply = asks.post(&path, b"x");
        assert_eq!(reply.status, 422, "{}", reply.text());
    }
    for (token, status) in [(anon(), 202), (granting(&json!(["*"])), 202)] {
        let asks = server.with(&token).header("Content-Type", "application/json");
        assert_eq!(asks.post(&format!("{path}?private=true"), b"1").status, status);
    }
    hears(&private, "broadcast", &json!({ "type": "broadcast", "event": "e/ ", "payload": 1 }));
}

#[test]
fn a_body_of_another_type_is_415_and_one_that_is_too_long_413() {
    let server = Server::start(&[("MAX_MESSAGE_SIZE", "1000")]);
    let path = "/api/broadcast/a/events/e";
    for kind in ["text/plain", "application/x-www-form-urlencoded", "x"] {
        assert_eq!(server.with(&anon()).header("Content-Type", kind).post(path, b"{}").status, 415, "{kind}");
    }
    assert_eq!(server.with(&anon()).post(path, b"{}").status, 415);
    let json = server.with(&anon()).header("Content-Type", "application/json");
    assert_eq!(json.post(path, b"{").status, 422);
    let fits = format!("\"{}\"", "x".repeat(998));
    assert_eq!(json.post(path, fits.as_bytes()).status, 202);
    let long = json.post(path, format!("{fits} ").as_bytes());
    assert_eq!((long.status, long.header("access-control-allow-origin")), (413, Some("*")));
}

#[test]
fn a_request_needs_a_token_in_one_of_two_headers() {
    let server = Server::start(&[]);
    let messages = json!([{ "topic": "a", "event": "e", "payload": {} }]);
    let nobody = || Asks { server: &server, headers: vec![] };
    let expired = signed(&json!({ "role": "anon", "exp": now() - 1 }));
    for (asks, status, code) in [
        (nobody(), 401, "Unauthorized: "),
        (nobody().header("Authorization", "Basic YTpi"), 401, "Unauthorized: "),
        (server.with("x"), 401, "MalformedJWT: "),
        (server.with(&expired), 401, "InvalidJWTToken: Token has expired"),
        (server.with("x").header("apikey", &anon()), 401, "MalformedJWT: "),
    ] {
        let reply = asks.posts(&messages);
        assert_eq!(reply.status, status);
        assert!(error(&reply).starts_with(code), "{}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    for asks in [
        nobody().header("apikey", &anon()),
        nobody().header("authorization", &format!("bearer  {}", anon())),
        server.with("sb_secret_x").header("apikey", &anon()),
    ] {
        assert_eq!(asks.posts(&messages).status, 202);
    }
}

#[test]
fn pages_of_any_origin_may_ask_with_the_headers_that_they_want() {
    let server = Server::start(&[]);
    for path in ["/api/broadcast", "/realtime/v1/api/broadcast", "/realtime/v1/api/broadcast/a/events/e"] {
        let headers = [
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "apikey,authorization,x-client-info"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let reply = exchange(server.port, "OPTIONS", path, &headers, None).unwrap();
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("apikey,authorization,x-client-info"));
        assert_eq!(reply.header("access-control-allow-methods"), Some("POST, OPTIONS"));
    }
    assert_eq!(get(server.port, "/api/broadcast", &[]).status, 405);
    assert_eq!(get(server.port, "/healthz", &[]).status, 200);
}
