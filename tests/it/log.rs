//! What the chat writes into its log, and what it never writes there.

use std::{fs, iter::from_fn, time::Duration};

use serde_json::json;

use crate::{
    client::{Client, Upgrade},
    guest::{Guest, LOBBY},
    http::get,
    server::{Launch, Server},
};

const WEBSOCKET: &str = "/socket/websocket?vsn=2.0.0";

/// Bytes that no line may have, whatever clients send: five quoted texts of 256 and what is around them.
const LONGEST: usize = 2_000;

/// Nothing that is not part of a message contains it.
const PRIVATE: &str = "between-you-and-me";

fn log_to_the_end(mut server: Server) -> String {
    server.signal("TERM");
    server.wait_exit(Duration::from_secs(5));
    server.log()
}

#[test]
fn the_log_never_has_a_messages_content_whether_it_was_taken_or_not() {
    let server = Launch::chat().set("MESSAGE_MAX", 50).start();
    let (mut ann, _) = Guest::enter(&server);
    ann.posts(PRIVATE);
    ann.likes(&json!(1));
    ann.push("new_message", &json!({"message": PRIVATE, "reply_to": 1}));
    ann.hears("new_message");
    ann.is_refused("new_message", &json!({ "message": PRIVATE.repeat(9) }), "message too long");
    ann.is_refused("new_message", &json!({ "message": [PRIVATE] }), "invalid message");
    ann.is_refused("new_message", &json!({"message": PRIVATE, "reply_to": PRIVATE}), "invalid reply_to");
    ann.is_refused("like_message", &json!({ "message_id": PRIVATE }), "invalid message id");
    // an event that nothing handles crashes the channel, with its payload in hand
    ann.push("no_such_event", &json!({ "message": PRIVATE }));
    ann.client.expect(&json!(["1", "1", LOBBY, "phx_error", {"reason": "channel_crash"}]));
    // and a message that does not decode ends the socket
    ann.client.text(&format!(r#"["1","2","{LOBBY}","new_message",{{"message":"{PRIVATE}"#));
    ann.client.closes(1011);
    let mut bob = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    bob.text(&format!("\"{PRIVATE}\""));
    bob.closes(1011);
    let log = log_to_the_end(server);
    assert!(log.contains(LOBBY), "the log is empty: {log}");
    assert!(!log.contains(PRIVATE), "{log}");
}

#[test]
fn joins_leaves_and_crashes_are_logged_with_their_topic_and_how_long_they_took() {
    let server = Launch::chat().start();
    let (mut ann, _) = Guest::enter(&server);
    let joined = server.log_line(|line| line.contains(LOBBY) && line.to_lowercase().contains("join"));
    assert!(has_duration(&joined), "{joined}");
    let reference = ann.push("phx_leave", &json!({}));
    ann.client.expect(&json!(["1", reference, LOBBY, "phx_reply", {"status": "ok", "response": {}}]));
    let left = server.log_line(|line| {
        line.contains(LOBBY) && ["left", "leave"].iter().any(|word| line.to_lowercase().contains(word))
    });
    assert!(has_duration(&left), "{left}");
    let (mut bob, _) = Guest::enter(&server);
    bob.push("no_such_event", &json!({}));
    server.log_line(|line| line.contains(LOBBY) && line.to_lowercase().contains("crash"));
    assert!(
        !log_to_the_end(server).contains("panicked"),
        "an event that nothing handles is not a bug of the server"
    );
}

/// A number and its unit of time, as in `12 µs`, `3ms` or `1.5s`.
fn has_duration(line: &str) -> bool {
    ["ns", "µs", "us", "ms", "s"].iter().any(|unit| {
        line.match_indices(unit).any(|(at, _)| {
            let (before, after) = (line[..at].trim_end(), &line[at + unit.len()..]);
            before.ends_with(|c: char| c.is_ascii_digit()) && !after.starts_with(char::is_alphanumeric)
        })
    })
}

/// One line of the server's own: its level and its pairs, in their order. None for a line of another crate.
fn event(line: &str) -> Option<(String, Vec<(String, String)>)> {
    let (head, text) = line.split_once("] ").unwrap_or_else(|| panic!("no line of the log: {line}"));
    assert!(head.starts_with("[20"), "no time: {line}");
    let level = head.split_whitespace().nth(1).unwrap().to_lowercase();
    let is_own = text.starts_with("event=");
    assert!(is_own || head.contains("actix"), "neither an event nor of actix: {line}");
    is_own.then(|| (level, pairs(text)))
}

/// `key=value` pairs; a value is a word, or text in quotes with escapes, with `…` behind it if it was cut.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut rest = text;
    let pairs = from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let (key, value) = rest.split_once('=').unwrap_or_else(|| panic!("no pair: {rest} in {text}"));
        assert!(
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{key:?} in {text}"
        );
        let end = value_end(value);
        let (value, after) = value.split_at(end);
        rest = after.strip_prefix(' ').unwrap_or_else(|| {
            assert!(after.is_empty(), "{after:?} behind a value in {text}");
            after
        });
        Some((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

fn value_end(value: &str) -> usize {
    if !value.starts_with('"') {
        return value.find(' ').unwrap_or(value.len());
    }
    let mut escaped = false;
    let quote = value.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    let (at, _) = quote.unwrap_or_else(|| panic!("quotes without end: {value}"));
    if value[at + 1..].starts_with('…') { at + 1 + '…'.len_utf8() } else { at + 1 }
}

/// All events of a log, each line of which is one or of another crate, short, and without anything that is not printed.
fn events(log: &str) -> Vec<(String, Vec<(String, String)>)> {
    for line in log.lines() {
        assert!(line.len() < LONGEST, "{} bytes: {line}", line.len());
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    log.lines().filter_map(event).collect()
}

/// The last event of a name, with all its pairs, as it is written.
fn last(log: &str, name: &str) -> String {
    let line = log.lines().rfind(|line| line.contains(&format!("event={name} ")));
    line.unwrap_or_else(|| panic!("no {name} in:\n{log}")).split_once("] ").unwrap().1.to_owned()
}

/// Waits for the end of a line that begins so, and gives the rest of it.
fn line(server: &Server, begin: &str) -> String {
    let line = server.log_line(|line| line.contains(&format!("] {begin}")));
    line.split_once(begin).unwrap().1.trim_start().to_owned()
}

/// A server and all that can happen to it, with texts that would like to be lines of the log themselves.
fn everything(evil: &str) -> String {
    let server = Launch::reference().set("RUST_LOG", "debug").start();
    let port = server.port;
    let upgrade = |path: &str, headers: &[(&str, &[&str])]| drop(Upgrade::request(port, path, headers));
    let header: String = evil.chars().filter(|c| c.is_ascii() && !c.is_control()).collect();
    upgrade("/auth/websocket", &[("Origin", &[&header])]);
    upgrade("/auth/websocket", &[("Sec-WebSocket-Protocol", &[&header])]);
    let query: String = evil.bytes().map(|byte| format!("%{byte:02X}")).collect();
    upgrade(&format!("/socket/websocket?vsn={query}"), &[]);
    upgrade("/auth/websocket?deny=true", &[]);
    upgrade("/auth/websocket?deny=crash", &[]);
    upgrade("/socket/websocket", &[("Upgrade", &[&header])]);
    get(port, "/idle/longpoll?vsn=2.0.0", &[]);
    let mut client = Client::open(port, WEBSOCKET);
    let topic: String = format!("ref:{}", evil.chars().take(200).collect::<String>());
    client.send(&json!(["1", "1", topic, "phx_join", { "deny": true }]));
    client.message();
    client.send(&json!(["1", "1", topic, "phx_join", { "crash": true }]));
    client.message();
    for (event, why) in [("fail", evil), ("panic", evil), ("crash", ""), (&*topic, "")] {
        client.join("1", &topic);
        client.send(&json!(["1", "2", topic, event, { "why": why }]));
        client.message();
    }
    client.join("1", "ref:bad_end");
    client.send(&json!(["1", "2", "ref:bad_end", "phx_leave", {}]));
    client.message();
    client.message();
    client.text(evil);
    client.closes(1011);
    let mut raw = Client::open(port, "/raw/websocket");
    raw.text("crash");
    raw.closes(1011);
    // its client never polled
    server.log_line(|line| line.contains("event=closed") && line.ends_with("reason=idle"));
    line(&server, "event=crashed of=terminate");
    log_to_the_end(server)
}

#[test]
fn no_text_of_a_client_ends_a_line_begins_another_or_makes_one_long() {
    let forged = "x\r\n[2026-01-01T00:00:00Z ERROR hinotori] event=forged why=\"\u{1b}[31m\u{2028}' \\\" =";
    for evil in [forged.to_owned(), forged.repeat(20), "日本語\n".repeat(100)] {
        let log = everything(&evil);
        let events = events(&log);
        assert!(events.len() > 20, "{log}");
        assert!(events.iter().all(|(_, pairs)| pairs[0].1 != "forged"), "{log}");
    }
}

#[test]
fn every_line_has_the_level_and_the_keys_of_the_docs_in_their_order() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let (_, table) = docs.split_once("| event | level | keys | when |\n").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let words =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let log = everything("evil");
    let mut seen = Vec::new();
    for (level, pairs) in events(&log) {
        let name = &pairs[0].1;
        let row = rows.iter().find(|row| words(row[0]).contains(name));
        let row = row.unwrap_or_else(|| panic!("event {name} is not in the docs"));
        assert!(row[1].contains(&level), "{name} at {level}, not {}", row[1]);
        let mut documented = words(row[2]).into_iter();
        for (key, _) in &pairs[1..] {
            assert!(
                documented.any(|known| known == *key),
                "{key} of {name}: not there, or not in this order"
            );
        }
        seen.push(name.clone());
    }
    for name in ["connected", "disconnected", "refused", "closed", "joined", "join_refused", "handled"] {
        assert!(seen.contains(&name.to_owned()), "no {name} in {log}");
    }
    for name in ["ended", "crashed", "panicked", "drain"] {
        assert!(seen.contains(&name.to_owned()), "no {name} in {log}");
    }
}

#[test]
fn a_connection_is_a_line_at_debug_and_none_by_default() {
    let server = Launch::reference().set("RUST_LOG", "debug").start();
    drop(Client::open(server.port, WEBSOCKET));
    let opened = line(&server, "event=connected conn=1");
    assert_eq!(opened, "transport=websocket peer=127.0.0.1 path=\"/socket/websocket\"");
    line(&server, "event=disconnected conn=1");
    get(server.port, "/socket/longpoll?vsn=2.0.0", &[]);
    let opened = server.log_line(|line| line.contains("transport=longpoll"));
    assert!(opened.ends_with("transport=longpoll peer=127.0.0.1 path=\"/socket/longpoll\""), "{opened}");

    let server = Launch::chat().start();
    Guest::enter(&server).0.client.beat();
    let log = log_to_the_end(server);
    assert!(!log.contains("event=connected") && log.contains("event=joined"), "{log}");
}

#[test]
fn each_line_of_a_connection_has_the_id_of_its_socket_quoted_and_bounded() {
    let server = Launch::reference().set("RUST_LOG", "debug").start();
    let evil = "x%22%0Aevent=forged+".repeat(100);
    let mut client = Client::open(server.port, &format!("/auth/websocket?vsn=2.0.0&user_id={evil}"));
    client.send(&json!(["1", "1", "room:1", "phx_join", {}]));
    client.message();
    client.send(&json!(["1", "2", "room:1", "no_such_event", {}]));
    client.message();
    client.text("no [json");
    client.closes(1011);
    line(&server, "event=disconnected conn=1");
    let log = log_to_the_end(server);
    let of_client = log.lines().filter(|line| line.contains(" conn=1"));
    let begin = " conn=1 id=\"users:x\\\"\\nevent=forged x";
    let names: Vec<_> = of_client
        .map(|line| {
            assert!(line.contains(begin) && line.len() < 700, "{line}");
            event(line).unwrap().1[0].1.clone()
        })
        .collect();
    assert_eq!(names, ["connected", "joined", "handled", "crashed", "closed", "disconnected"], "{log}");
}

#[test]
fn a_refusal_is_one_line_that_says_why_and_to_whom() {
    let server = Launch::reference().start();
    let refused = |path: &str, headers: &[(&str, &[&str])]| {
        let before = server.log().matches("event=refused").count();
        drop(Upgrade::request(server.port, path, headers));
        server.log_line(|_| server.log().matches("event=refused").count() > before);
        assert_eq!(server.log().matches("event=refused").count(), before + 1, "{path}: one line");
        last(&server.log(), "refused")
    };
    let begin = |reason: &str, path: &str| {
        format!("event=refused transport=websocket reason={reason} peer=127.0.0.1 path=\"{path}\"")
    };
    let (auth, socket) = ("/auth/websocket", "/socket/websocket");
    assert_eq!(
        refused(auth, &[("Origin", &["http://evil.test:80"])]),
        begin("origin", auth)
            + " origin=\"http://evil.test:80\" check_origin=\"//localhost,//*.example.com\" allow_with=\"--check-origin //evil.test\""
    );
    assert_eq!(
        refused("/socket/websocket?vsn=9.0.0", &[]),
        begin("version", socket) + " vsn=\"9.0.0\" expected=\"1.0.x or 2.0.x\""
    );
    assert_eq!(
        refused(socket, &[("Sec-WebSocket-Key", &[])]),
        begin("handshake", socket) + " missing=\"'sec-websocket-key' header is absent\""
    );
    assert_eq!(
        refused("/auth/websocket?deny=true", &[]),
        begin("application", auth) + " status=403 why=\"told to\""
    );
    assert_eq!(refused("/auth/websocket?deny=crash", &[]), begin("crash", auth));
    let crashed = last(&server.log(), "crashed");
    assert_eq!(crashed, "event=crashed of=connect why=\"panicked: connect told to crash\"");
}
