//! The examples of the library: what each of them says that it shows is what a client sees.

use std::{collections::BTreeSet, fs, ops::RangeInclusive, path::Path, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use hinotori_protocol::phoenix_token::PhoenixToken;
use serde_json::{Value, json};

use crate::{
    client::{Client, Item, Upgrade},
    frame::{self, BINARY},
    http::{Reply, exchange},
    normal::{normal, same},
    server::{Launch, Server},
};

/// Opens a socket and joins `topic` with the refs `"1"`.
fn enter(server: &Server, query: &str, topic: &str, payload: &Value) -> Client {
    let mut client = Client::open(server.port, &format!("/socket/websocket?vsn=2.0.0&{query}"));
    client.send(&json!(["1", "1", topic, "phx_join", payload]));
    client.expect(&json!(["1", "1", topic, "phx_reply", {"status": "ok", "response": {}}]));
    client
}

/// Sends an event, and the next thing that comes is its reply.
fn ask(client: &mut Client, topic: &str, event: &str, payload: &Value, status: &str, response: &Value) {
    client.send(&json!(["1", "2", topic, event, payload]));
    client.expect(&json!(["1", "2", topic, "phx_reply", { "status": status, "response": response }]));
}

/// The next thing that comes is this broadcast.
fn hears(client: &Client, topic: &str, event: &str, payload: &Value) {
    client.expect(&json!([null, null, topic, event, payload]));
}

fn post(server: &Server, path: &str, body: &str) -> Reply {
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    exchange(server.port, "POST", path, &headers, Some(body.as_bytes())).unwrap()
}

#[test]
fn every_example_says_how_to_run_it_and_does_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/hinotori/examples");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // a folder has parts of the example of its name
    let files: BTreeSet<_> = entries.filter(|path| path.is_file()).collect();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(file).unwrap();
        let intro: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let intro = intro.join("\n");
        let run = format!("`cargo run --example {name}");
        let rest = intro.split_once(&run).unwrap_or_else(|| panic!("{name} without {run}`: {intro}")).1;
        assert!(rest.starts_with('`') || rest.starts_with(" --features "), "{name}: {intro}");
        Launch::example(name).start();
    }
    assert!(files.len() >= 7, "found only {files:?}");
}

#[test]
fn echo_answers_with_what_was_said_in_text_and_in_bytes() {
    let server = Launch::example("echo").start();
    let mut client = enter(&server, "", "echo:room", &json!({}));
    for said in [json!({ "text": "hello" }), json!({}), json!([1, null])] {
        ask(&mut client, "echo:room", "echo", &said, "ok", &said);
    }
    // version 2's binary push: kind 0, the lengths of join_ref, ref, topic and event, those, the payload
    client.bytes(&frame::masked(true, BINARY, b"\x00\x01\x01\x09\x0413echo:roomecho\xff\x00"));
    // and its reply: kind 1, the lengths of join_ref, ref, topic and status
    assert_eq!(client.next(), Item::Binary(b"\x01\x01\x01\x09\x0213echo:roomok\xff\x00".to_vec()));
}

#[test]
fn echo_socket_sends_back_text_as_text_and_bytes_as_bytes() {
    let server = Launch::example("echo_socket").start();
    let mut client = Client::open(server.port, "/echo/websocket");
    client.text("no [json");
    assert_eq!(client.next(), Item::TextRaw("no [json".to_owned()));
    client.bytes(&frame::masked(true, BINARY, b"\xff\x00"));
    assert_eq!(client.next(), Item::Binary(b"\xff\x00".to_vec()));
}

const LOBBY: &str = "room:lobby";

/// One connection of a user, as others see it.
fn meta(device: &str) -> Value {
    json!({ "device": device, "phx_ref": "<phx_ref>" })
}

/// The next thing that comes is this message of the presence, whatever its references.
fn sees(server: &Server, client: &Client, join_ref: Option<&str>, event: &str, payload: &Value) {
    let (got, wanted) =
        (normal(server.port, &client.message()), json!([join_ref, null, LOBBY, event, payload]));
    assert!(same(&got, &wanted), "expected {wanted}\n     got {got}");
}

#[test]
fn presence_shows_each_user_who_is_there_and_then_who_comes_and_goes() {
    let server = Launch::example("presence").start();
    let enter = |user: &str, device: &str| {
        enter(&server, &format!("user={user}"), LOBBY, &json!({ "device": device }))
    };
    let came = |user: &str, device| json!({ "joins": { user: { "metas": [meta(device)] } }, "leaves": {} });
    let went = |user: &str, device| json!({ "joins": {}, "leaves": { user: { "metas": [meta(device)] } } });

    let ann = enter("ann", "phone");
    sees(&server, &ann, None, "presence_diff", &came("ann", "phone"));
    sees(&server, &ann, Some("1"), "presence_state", &json!({ "ann": { "metas": [meta("phone")] } }));

    let bob = enter("bob", "desk");
    sees(&server, &bob, None, "presence_diff", &came("bob", "desk"));
    let both = json!({ "ann": { "metas": [meta("phone")] }, "bob": { "metas": [meta("desk")] } });
    sees(&server, &bob, Some("1"), "presence_state", &both);
    sees(&server, &ann, None, "presence_diff", &came("bob", "desk"));

    // a second connection of the same user is the same user twice
    let tablet = enter("ann", "tablet");
    sees(&server, &tablet, None, "presence_diff", &came("ann", "tablet"));
    let got = normal(server.port, &tablet.message());
    let mut devices: Vec<_> = got[4]["ann"]["metas"].as_array().unwrap().iter().collect();
    devices.sort_by_key(|meta| meta["device"].to_string());
    assert_eq!(devices, [&meta("phone"), &meta("tablet")], "{got}");
    for client in [&ann, &bob] {
        sees(&server, client, None, "presence_diff", &came("ann", "tablet"));
    }

    // a connection that is cut says no goodbye
    drop(bob);
    sees(&server, &ann, None, "presence_diff", &went("bob", "desk"));
    drop(tablet);
    sees(&server, &ann, None, "presence_diff", &went("ann", "tablet"));
}

#[test]
fn presence_lets_all_in_the_room_hear_who_said_what() {
    let server = Launch::example("presence").start();
    let enter = |user: &str| {
        let client = enter(&server, &format!("user={user}"), LOBBY, &json!({ "device": "phone" }));
        // until the client's own state, all is about who is there
        while client.message()[3] != "presence_state" {}
        client
    };
    let mut ann = enter("ann");
    let bob = enter("bob");
    let came = json!({ "joins": { "bob": { "metas": [meta("phone")] } }, "leaves": {} });
    sees(&server, &ann, None, "presence_diff", &came);
    // nobody speaks in another's name
    ann.send(&json!(["1", "2", LOBBY, "message", { "text": "hello", "from": "bob" }]));
    for client in [&ann, &bob] {
        hears(client, LOBBY, "message", &json!({ "from": "ann", "text": "hello" }));
    }
}

#[test]
fn presence_is_for_clients_that_say_who_they_are_and_on_which_device() {
    let server = Launch::example("presence").start();
    for query in ["", "user=", "user[name]=ann"] {
        let path = format!("/socket/websocket?vsn=2.0.0&{query}");
        assert_eq!(Upgrade::request(server.port, &path, &[]).unwrap().status, 403, "{query}");
    }
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0&user=ann");
    client.send(&json!(["1", "1", LOBBY, "phx_join", {}]));
    let refused = json!({ "reason": "invalid payload: missing field `device`" });
    client.expect(&json!(["1", "1", LOBBY, "phx_reply", { "status": "error", "response": refused }]));
}

/// The token that a login hands out.
fn login(server: &Server, name: &str) -> String {
    let reply = post(server, "/login", &json!({ "name": name }).to_string());
    let answer: Value =
        serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {}", reply.text()));
    answer["token"].as_str().unwrap().to_owned()
}

/// A connect request with the token where phoenix.js 1.8 has it.
fn upgrade_by_auth_token(server: &Server, token: &str) -> Upgrade {
    let offer = format!("phoenix, base64url.bearer.phx.{}", STANDARD_NO_PAD.encode(token));
    let headers: [(&str, &[&str]); 1] = [("Sec-WebSocket-Protocol", &[&offer])];
    Upgrade::request(server.port, "/socket/websocket?vsn=2.0.0", &headers).unwrap()
}

/// A connect request with the token where older clients have it.
fn upgrade_by_param(server: &Server, token: &str) -> Upgrade {
    Upgrade::request(server.port, &format!("/socket/websocket?vsn=2.0.0&token={token}"), &[]).unwrap()
}

#[test]
fn token_login_admits_the_token_that_it_handed_out_and_no_other() {
    let server = Launch::example("token_login").start();
    let token = login(&server, "ann");
    assert_eq!(upgrade_by_auth_token(&server, &token).status, 101);
    assert_eq!(upgrade_by_param(&server, &token).status, 101);
    let open = |headers: &[(String, String)]| {
        let reply = exchange(server.port, "GET", "/socket/longpoll?vsn=2.0.0", headers, None).unwrap();
        serde_json::from_slice::<Value>(&reply.body).unwrap()["status"].clone()
    };
    // a long poll is told that its session, which it has none yet, is gone, and is given one
    assert_eq!(open(&[("X-Phoenix-AuthToken".to_owned(), token.clone())]), 410);

    let stranger = login(&Launch::example("token_login").start(), "ann");
    let longer = format!("{token}A");
    for other in ["", "ann", &stranger, &longer] {
        assert_eq!(upgrade_by_auth_token(&server, other).status, 403, "{other}");
        assert_eq!(upgrade_by_param(&server, other).status, 403, "{other}");
    }
    assert_eq!(open(&[]), 403);
}

#[test]
fn token_login_outlives_a_restart_where_the_secret_is_set() {
    let secret = "0123456789abcdef0123456789abcdef";
    let start = || Launch::example("token_login").set("SECRET", secret).start();
    let token = login(&start(), "ann");
    assert_eq!(upgrade_by_param(&start(), &token).status, 101);
    let weak = Launch::example("token_login").set("SECRET", &secret[1..]).run();
    assert!(!weak.status.success() && weak.stderr.contains("32 bytes or more"), "{}", weak.stderr);
}

#[test]
fn token_login_lets_each_user_into_the_own_inbox_alone() {
    let server = Launch::example("token_login").start();
    let mut ann = enter(&server, &format!("token={}", login(&server, "ann")), "inbox:ann", &json!({}));
    for other in ["inbox:bob", "inbox:", "inbox:ann2"] {
        ann.send(&json!(["2", "2", other, "phx_join", {}]));
        let refused = json!({ "status": "error", "response": { "reason": "unauthorized" } });
        ann.expect(&json!(["2", "2", other, "phx_reply", refused]));
    }
}

#[test]
fn token_login_closes_every_socket_of_who_logs_out_and_nobody_elses() {
    let server = Launch::example("token_login").set("WORKERS", 3).start();
    let open = |name: &str| Client::over(upgrade_by_auth_token(&server, &login(&server, name)));
    let anns: Vec<_> = (0..4).map(|_| open("ann")).collect();
    let mut others = [open("bob"), open("ann2"), open("Ann")];
    assert_eq!(post(&server, "/logout/ann", "").status, 204);
    for ann in anns {
        ann.closes(1001);
    }
    for other in &mut others {
        other.beat();
    }
}

#[test]
fn jwt_login_admits_the_token_that_it_handed_out_and_answers_any_other_with_401() {
    let server = Launch::example("jwt_login").start();
    let token = login(&server, "ann");
    assert_eq!(upgrade_by_auth_token(&server, &token).status, 101);
    assert_eq!(upgrade_by_param(&server, &token).status, 101);
    let mut ann = enter(&server, &format!("token={token}"), "inbox:ann", &json!({}));
    ann.send(&json!(["2", "2", "inbox:bob", "phx_join", {}]));
    let refused = json!({ "status": "error", "response": { "reason": "unauthorized" } });
    ann.expect(&json!(["2", "2", "inbox:bob", "phx_reply", refused]));

    let stranger = login(&Launch::example("jwt_login").start(), "ann");
    for other in ["", "ann", "a.b.c", &stranger, &format!("{token}A")] {
        assert_eq!(upgrade_by_auth_token(&server, other).status, 401, "{other}");
        assert_eq!(upgrade_by_param(&server, other).status, 401, "{other}");
    }
    let none = Upgrade::request(server.port, "/socket/websocket?vsn=2.0.0", &[]).unwrap();
    assert_eq!(none.status, 401);
    server.log_line(|line| {
        line.contains("reason=application") && line.ends_with("status=401 why=\"there is no token\"")
    });
}

/// JWTs by another hand, for SECRET=0123456789abcdef0123456789abcdef, with the status that each deserves.
const JWTS: [(&str, u16, &str); 7] = [
    (
        "good until 2100",
        101,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJpbmJveCIsImV4cCI6NDEwMjQ0NDgwMH0.qrRRMigFrE55sUhgLnCQb42PUbnzHa3GBQXIvDUUcLE",
    ),
    (
        "expired in 2020",
        401,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJpbmJveCIsImV4cCI6MTU3NzgzNjgwMH0.LjzVDQnjg8HIdQRlLXhA8-mypAe6eCQYaFUmD4o-PIw",
    ),
    (
        "for another audience",
        401,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.tEQ_Fkqq9y0Yf_wYSCBkN9cI0McN6TrgI0ehdfjeUWg",
    ),
    (
        "without an end",
        401,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJpbmJveCJ9.m1KBq17mg9sUUhqLiNj_zBp-JoiwhogJ0iq4VaAKGgE",
    ),
    (
        "by another algorithm",
        401,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJpbmJveCIsImV4cCI6NDEwMjQ0NDgwMH0.FYSoNb-EtijlOMmJq_uwF1boRZko4DJ8B9nmHTC9ritNWLJT8MfyEljhdmE2SmKMpHX__vvlhrSkC6cto5sL9w",
    ),
    (
        "not signed at all",
        401,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJhdWQiOiJpbmJveCIsImV4cCI6NDEwMjQ0NDgwMH0.",
    ),
    (
        "with text for an end",
        401,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJhdWQiOiJpbmJveCIsImV4cCI6IjQxMDI0NDQ4MDAifQ.PEVcYJA66VDYZO9279xJ7Sn5qp-z7PUXBrH-21e7sUM",
    ),
];

#[test]
fn jwt_login_takes_tokens_of_whoever_has_the_secret_and_checks_all_that_they_say() {
    let server = Launch::example("jwt_login").set("SECRET", "0123456789abcdef0123456789abcdef").start();
    for (what, status, token) in JWTS {
        assert_eq!(upgrade_by_auth_token(&server, token).status, status, "{what}");
    }
}

#[test]
fn phoenix_login_admits_who_is_logged_in_at_phoenix_and_knows_who_it_is() {
    let secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let server = Launch::example("phoenix_login").set("SECRET_KEY_BASE", secret).start();
    let tokens = PhoenixToken::new(secret, "user socket").unwrap();
    // to the byte what Phoenix signs: see `phoenix_tokens`
    let sign = |data: Value| tokens.sign(&data, SystemTime::now()).unwrap();
    let user = json!({ "id": 7, "role": "admin" });
    let mut client = Client::over(upgrade_by_auth_token(&server, &sign(user.clone())));
    client.send(&json!(["1", "1", "me", "phx_join", {}]));
    client.expect(&json!(["1", "1", "me", "phx_reply", { "status": "ok", "response": user }]));

    for data in [json!(7), json!({ "id": 7 }), json!({ "id": 7, "role": "root" })] {
        assert_eq!(upgrade_by_auth_token(&server, &sign(data)).status, 403);
    }
    let elsewhere = PhoenixToken::new(&secret.replace('0', "1"), "user socket").unwrap();
    let foreign = elsewhere.sign(&user, SystemTime::now()).unwrap();
    assert_eq!(upgrade_by_auth_token(&server, &foreign).status, 403);
    server.log_line(|line| line.ends_with("status=403 why=\"the token is invalid\""));
}

#[test]
fn publish_tells_a_room_what_was_posted_to_it_and_no_other_room() {
    let server = Launch::example("publish").start();
    let news = ["a", "b"].map(|_| enter(&server, "", "room:news", &json!({})));
    let sports = enter(&server, "", "room:sports", &json!({}));
    for n in 0..10 {
        let message = json!({ "n": n, "text": "鳥" });
        assert_eq!(post(&server, "/rooms/news", &message.to_string()).status, 202);
        for client in &news {
            hears(client, "room:news", "message", &message);
        }
    }
    // what is no object is nothing that a client can hear
    for body in ["[]", "1", "{", ""] {
        assert_eq!(post(&server, "/rooms/sports", body).status, 400, "{body}");
    }
    assert_eq!(post(&server, "/rooms/sports", "{}").status, 202);
    hears(&sports, "room:sports", "message", &json!({}));
}

#[test]
fn publish_ticks_for_all_who_listen_to_the_clock() {
    let server = Launch::example("publish").start();
    let clients = ["a", "b"].map(|_| enter(&server, "", "clock", &json!({})));
    let ticks = clients.map(|client| {
        [client.message(), client.message()].map(|tick| {
            let n = tick[4]["n"].as_u64().unwrap();
            assert!(same(&tick, &json!([null, null, "clock", "tick", { "n": n }])), "{tick}");
            n
        })
    });
    for [first, second] in ticks {
        assert_eq!(first + 1, second);
    }
}

/// Opens a socket and joins the scores with a cursor. Returns the reply.
fn recover(server: &Server, last: u64, epoch: &Value) -> (Client, Value) {
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.send(&json!(["1", "1", "scores", "phx_join", { "last_seen_id": last, "epoch": epoch }]));
    let reply = client.message();
    assert!(same(&reply, &json!(["1", "1", "scores", "phx_reply", reply[4]])), "{reply}");
    assert_eq!(reply[4]["status"], "ok", "{reply}");
    (client, reply[4]["response"].clone())
}

fn score(id: u64) -> Value {
    json!({ "id": id, "home": id, "away": 7 })
}

fn publish_scores(server: &Server, ids: RangeInclusive<u64>) {
    for id in ids {
        let body = json!({ "home": id, "away": 7 }).to_string();
        assert_eq!(post(server, "/scores", &body).status, 202);
    }
}

#[test]
fn scores_gives_a_client_that_was_cut_exactly_what_it_missed_and_then_what_is_live() {
    let server = Launch::example("scores").start();
    publish_scores(&server, 1..=2);
    let (client, reply) = recover(&server, 0, &Value::Null);
    let epoch = reply["epoch"].clone();
    let first = json!({ "recovered": false, "reason": "epoch", "epoch": epoch, "last_id": 2 });
    assert_eq!(reply, first);
    let history = json!({ "epoch": epoch, "last_id": 2, "messages": [score(1), score(2)] });
    client.expect(&json!(["1", null, "scores", "history", history]));
    publish_scores(&server, 3..=3);
    hears(&client, "scores", "score", &score(3));

    drop(client);
    publish_scores(&server, 4..=6);
    let (mut client, reply) = recover(&server, 3, &epoch);
    let missed = json!([score(4), score(5), score(6)]);
    assert_eq!(reply, json!({ "recovered": true, "epoch": epoch, "last_id": 6, "messages": missed }));
    publish_scores(&server, 7..=8);
    for id in 7..=8 {
        hears(&client, "scores", "score", &score(id));
    }
    client.send(&json!(["1", "2", "scores", "history", {}]));
    assert_eq!(client.message()[4]["last_id"], 8);

    // who is too far behind is given the history, and never a part of what is missing
    publish_scores(&server, 9..=1_009);
    let (client, reply) = recover(&server, 8, &epoch);
    assert_eq!((&reply["recovered"], &reply["reason"]), (&json!(false), &json!("too_old")));
    let history = client.message()[4].clone();
    assert_eq!((&history["last_id"], history["messages"].as_array().unwrap().len()), (&json!(1_009), 1_000));
    let (_client, reply) = recover(&server, 9, &epoch);
    assert_eq!(reply["messages"].as_array().unwrap().len(), 1_000);
    let (_client, reply) = recover(&server, 1_010, &epoch);
    assert_eq!(reply["reason"], "ahead");
}

#[test]
fn scores_join_as_ever_without_a_cursor_and_refuse_one_that_is_no_number() {
    let server = Launch::example("scores").start();
    let client = enter(&server, "", "scores", &json!({}));
    publish_scores(&server, 1..=1);
    hears(&client, "scores", "score", &score(1));
    let mut client = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    client.send(&json!(["1", "1", "scores", "phx_join", { "last_seen_id": -1 }]));
    let why = "invalid payload: last_seen_id: invalid value: integer `-1`, expected u64";
    client.expect(
        &json!(["1", "1", "scores", "phx_reply", { "status": "error", "response": { "reason": why } }]),
    );
}

#[test]
fn intercept_marks_a_message_for_its_author_and_keeps_it_from_who_muted_them() {
    let server = Launch::example("intercept").start();
    let enter = |user: &str| enter(&server, &format!("user={user}"), LOBBY, &json!({}));
    let [mut ann, mut bob, mut carol] = ["ann", "bob", "carol"].map(enter);
    let say = |client: &mut Client, text: &str| {
        // intercepted, a message waits until its author's channel has answered
        ask(client, LOBBY, "message", &json!({ "text": text }), "ok", &json!({}));
    };
    let hears = |client: &Client, from: &str, text: &str, mine: bool| {
        let message = json!({ "from": from, "text": text, "mine": mine });
        client.expect(&json!(["1", null, LOBBY, "message", message]));
    };

    say(&mut bob, "one");
    for (client, mine) in [(&ann, false), (&bob, true), (&carol, false)] {
        hears(client, "bob", "one", mine);
    }
    ask(&mut ann, LOBBY, "mute", &json!({ "user": "bob" }), "ok", &json!({}));
    say(&mut bob, "two");
    hears(&bob, "bob", "two", true);
    hears(&carol, "bob", "two", false);
    say(&mut carol, "three");
    // nothing of bob's comes to ann before
    hears(&ann, "carol", "three", false);
    hears(&bob, "carol", "three", false);
}
