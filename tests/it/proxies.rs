//! Who a client is: `X-Forwarded-For`, with and without trusted proxies, on the example server `remote_ip`.

use serde_json::{Value, json};

use crate::{
    client::{Client, Upgrade},
    http::exchange,
    server::{Launch, Server},
};

const PATH: &str = "/socket/websocket?vsn=2.0.0";

/// A server that believes these proxies.
fn server(trusted: &str) -> Server {
    Launch::example("remote_ip").set("TRUSTED_PROXIES", trusted).start()
}

/// A client that sends these lines of the header is taken for `wanted`.
fn is_seen_as(server: &Server, lines: &[&str], wanted: &str) {
    let upgrade = Upgrade::request(server.port, PATH, &[("X-Forwarded-For", lines)]).unwrap();
    assert_eq!(upgrade.status, 101, "{lines:?}");
    let mut client = Client::over(upgrade);
    client.send(&json!(["1", "1", "address", "phx_join", {}]));
    let seen = json!({ "remote_ip": wanted, "peer": "127.0.0.1" });
    client.expect(&json!(["1", "1", "address", "phx_reply", { "status": "ok", "response": seen }]));
}

#[test]
fn without_trusted_proxies_a_client_is_its_connection_whatever_it_says() {
    for trusted in ["", "10.0.0.0/8,127.0.0.2,::1"] {
        let server = server(trusted);
        is_seen_as(&server, &[], "127.0.0.1");
        is_seen_as(&server, &["1.1.1.1"], "127.0.0.1");
    }
}

#[test]
fn a_trusted_proxy_says_who_the_client_is_and_what_the_client_itself_said_does_not_count() {
    let server = server("127.0.0.0/8, 10.0.0.1");
    is_seen_as(&server, &["1.1.1.1"], "1.1.1.1");
    is_seen_as(&server, &["6.6.6.6, 1.1.1.1"], "1.1.1.1");
    is_seen_as(&server, &["6.6.6.6", "1.1.1.1, 10.0.0.1"], "1.1.1.1");
    is_seen_as(&server, &["2001:db8::7"], "2001:db8::7");
}

#[test]
fn a_malformed_header_is_no_reason_to_refuse_a_client() {
    let server = server("127.0.0.1");
    for junk in ["", ",", ", ,", "unknown", "1.1.1.1, nobody", "鳥", "[::1", &",".repeat(10_000)] {
        is_seen_as(&server, &[junk], "127.0.0.1");
    }
}

#[test]
fn a_long_poll_has_its_address_in_the_same_way() {
    let server = server("127.0.0.1");
    let ask = |method: &str, token: &str, body: Option<&str>| -> Value {
        let headers = [("X-Forwarded-For", "6.6.6.6, 1.1.1.1"), ("X-Phoenix-Longpoll-Token", token)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let path = "/socket/longpoll?vsn=2.0.0";
        let reply = exchange(server.port, method, path, &headers, body.map(str::as_bytes)).unwrap();
        serde_json::from_slice(&reply.body).unwrap()
    };
    let token = ask("GET", "", None)["token"].as_str().unwrap().to_owned();
    assert_eq!(ask("POST", &token, Some(r#"["1","1","address","phx_join",{}]"#))["status"], 200);
    let answer = ask("GET", &token, None);
    let message: Value = serde_json::from_str(answer["messages"][0].as_str().unwrap()).unwrap();
    assert_eq!(message[4]["response"]["remote_ip"], "1.1.1.1");
}
