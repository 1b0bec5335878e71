//! docs/RECIPES.md: its code is that of the examples, and each of them does what it says there.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    client::Client,
    folder::Folder,
    server::{Launch, Server},
};

const RECIPES: &str = include_str!("../../docs/RECIPES.md");

/// The blocks of code of this language in a text.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    text.split(begin.as_str()).skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

/// The same, whatever its indentation.
fn flush(code: &str) -> String {
    code.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_recipe_quotes_its_example_word_for_word() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/hinotori/examples");
    let recipes: Vec<_> = RECIPES.split("\n## ").skip(1).collect();
    assert!(!recipes.is_empty());
    for recipe in recipes {
        let (title, text) = recipe.split_once('\n').unwrap();
        let link = text
            .split_once("](../crates/hinotori/examples/")
            .unwrap_or_else(|| panic!("{title} has no example"))
            .1;
        let example = fs::read_to_string(examples.join(link.split_once(')').unwrap().0)).unwrap();
        let quotes = blocks(text, "rust");
        assert!(!quotes.is_empty(), "{title} quotes nothing");
        for quote in quotes {
            assert!(flush(&example).contains(&flush(quote)), "{title}: its example does not have\n{quote}");
        }
        assert!(RECIPES.contains(&format!("[{title}](#")), "{title} is not in the contents");
    }
}

/// A client of a recipe, in one topic.
struct Member {
    client: Client,
    topic: &'static str,
}

impl Member {
    /// Joins with the ref `"1"`: the response.
    fn join(server: &Server, query: &str, topic: &'static str, payload: &Value) -> (Self, Value) {
        let mut client = Client::open(server.port, &format!("/socket/websocket?vsn=2.0.0&{query}"));
        client.send(&json!(["1", "1", topic, "phx_join", payload]));
        let mut reply = client.message();
        let response = reply[4]["response"].take();
        assert_eq!(reply, json!(["1", "1", topic, "phx_reply", { "status": "ok", "response": null }]));
        (Self { client, topic }, response)
    }

    fn push(&mut self, event: &str, payload: &Value) {
        self.client.send(&json!(["1", "2", self.topic, event, payload]));
    }

    /// The next thing that comes is the reply to the last event.
    fn is_answered(&self, status: &str, response: &Value) {
        let reply = json!({ "status": status, "response": response });
        self.client.expect(&json!(["1", "2", self.topic, "phx_reply", reply]));
    }

    /// The next thing that comes is this broadcast.
    fn hears(&self, event: &str, payload: &Value) {
        self.client.expect(&json!([null, null, self.topic, event, payload]));
    }

    /// The next thing that comes is this, for this client alone.
    fn gets(&self, event: &str, payload: &Value) {
        self.client.expect(&json!(["1", null, self.topic, event, payload]));
    }

    /// The next thing that comes is the end of the channel.
    fn crashes(&self) {
        self.client.expect(&json!(["1", "1", self.topic, "phx_error", { "reason": "channel_crash" }]));
    }

    /// Whatever comes next, without the references of presences, which differ each time.
    fn presences(&self) -> (String, Value) {
        let message = self.client.message();
        let event = message[3].as_str().unwrap().to_owned();
        (event, without_refs(message[4].clone()))
    }
}

fn without_refs(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !key.starts_with("phx_ref"));
            Value::Object(kept.map(|(key, value)| (key, without_refs(value))).collect())
        }
        Value::Array(values) => values.into_iter().map(without_refs).collect(),
        other => other,
    }
}

/// Enters a room of `room_actor`, in which the texts and the members are these.
fn enter_room(server: &Server, texts: &Value, members: u32) -> Member {
    let (member, _) = Member::join(server, "", "room:a/b", &json!({}));
    member.hears("members", &json!({ "count": members }));
    member.gets("texts", &json!({ "texts": texts }));
    member
}

#[test]
fn a_room_is_one_for_all_workers_and_notices_who_leaves() {
    let folder = Folder::new();
    let server = Launch::example("room_actor").set("DATA_DIR", folder.path().display()).start();
    let mut ann = enter_room(&server, &json!([]), 1);
    let bob = enter_room(&server, &json!([]), 2);
    ann.hears("members", &json!({ "count": 2 }));
    for (number, text) in ["one", "two"].into_iter().enumerate() {
        ann.push("say", &json!({ "text": text }));
        for member in [&ann, &bob] {
            member.hears("said", &json!({ "number": number, "text": text }));
        }
    }
    let carol = enter_room(&server, &json!(["one", "two"]), 3);
    // a connection that is cut says no goodbye
    drop(carol);
    bob.hears("members", &json!({ "count": 3 }));
    bob.hears("members", &json!({ "count": 2 }));
}

#[test]
fn a_room_that_is_empty_is_saved_and_ends_and_the_next_client_finds_its_texts() {
    let folder = Folder::new();
    let server =
        Launch::example("room_actor").set("DATA_DIR", folder.path().display()).set("ROOM_TTL", 300).start();
    let mut ann = enter_room(&server, &json!([]), 1);
    ann.push("say", &json!({ "text": "one" }));
    ann.hears("said", &json!({ "number": 0, "text": "one" }));
    drop(ann);
    server.log_line(|line| line.ends_with("room:a/b is saved"));
    enter_room(&server, &json!(["one"]), 1);
}

#[test]
fn a_room_that_crashes_ends_its_channels_and_the_next_join_starts_it_as_it_was_saved() {
    let folder = Folder::new();
    let server = Launch::example("room_actor").set("DATA_DIR", folder.path().display()).start();
    let mut ann = enter_room(&server, &json!([]), 1);
    ann.push("crash", &json!({}));
    ann.crashes();
    enter_room(&server, &json!([]), 1);
}

#[test]
fn rooms_are_saved_at_sigterm() {
    let folder = Folder::new();
    let start = || Launch::example("room_actor").set("DATA_DIR", folder.path().display()).start();
    let mut server = start();
    let mut ann = enter_room(&server, &json!([]), 1);
    ann.push("say", &json!({ "text": "one" }));
    ann.hears("said", &json!({ "number": 0, "text": "one" }));
    server.signal("TERM");
    assert!(server.wait_exit(PATIENCE).success());
    enter_room(&start(), &json!(["one"]), 1);
}

#[test]
fn messages_are_in_the_database_after_a_restart_and_a_failed_query_is_a_reply() {
    let folder = Folder::new();
    let start = || Launch::example("database").set("DATA_DIR", folder.path().display()).start();
    let message = json!({ "id": 1, "room": "room:a", "text": "鳥" });
    let server = start();
    let (mut ann, joined) = Member::join(&server, "", "room:a", &json!({}));
    assert_eq!(joined, json!({ "messages": [] }));
    ann.push("post", &json!({ "text": "鳥" }));
    ann.hears("message", &message);
    ann.is_answered("ok", &json!({}));
    drop(server);

    let server = start();
    assert_eq!(Member::join(&server, "", "room:b", &json!({})).1, json!({ "messages": [] }));
    let (mut ann, joined) = Member::join(&server, "", "room:a", &json!({}));
    assert_eq!(joined, json!({ "messages": [message] }));
    // a folder in the place of the file: every query fails
    let file = folder.path().join("messages.jsonl");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    ann.push("post", &json!({ "text": "lost" }));
    ann.is_answered("error", &json!({ "reason": "not saved, try again" }));
    ann.push("post", &json!({}));
    ann.is_answered("error", &json!({ "reason": "invalid payload: missing field `text`" }));
}

#[test]
fn an_error_of_the_client_is_a_reply_and_one_of_the_server_a_crash() {
    let server = Launch::example("errors").start();
    let (mut ann, _) = Member::join(&server, "", "account", &json!({}));
    ann.push("withdraw", &json!({ "amount": 30 }));
    ann.is_answered("ok", &json!({ "balance": 70 }));
    ann.push("withdraw", &json!({ "amount": 90 }));
    ann.is_answered("error", &json!({ "reason": "only 70 left" }));
    ann.push("withdraw", &json!({ "amount": "all" }));
    let reply = ann.client.message();
    assert_eq!(reply[4]["status"], "error", "{reply}");
    let reason = reply[4]["response"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("invalid payload: ") && reason.contains("amount"), "{reason}");
    // all of this has changed nothing
    ann.push("withdraw", &json!({ "amount": 70 }));
    ann.is_answered("ok", &json!({ "balance": 0 }));
    ann.push("export", &json!({ "path": "/no/such/file" }));
    ann.crashes();
    server.log_line(|line| line.contains("writing the export") && line.contains("No such file"));

    let (mut bob, _) = Member::join(&server, "", "account", &json!({}));
    bob.push("deposit", &json!({}));
    bob.crashes();
    server.log_line(|line| line.contains("no such event: deposit"));
}

#[test]
fn an_invisible_user_is_seen_by_staff_alone() {
    let server = Launch::example("invisible").start();
    let enter = |user: &str, invisible: bool, staff: bool| {
        let payload = json!({ "invisible": invisible, "staff": staff });
        Member::join(&server, &format!("user={user}"), "room:lobby", &payload).0
    };
    let meta = |invisible: bool| json!({ "metas": [{ "invisible": invisible }] });
    let diff = |joins: Value, leaves: Value| {
        ("presence_diff".to_owned(), json!({ "joins": joins, "leaves": leaves }))
    };
    let state = |state: Value| ("presence_state".to_owned(), state);

    let ann = enter("ann", false, false);
    // intercepted, the diff waits until the callback that tracks has ended
    assert_eq!(ann.presences(), state(json!({ "ann": meta(false) })));
    assert_eq!(ann.presences(), diff(json!({ "ann": meta(false) }), json!({})));
    let staff = enter("staff", false, true);
    assert_eq!(ann.presences(), diff(json!({ "staff": meta(false) }), json!({})));
    let seen = [staff.presences(), staff.presences()];
    assert_eq!(seen[0], state(json!({ "ann": meta(false), "staff": meta(false) })));

    let ghost = enter("ghost", true, false);
    assert_eq!(staff.presences(), diff(json!({ "ghost": meta(true) }), json!({})));
    assert_eq!(ghost.presences(), state(json!({ "ann": meta(false), "staff": meta(false) })));
    drop(ghost);
    assert_eq!(staff.presences(), diff(json!({}), json!({ "ghost": meta(true) })));
    // all that ann hears of it is nothing
    let _carol = enter("carol", false, false);
    assert_eq!(ann.presences(), diff(json!({ "carol": meta(false) }), json!({})));
}

#[test]
fn friends_see_each_other_come_change_and_go_and_strangers_do_not() {
    let server = Launch::example("friends").start();
    let enter = |user: &str, friends: &[&str]| {
        Member::join(&server, &format!("user={user}"), "friends", &json!({ "friends": friends })).0
    };
    let meta = |status: &str| json!({ "metas": [{ "status": status }] });
    let diff = |joins: Value, leaves: Value| {
        ("presence_diff".to_owned(), json!({ "joins": joins, "leaves": leaves }))
    };
    let state = |state: Value| ("presence_state".to_owned(), state);

    let ann = enter("ann", &["bob", "bob"]);
    assert_eq!(ann.presences(), state(json!({})));
    let carol = enter("carol", &[]);
    assert_eq!(carol.presences(), state(json!({})));
    let mut bob = enter("bob", &["ann"]);
    assert_eq!(bob.presences(), state(json!({ "ann": meta("free") })));
    assert_eq!(ann.presences(), diff(json!({ "bob": meta("free") }), json!({})));
    bob.push("status", &json!({ "status": "busy" }));
    assert_eq!(ann.presences(), diff(json!({ "bob": meta("busy") }), json!({ "bob": meta("free") })));
    drop(bob);
    assert_eq!(ann.presences(), diff(json!({}), json!({ "bob": meta("busy") })));
    // a presence is no channel that a stranger could join
    let mut carol = carol.client;
    carol.send(&json!(["2", "2", "online:ann", "phx_join", {}]));
    let refused = json!({ "status": "error", "response": { "reason": "unmatched topic" } });
    carol.expect(&json!([null, "2", "online:ann", "phx_reply", refused]));
}

#[test]
fn a_board_that_was_ported_behaves_as_in_elixir() {
    let server = Launch::example("desk").start();
    let enter = |user: &str, role: &str| {
        let payload = json!({ "role": role });
        let (member, joined) = Member::join(&server, &format!("user={user}"), "board:roadmap", &payload);
        assert_eq!(joined, json!({ "user": user }));
        let (diff, state) = (member.presences(), member.presences());
        assert_eq!(diff.1["joins"], json!({ user: { "metas": [{ "role": role }] } }));
        assert_eq!(state.0, "presence_state");
        member
    };
    let card = |column: &str| json!({ "id": 1, "text": "docs", "author": "ann", "column": column });
    let mine =
        |mine: bool| json!({ "id": 1, "text": "docs", "author": "ann", "column": "new", "mine": mine });

    let mut ann = enter("ann", "editor");
    ann.gets("cards", &json!({ "cards": [] }));
    let mut bob = enter("bob", "viewer");
    bob.gets("cards", &json!({ "cards": [] }));
    assert_eq!(ann.presences().0, "presence_diff");

    bob.push("add", &json!({ "text": "docs" }));
    bob.is_answered("error", &json!({ "reason": "viewers only look" }));
    ann.push("add", &json!({ "text": "" }));
    ann.is_answered("error", &json!({ "reason": "a text has 1 to 200 bytes" }));
    ann.push("add", &json!({ "text": "docs" }));
    ann.is_answered("ok", &json!({ "id": 1 }));
    ann.gets("card_added", &mine(true));
    bob.gets("card_added", &mine(false));

    ann.push("move", &json!({ "id": 1, "column": "done" }));
    ann.is_answered("error", &json!({ "reason": "lock it first" }));
    for id in [1, 2] {
        ann.push("lock", &json!({ "id": id }));
        ann.is_answered("ok", &json!({}));
        bob.hears("locked", &json!({ "id": id, "user": "ann" }));
    }
    ann.push("move", &json!({ "id": 2, "column": "done" }));
    ann.is_answered("error", &json!({ "reason": "no such card" }));
    ann.push("move", &json!({ "id": 1, "column": "done" }));
    ann.hears("card_moved", &card("done"));
    ann.is_answered("ok", &json!({}));
    bob.hears("card_moved", &card("done"));
    bob.hears("unlocked", &json!({ "id": 1 }));

    bob.push("mute", &json!({ "user": "ann" }));
    bob.is_answered("ok", &json!({}));
    ann.push("add", &json!({ "text": "more" }));
    ann.is_answered("ok", &json!({ "id": 2 }));
    // the card of who is muted does not come, and a lock ends with the channel of who holds it
    drop(ann);
    let mut rest = [bob.presences(), bob.presences()];
    rest.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(rest[0].1["leaves"], json!({ "ann": { "metas": [{ "role": "editor" }] } }));
    assert_eq!(rest[1], ("unlocked".to_owned(), json!({ "id": 2 })));
}

#[test]
fn cursors_and_inboxes_that_were_ported_behave_as_in_elixir() {
    let server = Launch::example("desk").start();
    let cursor = |user: &str| Member::join(&server, &format!("user={user}"), "cursors:roadmap", &json!({})).0;
    let (mut ann, bob) = (cursor("ann"), cursor("bob"));
    ann.push("at", &json!({ "x": 1.5, "y": 2.0 }));
    bob.hears("at", &json!({ "user": "ann", "x": 1.5, "y": 2.0 }));
    drop(ann);
    bob.hears("gone", &json!({ "user": "ann" }));

    let (mut ann, _) = Member::join(&server, "user=ann", "inbox:ann", &json!({}));
    let (bob, _) = Member::join(&server, "user=bob", "inbox:bob", &json!({}));
    for sent in 1..=2 {
        ann.push("send", &json!({ "to": "bob", "text": "hi" }));
        ann.is_answered("ok", &json!({ "sent": sent }));
        bob.hears("message", &json!({ "from": "ann", "text": "hi" }));
    }
    ann.client.send(&json!(["2", "2", "inbox:bob", "phx_join", {}]));
    let refused = json!({ "status": "error", "response": { "reason": "unauthorized" } });
    ann.client.expect(&json!(["2", "2", "inbox:bob", "phx_reply", refused]));
}

#[test]
fn a_port_has_as_many_lines_as_the_recipe_says() {
    let recipe = RECIPES.split("\n## ").find(|recipe| recipe.starts_with("Porting")).unwrap();
    let lines = |language| blocks(recipe, language).into_iter().map(|block| block.lines().count());
    let rows: Vec<&str> = recipe.lines().filter(|line| line.starts_with("| `")).collect();
    let [elixir, rust] = ["elixir", "rust"].map(|language| lines(language).collect::<Vec<_>>());
    assert_eq!((elixir.len(), rust.len()), (3, 3));
    for ((elixir, rust), name) in elixir.iter().zip(&rust).zip(["board:*", "cursors:*", "inbox:*"]) {
        let row = format!("| `{name}` | {elixir} | {rust} |");
        assert!(rows.iter().any(|line| line.starts_with(&row)), "no row begins with {row}");
    }
}
