//! Topics on one socket: how many there may be, and how they are matched.

use serde_json::json;

use crate::{client::Client, server::Launch};

const MOST: usize = 100;

#[test]
fn the_101st_topic_is_refused_until_another_is_left() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    for n in 1..=MOST {
        client.join("1", &format!("ref:{n}"));
    }
    let refused = json!({"status": "error", "response": {"reason": "too many channels joined"}});
    for reference in ["2", "3"] {
        client.send(&json!([reference, reference, "ref:101", "phx_join", {}]));
        let got = client.message();
        assert_eq!((&got[1], &got[2], &got[4]), (&json!(reference), &json!("ref:101"), &refused), "{got}");
    }
    // the others live on, and the bound is on one socket
    client.send(&json!(["1", "4", "ref:100", "echo", {"n": 100}]));
    client.expect(&json!(["1", "4", "ref:100", "phx_reply", {"status": "ok", "response": {"n": 100}}]));
    Client::joined(server.port, "ref:101");

    client.send(&json!(["1", "5", "ref:50", "phx_leave", {}]));
    client.expect(&json!(["1", "5", "ref:50", "phx_reply", {"status": "ok", "response": {}}]));
    client.expect(&json!(["1", "1", "ref:50", "phx_close", {}]));
    client.join("6", "ref:101");
}

#[test]
fn refused_and_crashed_joins_take_no_place_among_the_hundred() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    for n in 0..2 * MOST {
        let payload = if n % 2 == 0 { json!({"deny": true}) } else { json!({"crash": true}) };
        client.send(&json!(["1", "1", format!("ref:{n}"), "phx_join", payload]));
        let got = client.message();
        assert_eq!(got[4]["status"], "error", "{got}");
    }
    client.join("1", "ref:last");
}

#[test]
fn a_pattern_takes_the_empty_rest_and_the_star_itself() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    for topic in ["ref:", "ref:*", "ref:a:b", "ref:部屋"] {
        client.join("1", topic);
    }
    for topic in ["ref", "refs:a", "Ref:a", " ref:a", "re", "*", ""] {
        client.send(&json!(["1", "2", topic, "phx_join", {}]));
        let response = json!({"status": "error", "response": {"reason": "unmatched topic"}});
        client.expect(&json!([null, "2", topic, "phx_reply", response]));
    }
}
