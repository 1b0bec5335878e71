//! What clients write into their messages that parsers disagree about: numbers, keys that are there twice, empty refs.

use serde_json::json;

use crate::{
    client::{Client, Item},
    frame::{BINARY, masked},
    poller::Poller,
    server::Launch,
};

/// Numbers with a fraction or an exponent that are beyond a double.
fn too_big() -> [String; 5] {
    let long = "9".repeat(400);
    ["1e999".into(), "-1e400".into(), "1E+309".into(), format!("{long}.5"), format!("-{long}e0")]
}

#[test]
fn a_number_that_no_double_holds_ends_its_sender_and_reaches_nobody() {
    let server = Launch::reference().start();
    let mut other = Client::joined(server.port, "ref:room");
    for number in too_big() {
        for message in [
            format!(r#"["1","2","ref:room","bcast",{{"a":[{number}]}}]"#),
            format!(r#"["1","2","ref:room","echo",{{}},{number}]"#),
            format!(r#"["1",{number},"ref:room","echo",{{}}]"#),
        ] {
            let mut client = Client::joined(server.port, "ref:room");
            client.text(&message);
            client.closes(1011);
        }
        let mut client = Client::open(server.port, "/socket/websocket");
        client.text(&format!(r#"{{"topic":"t","event":"e","payload":{number},"ref":"1"}}"#));
        client.closes(1011);

        let mut poller = Poller::open(server.port, "/socket");
        poller.posts(&[json!(["1", "1", "ref:room", "phx_join", {}])], 200);
        assert_eq!(poller.messages()[0][3], "phx_reply");
        let body = format!(r#"["1","2","ref:room","bcast",{{"n":{number}}}]"#);
        assert_eq!(poller.post_body(body.as_bytes()).text(), r#"{"status":408}"#, "{number}");
        assert_eq!(poller.poll()["status"], 410, "the session is gone");
    }
    other.beat();
}

#[test]
fn integers_of_any_length_and_numbers_of_any_smallness_are_passed_on() {
    let server = Launch::reference().start();
    let mut client = Client::joined(server.port, "ref:room");
    // the client's parser would round a number that is larger
    let payload = json!({ "small": 0.0, "zero": 0.0, "large": 1e308 });
    client.text(r#"["1","2","ref:room","bcast",{"small":1e-999,"zero":0e999,"large":1e308}]"#);
    client.expect(&json!([null, null, "ref:room", "bcast", payload]));
    client.text(&format!(r#"["1","3","ref:room","noreply",{{"n":{}}}]"#, "9".repeat(400)));
    client.beat();
}

#[test]
fn of_a_key_that_is_there_twice_the_last_counts_for_the_server_and_its_clients() {
    let server = Launch::reference().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    let mut other = Client::joined(server.port, "ref:room");
    // the reference server reads the payload of a join, and passes that of a broadcast on
    client.text(r#"["1","1","ref:room","phx_join",{"n":1,"n":2}]"#);
    client.expect(
        &json!(["1", "1", "ref:room", "phx_reply", {"status": "ok", "response": {"echo": {"n": 2}}}]),
    );
    client.text(r#"["1","2","ref:room","bcast",{"n":1,"n":2}]"#);
    other.expect(&json!([null, null, "ref:room", "bcast", {"n": 2}]));

    let mut present = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    present.text(r#"["1","1","presence:room","phx_join",{"user_id":"ann","user_id":"bob"}]"#);
    let keys = || loop {
        let message = present.message();
        if message[3] == "presence_state" {
            return message[4].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        }
    };
    assert_eq!(keys(), ["bob"]);
    other.beat();
}

#[test]
fn an_empty_ref_of_a_binary_push_is_a_text_like_any_other() {
    let server = Launch::reference().start();
    let mut client = Client::joined(server.port, "ref:room");
    // no channel was joined with an empty join_ref: the push is stale, as in Phoenix
    client.bytes(&masked(true, BINARY, b"\0\0\x01\x08\x034ref:roombin\x01"));
    client.beat();
    // an empty ref comes back as it was sent
    client.bytes(&masked(true, BINARY, b"\0\x01\0\x08\x031ref:roombin\x02"));
    assert_eq!(client.next(), Item::Binary(b"\x01\x01\0\x08\x021ref:roomok\x02".to_vec()));
    client.bytes(&masked(true, BINARY, b"\0\0\0\x08\x03ref:elsebin\x03"));
    client.expect(
        &json!([null, "", "ref:else", "phx_reply", {"status": "error", "response": {"reason": "unmatched topic"}}]),
    );
}

#[test]
fn a_user_broadcast_closes_a_socket_that_has_none_as_it_does_at_phoenix() {
    let server = Launch::reference().start();
    let mut other = Client::joined(server.port, "ref:room");
    for encoding in [0, 1] {
        let mut client = Client::joined(server.port, "ref:room");
        let message = [&[3, 1, 1, 8, 1, 0, encoding][..], b"12ref:roome{}"].concat();
        client.bytes(&masked(true, BINARY, &message));
        client.closes(1011);
    }
    other.beat();
}
