//! How many messages a client may send in a time: beyond it an answer that says so, then the end.

use serde_json::{Value, json};

use crate::{
    client::{Client, Item},
    frame::{PING, TEXT, masked},
    guest::LOBBY,
    metrics::comes_to,
    poller::Poller,
    server::{Launch, Server},
};

/// Sent in no time, so that the one a second hardly matters; where it could, a test allows for it.
const BURST: usize = 20;

/// One message a second, after a burst.
fn strict() -> Server {
    Launch::chat().set("MAX_MESSAGE_RATE", 1).set("MAX_MESSAGE_BURST", BURST).start()
}

fn too_many(join_ref: &Value, reference: &Value, topic: &str) -> Value {
    json!([join_ref, reference, topic, "phx_reply", {"status": "error", "response": {"reason": "too many messages"}}])
}

/// All messages in one write, so that time hardly passes between them.
fn flood(messages: impl IntoIterator<Item = Value>) -> Vec<u8> {
    messages.into_iter().flat_map(|message| masked(true, TEXT, message.to_string().as_bytes())).collect()
}

/// What comes until the connection ends.
fn all_of(client: &Client) -> Vec<Item> {
    let mut items = vec![];
    while items.last() != Some(&Item::Eof) {
        items.push(client.next());
    }
    items
}

fn beat(n: usize) -> Value {
    json!([null, n, "phoenix", "heartbeat", {}])
}

#[test]
fn a_burst_is_answered_what_is_over_is_refused_by_its_ref_and_who_goes_on_is_closed_with_1008() {
    let server = strict();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.bytes(&flood((0..4 * BURST).map(beat)));
    let items = all_of(&client);
    let (answers, end) = items.split_at(items.len() - 2);
    assert_eq!(end, [Item::Close(Some(1008)), Item::Eof]);
    let mut refused = 0;
    for (n, answer) in answers.iter().enumerate() {
        let Item::Text(answer) = answer else { panic!("{answer:?}") };
        let ok = json!([null, n, "phoenix", "phx_reply", {"status": "ok", "response": {}}]);
        if *answer == ok {
            assert!(n < BURST || refused > 0, "only time gives more than a burst");
        } else {
            assert_eq!(*answer, too_many(&Value::Null, &json!(n), "phoenix"));
            refused += 1;
        }
    }
    // at one token a second, a test that takes seconds may see some more
    assert!(
        refused >= BURST && answers.len() >= 2 * BURST && answers.len() < 4 * BURST,
        "{} {refused}",
        answers.len()
    );
    comes_to(&server, "hinotori_connections_closed_total{reason=\"rate\"}", 1.0);
    comes_to(&server, "hinotori_messages_refused_total", refused as f64);
}

#[test]
fn what_is_refused_was_not_done_and_the_others_do_not_notice() {
    let server = strict();
    let mut other = crate::guest::Guest::enter(&server).0;
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    let join = json!(["1", "1", LOBBY, "phx_join", {}]);
    let posts = (0..BURST + 5).map(|n| json!(["1", n, LOBBY, "new_message", {"message": n.to_string()}]));
    client.bytes(&flood(std::iter::once(join).chain(posts)));
    // each post is refused, or heard by all; the join and the history that it brings come first
    let (mut refused, mut done) = (vec![], vec![]);
    while refused.len() + done.len() < BURST + 5 {
        let message = client.message();
        match message[3].as_str().unwrap() {
            "new_message" => done.push(message[4]["message"]["content"].as_str().unwrap().to_owned()),
            "phx_reply" if message[4]["status"] == "error" => {
                assert_eq!(message, too_many(&json!("1"), &message[1], LOBBY));
                refused.push(message[1].to_string());
            }
            _ => {}
        }
    }
    assert!(!refused.is_empty() && refused.iter().all(|n| !done.contains(n)), "{done:?} {refused:?}");
    for content in done {
        assert_eq!(other.hears("new_message")["content"], content);
    }
    other.client.beat();
}

#[test]
fn pings_count_and_one_too_many_is_not_answered() {
    let server = strict();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.bytes(&masked(true, PING, b"x").repeat(10 * BURST));
    let items = all_of(&client);
    assert_eq!(items[items.len() - 2], Item::Close(Some(1008)));
    let pongs = items.iter().filter(|item| **item == Item::Pong(b"x".to_vec())).count();
    assert!((BURST..2 * BURST).contains(&pongs), "{pongs}");
}

#[test]
fn on_long_poll_the_same_and_the_session_that_is_closed_is_gone() {
    let server = strict();
    let mut poller = Poller::open(server.port, "/socket");
    let beats: Vec<Value> = (0..BURST + 5).map(beat).collect();
    poller.posts(&beats, 200);
    let mut answers = vec![];
    while answers.len() < beats.len() {
        answers.extend(poller.messages());
    }
    let last = answers.last().unwrap();
    assert_eq!(*last, too_many(&Value::Null, &json!(BURST + 4), "phoenix"));
    poller.posts(&(0..4 * BURST).map(beat).collect::<Vec<_>>(), 410);
    poller.posts(&[beat(0)], 410);
    assert_eq!(poller.poll()["status"], 410, "a new session");
}

#[test]
fn without_the_setting_any_number_is_answered() {
    const MANY: usize = 10_000;
    let server = Launch::chat().start();
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.bytes(&flood((0..MANY).map(beat)));
    for n in 0..MANY {
        client.expect(&json!([null, n, "phoenix", "phx_reply", {"status": "ok", "response": {}}]));
    }
}
