//! Refs come back as they were sent: strings, numbers and null.

use serde_json::{Value, json};

use crate::{client::Client, server::Launch};

fn ok(response: &Value) -> Value {
    json!({"status": "ok", "response": response})
}

#[test]
fn version_2_echoes_join_ref_and_ref_of_any_kind() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    // beyond 2^53 a ref must not go through a float
    let refs = [
        json!("1"),
        json!(""),
        json!("\"\\é"),
        json!(1),
        json!(0),
        json!(-7),
        json!(9_007_199_254_740_993_u64),
        json!(null),
    ];
    for (number, join_ref) in refs.iter().enumerate() {
        let topic = format!("ref:{number}");
        for reference in &refs {
            // a join of a topic that is joined already replaces it: leave it first
            client.send(&json!([join_ref, reference, topic, "phx_join", {}]));
            client.expect(&json!([join_ref, reference, topic, "phx_reply", ok(&json!({"echo": {}}))]));
            // a channel that was given no join_ref speaks by the ref of its join
            let spoken = if join_ref.is_null() { reference } else { join_ref };
            client.send(&json!([join_ref, reference, topic, "echo", {"n": number}]));
            client.expect(&json!([spoken, reference, topic, "phx_reply", ok(&json!({"n": number}))]));
            client.send(&json!([join_ref, reference, topic, "push", {}]));
            client.expect(&json!([spoken, null, topic, "pushed", {}]));
            client.send(&json!([join_ref, reference, topic, "phx_leave", {}]));
            client.expect(&json!([spoken, reference, topic, "phx_reply", ok(&json!({}))]));
            client.expect(&json!([join_ref, join_ref, topic, "phx_close", {}]));
            client.send(&json!([null, reference, "phoenix", "heartbeat", {}]));
            client.expect(&json!([null, reference, "phoenix", "phx_reply", ok(&json!({}))]));
        }
    }
}

#[test]
fn version_2_carries_a_numeric_join_ref_into_phx_error() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.send(&json!([4, 5, "ref:a", "phx_join", {}]));
    client.expect(&json!([4, 5, "ref:a", "phx_reply", ok(&json!({"echo": {}}))]));
    client.send(&json!([4, 6, "ref:a", "crash", {}]));
    client.expect(&json!([4, 4, "ref:a", "phx_error", {"reason": "channel_crash"}]));
}

#[test]
fn a_join_ref_of_another_type_is_another_join_ref() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.send(&json!(["4", "4", "ref:a", "phx_join", {}]));
    client.expect(&json!(["4", "4", "ref:a", "phx_reply", ok(&json!({"echo": {}}))]));
    client.send(&json!([4, "5", "ref:a", "echo", {"stale": true}]));
    client.send(&json!(["4", "6", "ref:a", "echo", {"stale": false}]));
    client.expect(&json!(["4", "6", "ref:a", "phx_reply", ok(&json!({"stale": false}))]));
}

#[test]
fn version_1_echoes_refs_of_any_kind() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=1.0.0");
    for reference in [json!("1"), json!(""), json!(1), json!(9_007_199_254_740_993_u64), json!(null)] {
        let said = |event: &str, payload: Value| json!({"topic": "ref:a", "event": event, "payload": payload, "ref": reference});
        client.send(&said("phx_join", json!({})));
        client.expect(&said("phx_reply", ok(&json!({"echo": {}}))));
        client.send(&said("echo", json!({"x": 1})));
        client.expect(&said("phx_reply", ok(&json!({"x": 1}))));
        client.send(&said("phx_leave", json!({})));
        client.expect(&said("phx_reply", ok(&json!({}))));
        client.expect(&json!({"topic": "ref:a", "event": "phx_close", "payload": {}, "ref": null}));
        client.send(&json!({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": reference}));
        client.expect(
            &json!({"topic": "phoenix", "event": "phx_reply", "payload": ok(&json!({})), "ref": reference}),
        );
    }
}
