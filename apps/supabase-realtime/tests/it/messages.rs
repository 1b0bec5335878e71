//! What clients send on a channel: every field, right and wrong.

use serde_json::{Value, json};

use crate::{
    client::{Client, Item},
    frame::{BINARY, masked},
    server::{Server, anon, hears},
};

const TOPIC: &str = "realtime:a";

fn says(client: &mut Client, reference: &str, event: &str, payload: &Value) {
    client.send(&json!(["1", reference, TOPIC, event, payload]));
}

/// A binary frame of a client.
fn user_broadcast(event: &[u8], meta: &[u8], encoding: u8, payload: &[u8]) -> Vec<u8> {
    let sizes = [1, 1, TOPIC.len(), event.len(), meta.len()].map(|size| u8::try_from(size).unwrap());
    let message = [&[3][..], &sizes, &[encoding], b"12", TOPIC.as_bytes(), event, meta, payload].concat();
    masked(true, BINARY, &message)
}

#[test]
fn a_message_is_passed_on_as_it_came_in_each_form_to_each_version() {
    let server = Server::start(&[]);
    let mut sender = server.joined(&anon(), "a", &json!({}));
    let v2 = server.joined(&anon(), "a", &json!({}));
    let mut v1 = Client::open(server.port, &format!("/socket/websocket?apikey={}", anon()));
    v1.send(&json!({ "topic": TOPIC, "event": "phx_join", "payload": {}, "ref": "1" }));
    assert_eq!(v1.message()["payload"]["status"], "ok");
    assert_eq!(v1.message()["event"], "presence_state");

    let odd = json!({ "type": "broadcast", "event": "e", "payload": [1], "more": { "x": null } });
    says(&mut sender, "2", "broadcast", &odd);
    sender.bytes(&user_broadcast("é".as_bytes(), br#"{"id":"7"}"#, 1, b"{\"n\":1}"));
    sender.bytes(&user_broadcast("é".as_bytes(), br#"{"id":"7"}"#, 0, &[0, 255]));
    says(&mut sender, "3", "broadcast", &json!({ "last": true }));
    let json = json!({ "type": "broadcast", "event": "é", "payload": { "n": 1 }, "meta": { "id": "7" } });
    hears(&v2, "broadcast", &odd);
    hears(&v2, "broadcast", &json);
    let sizes = [4, 10, 2, 10, 0];
    let bytes = [&sizes[..], TOPIC.as_bytes(), "é".as_bytes(), br#"{"id":"7"}"#, &[0, 255]].concat();
    assert_eq!(v2.next(), Item::Binary(bytes));
    hears(&v2, "broadcast", &json!({ "last": true }));
    for payload in [odd, json, json!({ "last": true })] {
        v1.expect(&json!({ "topic": TOPIC, "event": "broadcast", "payload": payload, "ref": null }));
    }
    sender.beat();
}

#[test]
fn what_is_no_message_is_dropped_and_what_is_no_frame_closes_its_sender_alone() {
    let server = Server::start(&[]);
    let ack = json!({ "broadcast": { "ack": true, "self": true } });
    let mut client = server.joined(&anon(), "a", &ack);
    for payload in [json!(null), json!([]), json!("x"), json!(7)] {
        says(&mut client, "2", "broadcast", &payload);
    }
    // bytes that are no user broadcast
    client.bytes(&masked(true, BINARY, b"\0\x01\x01\x0a\x0912realtime:abroadcastx"));
    client.beat();
    for frame in [
        user_broadcast(b"e", b"", 2, b"{}"),
        user_broadcast(b"e", b"", 1, b"{"),
        user_broadcast(b"e", b"{", 0, b""),
        user_broadcast(b"\xff", b"", 0, b""),
        masked(true, BINARY, b"\x03"),
        masked(true, BINARY, b"\x03\x01\x01\xff\x01\0\0 12realtime:a"),
        masked(true, BINARY, b"\x04\x01\x01\0\0ab"),
    ] {
        let mut other = server.joined(&anon(), "a", &ack);
        other.bytes(&frame);
        other.closes(1011);
    }
    client.beat();
}

#[test]
fn events_that_nobody_knows_are_ignored_with_any_payload() {
    let server = Server::start(&[]);
    let mut client = server.joined(&anon(), "a", &json!({}));
    for event in ["postgres_changes", "system", "presence_state", "", "BROADCAST", "phx_whatever"] {
        for payload in [json!({}), json!(null), json!([[]]), json!("x")] {
            says(&mut client, "2", event, &payload);
        }
    }
    client.beat();
}

/// The diff that comes next, as the metas of a key in its halves.
fn diff(client: &Client, key: &str) -> [Value; 2] {
    let message = client.message();
    assert_eq!(message[3], "presence_diff", "{message}");
    ["joins", "leaves"].map(|half| message[4][half][key]["metas"].clone())
}

#[test]
fn a_presence_replaces_the_one_before_it_and_the_same_again_is_nothing() {
    let server = Server::start(&[]);
    let mut ann = server.joined(&anon(), "a", &json!({ "presence": { "key": "ann" } }));
    let other = server.joined(&anon(), "a", &json!({}));
    let mut track = |payload: &Value| {
        says(&mut ann, "2", "presence", &json!({ "event": "TRACK", "payload": payload }));
        // its diff may come on either side of the reply
        let mut seen = [ann.message(), Value::Null];
        if seen[0][3] == "presence_diff" {
            seen = [ann.message(), Value::Null];
        }
        assert_eq!(seen[0][4], json!({ "status": "ok", "response": {} }), "{seen:?}");
    };
    track(&json!({ "n": 1 }));
    let [joins, leaves] = diff(&other, "ann");
    assert_eq!((&joins[0]["n"], &leaves), (&json!(1), &Value::Null));
    let first = joins[0]["phx_ref"].clone();
    assert!(first.is_string() && joins[0]["phx_ref_prev"].is_null());
    let [joins, leaves] = {
        let mut bob = server.joined(&anon(), "a", &json!({ "presence": { "key": "bob" } }));
        says(&mut bob, "2", "presence", &json!({ "event": "track", "payload": {} }));
        assert_eq!(diff(&other, "bob")[0][0]["n"], Value::Null);
        drop(bob);
        diff(&other, "bob")
    };
    assert_eq!((joins, leaves[0].is_object()), (Value::Null, true));
    let mut again = server.joined(&anon(), "a", &json!({ "presence": { "key": "again" } }));
    for payload in [json!({ "n": 1 }), json!({ "n": 1 }), json!({ "n": 2 })] {
        says(&mut again, "2", "presence", &json!({ "event": "track", "payload": payload }));
    }
    let [joins, _] = diff(&other, "again");
    let first = joins[0]["phx_ref"].clone();
    // the same again made none: the next one replaces the first, in the same diff or the next
    if joins[0]["n"] == 1 {
        let [joins, leaves] = diff(&other, "again");
        assert_eq!((&joins[0]["n"], &joins[0]["phx_ref_prev"]), (&json!(2), &first));
        assert_eq!(leaves[0]["phx_ref"], first);
    }
}

#[test]
fn a_presence_is_answered_whatever_it_is() {
    let server = Server::start(&[]);
    let mut client = server.joined(&anon(), "a", &json!({}));
    for (payload, reason) in [
        (json!({ "event": "untrack" }), None),
        (json!({ "event": "dance" }), None),
        (json!({}), None),
        (json!({ "event": "track", "payload": [] }), Some("Presence track payload must be a map")),
        (json!({ "event": "track", "payload": null }), Some("Presence track payload must be a map")),
        (json!([]), Some("Presence track payload must be a map")),
    ] {
        says(&mut client, "2", "presence", &payload);
        let reply = client.message();
        let expected = match reason {
            None => json!({ "status": "ok", "response": {} }),
            Some(reason) => json!({ "status": "error", "response": { "reason": reason } }),
        };
        assert_eq!(reply[4], expected, "{payload}");
    }
}

#[test]
fn who_has_presence_off_is_sent_no_state_until_it_is_present() {
    let server = Server::start(&[]);
    let mut client = server.client(&anon());
    let config = json!({ "presence": { "enabled": "False", "key": "ann" } });
    client.send(&json!(["1", "1", TOPIC, "phx_join", { "config": config }]));
    assert_eq!(client.message()[3], "phx_reply");
    client.beat();
    says(&mut client, "2", "presence", &json!({ "event": "track", "payload": {} }));
    let events: Vec<Value> = (0..3).map(|_| client.message()[3].clone()).collect();
    assert_eq!(events, ["presence_diff", "presence_state", "phx_reply"]);
}
