//! `/metrics`: each of them moves when the thing happens that it counts.

use std::{collections::BTreeMap, fs, io::Write, time::Instant};

use serde_json::{Value, json};

use crate::{
    PATIENCE,
    client::{Client, Upgrade},
    frame::{RSV1, TEXT, header, masked},
    guest::Guest,
    http::{exchange, get},
    server::{Launch, Server},
};

const WEBSOCKET: &str = "/socket/websocket?vsn=2.0.0";

fn text(port: u16) -> String {
    let reply = get(port, "/metrics", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    reply.text()
}

/// The values of all series, by their name and labels as they are written.
pub(crate) fn scrape(port: u16) -> BTreeMap<String, f64> {
    let text = text(port);
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let series = series.map(|line| line.rsplit_once(' ').unwrap());
    series.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// Waits until a series has a value.
pub(crate) fn comes_to(server: &Server, series: &str, wanted: f64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let got = scrape(server.port).get(series).copied();
        if got == Some(wanted) {
            return;
        }
        assert!(
            Instant::now() < until,
            "{series} is {got:?}, not {wanted}; the server says\n{}",
            text(server.port)
        );
    }
}

/// Name, type and help of each metric, and its values without labels' own.
fn declared(port: u16) -> BTreeMap<String, (String, String)> {
    let text = text(port);
    let words = |kind: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind)?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (help, mut types) = (words("# HELP "), words("# TYPE "));
    help.into_iter().map(|(name, help)| (name.clone(), (types.remove(&name).unwrap(), help))).collect()
}

/// The rows of a table of `docs/OPERATIONS.md`, whose first cells are code.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let (_, table) = docs.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    let lines = table.trim_start().lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = lines.map(|line| {
        let cells = line.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim_matches(['|', ' ', '`']).to_owned()).collect()
    });
    cells.collect()
}

#[test]
fn the_table_in_the_docs_is_what_the_server_answers() {
    let server = Launch::chat().start();
    let documented: BTreeMap<String, (String, String)> = rows("| metric | type | labels | help |\n")
        .into_iter()
        .map(|row| (row[0].clone(), (row[1].clone(), row[3].clone())))
        .collect();
    assert_eq!(documented, declared(server.port));
}

#[test]
fn the_labels_in_the_docs_are_those_that_the_server_has() {
    let server = Launch::chat().start();
    let series = scrape(server.port);
    for row in rows("| label | values |\n") {
        let (label, metric) = row[0].split_once("` of `").unwrap();
        let prefix = format!("{metric}{{{label}=\"");
        let values = series.keys().filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix("\"}"));
        let mut documented: Vec<&str> = row[1].split("`, `").map(|value| value.trim_matches('`')).collect();
        documented.sort_unstable();
        assert_eq!(documented, values.collect::<Vec<_>>(), "{label} of {metric}");
    }
}

#[test]
fn connections_are_counted_by_transport_while_they_are_open_and_when_they_opened() {
    let server = Launch::reference().start();
    let clients = [Client::open(server.port, WEBSOCKET), Client::open(server.port, WEBSOCKET)];
    get(server.port, "/idle/longpoll?vsn=2.0.0", &[]);
    comes_to(&server, "hinotori_connections{transport=\"websocket\"}", 2.0);
    comes_to(&server, "hinotori_connections_opened_total{transport=\"longpoll\"}", 1.0);
    drop(clients);
    comes_to(&server, "hinotori_connections{transport=\"websocket\"}", 0.0);
    // its client never polls: it ends by itself
    comes_to(&server, "hinotori_connections{transport=\"longpoll\"}", 0.0);
    comes_to(&server, "hinotori_connections_closed_total{reason=\"idle\"}", 1.0);
    comes_to(&server, "hinotori_connections_opened_total{transport=\"websocket\"}", 2.0);
}

#[test]
fn channels_are_counted_by_the_pattern_of_their_route_and_never_by_a_clients_topic() {
    let server = Launch::reference().start();
    let before = scrape(server.port).len();
    let mut client = Client::open(server.port, WEBSOCKET);
    for n in 0..50 {
        client.join("1", &format!("ref:chosen-by-a-client-{n}"));
    }
    comes_to(&server, "hinotori_channels{topic=\"ref:*\"}", 50.0);
    assert!(!text(server.port).contains("chosen-by-a-client"));
    assert_eq!(scrape(server.port).len(), before, "series");
    client.send(&json!(["1", "2", "ref:chosen-by-a-client-7", "phx_leave", {}]));
    comes_to(&server, "hinotori_channels{topic=\"ref:*\"}", 49.0);
    drop(client);
    comes_to(&server, "hinotori_channels{topic=\"ref:*\"}", 0.0);
    comes_to(&server, "hinotori_channels{topic=\"presence:*\"}", 0.0);
}

#[test]
fn messages_in_and_out_and_broadcasts_with_their_fan_out_are_counted_one_by_one() {
    let server = Launch::reference().set("WORKERS", 1).start();
    let mut speaker = Client::joined(server.port, "ref:room");
    let listeners: Vec<Client> = (0..4).map(|_| Client::joined(server.port, "ref:room")).collect();
    for n in 0..3 {
        speaker.send(&json!(["1", "2", "ref:room", "bcast", { "n": n }]));
        speaker.message();
        listeners.iter().for_each(|listener| _ = listener.message());
    }
    speaker.send(&json!(["1", "3", "ref:room", "bcast_from", {}]));
    listeners.iter().for_each(|listener| _ = listener.message());
    speaker.send(&json!(["1", "4", "ref:room", "push", {}]));
    speaker.message();
    let series = scrape(server.port);
    // five joins; three times to five and once to four; a push
    for (name, value) in [
        ("hinotori_messages_received_total", 5 + 3 + 1 + 1),
        ("hinotori_messages_sent_total", 5 + 3 * 5 + 4 + 1),
        ("hinotori_broadcasts_total", 4),
        ("hinotori_fan_out_seconds_count", 4),
        ("hinotori_fan_out_seconds_bucket{le=\"+Inf\"}", 4),
    ] {
        assert_eq!(series[name], f64::from(value), "{name}");
    }
    assert!(series["hinotori_fan_out_seconds_sum"] > 0.0);
}

#[test]
fn messages_of_a_long_poll_and_of_a_raw_socket_are_counted_too() {
    let server = Launch::reference().start();
    let mut raw = Client::open(server.port, "/raw/websocket");
    raw.text("hello");
    raw.next();
    let opened: Value =
        serde_json::from_slice(&get(server.port, "/socket/longpoll?vsn=2.0.0", &[]).body).unwrap();
    let path = format!("/socket/longpoll?vsn=2.0.0&token={}", opened["token"].as_str().unwrap());
    let beat = json!([null, "1", "phoenix", "heartbeat", {}]).to_string();
    exchange(server.port, "POST", &path, &[], Some(beat.as_bytes())).unwrap();
    comes_to(&server, "hinotori_messages_received_total", 2.0);
    comes_to(&server, "hinotori_messages_sent_total", 2.0);
}

#[test]
fn a_reader_who_stalls_is_counted_when_it_is_closed() {
    let server = Launch::reference().start();
    let mut stalled = Upgrade::granted(server.port, WEBSOCKET).stream;
    let join = json!(["1", "1", "ref:room", "phx_join", {}]).to_string();
    stalled.write_all(&masked(true, TEXT, join.as_bytes())).unwrap();
    stalled.peek(&mut [0]).unwrap();
    let mut speaker = Client::joined(server.port, "ref:room");
    let content = "x".repeat(64 * 1024);
    let mut n = 0;
    while scrape(server.port)["hinotori_connections_closed_total{reason=\"slow_reader\"}"] == 0.0 {
        speaker.send(&json!(["1", n, "ref:room", "bcast", { "x": content }]));
        speaker.message();
        n += 1;
        assert!(n < 1_000, "64 MB broadcast past it");
    }
    comes_to(&server, "hinotori_connections_closed_total{reason=\"slow_reader\"}", 1.0);
}

#[test]
fn a_connection_that_the_server_closes_is_counted_by_the_reason() {
    let server = Launch::reference().start();
    let open = || Client::open(server.port, WEBSOCKET);
    let count = |reason: &str| {
        comes_to(&server, &format!("hinotori_connections_closed_total{{reason=\"{reason}\"}}"), 1.0);
    };
    let _idle = Client::open(server.port, "/idle/websocket?vsn=2.0.0");
    let mut client = open();
    client.text("neither JSON nor anything else");
    client.closes(1011);
    count("malformed");
    let mut client = open();
    client.bytes(&[0xff, 0x80, 0, 0, 0, 0]);
    client.closes(1002);
    count("protocol");
    let mut client = open();
    client.bytes(&masked(true, TEXT, &[0xc0, 0x80]));
    client.closes(1007);
    count("invalid_text");
    let offer = [("Sec-WebSocket-Extensions", &["permessage-deflate"][..])];
    let upgrade = Upgrade::request(server.port, "/deflate/websocket?vsn=2.0.0", &offer).unwrap();
    let mut client = Client::over(upgrade);
    client.bytes(&masked(true, RSV1 | TEXT, &[0xff]));
    client.closes(1007);
    count("inflate");
    let mut client = open();
    client.bytes(&header(0x80 | TEXT, 1 << 40));
    client.closes(1009);
    count("too_big");
    for (word, code, reason) in [("crash", 1011, "crash"), ("close", 1000, "application")] {
        let mut client = Client::open(server.port, "/raw/websocket");
        client.text(word);
        client.closes(code);
        count(reason);
    }
    let mut client = Client::open(server.port, "/auth/websocket?vsn=2.0.0&user_id=7");
    client.send(&json!(["1", "1", "room:1", "phx_join", {}]));
    client.message();
    client.send(&json!(["1", "2", "room:1", "disconnect_user", { "user_id": "7" }]));
    count("disconnect");
    count("idle");
}

#[test]
fn a_channel_that_does_not_handle_its_broadcasts_is_counted_when_its_client_is_closed() {
    let server = Launch::reference().start();
    let join = || {
        let mut client = Client::open(server.port, "/auth/websocket?vsn=2.0.0");
        client.send(&json!(["1", "1", "room:1", "phx_join", {}]));
        client.message();
        client
    };
    let (mut busy, mut speaker) = (join(), join());
    busy.send(&json!(["1", "2", "room:1", "sleep", { "ms": 60_000 }]));
    let content = "x".repeat(64 * 1024);
    let mut n = 0;
    while scrape(server.port)["hinotori_connections_closed_total{reason=\"slow_channel\"}"] == 0.0 {
        speaker.send(&json!(["1", n, "room:1", "shout", { "x": content }]));
        speaker.message();
        n += 1;
        assert!(n < 1_000, "64 MB broadcast past it");
    }
    comes_to(&server, "hinotori_connections_closed_total{reason=\"slow_channel\"}", 1.0);
}

#[test]
fn every_callback_that_crashes_is_counted_by_what_it_was() {
    let server = Launch::reference().start();
    let count = |of: &str| comes_to(&server, &format!("hinotori_crashes_total{{of=\"{of}\"}}"), 1.0);
    assert_eq!(Upgrade::request(server.port, "/auth/websocket?deny=crash", &[]).unwrap().status, 500);
    count("connect");
    let mut client = Client::open(server.port, WEBSOCKET);
    client.send(&json!(["1", "1", "ref:room", "phx_join", { "crash": true }]));
    count("join");
    client.message();
    client.join("1", "ref:room");
    client.send(&json!(["1", "2", "ref:room", "crash", {}]));
    count("channel");
    client.message();
    client.join("1", "ref:bad_end");
    client.send(&json!(["1", "2", "ref:bad_end", "phx_leave", {}]));
    count("terminate");
    Client::open(server.port, "/raw/websocket").text("crash");
    count("raw_socket");
}

#[test]
fn a_client_that_is_not_let_in_is_counted_by_the_reason() {
    let server = Launch::reference().start();
    let refused = |reason: &str| {
        comes_to(&server, &format!("hinotori_connections_refused_total{{reason=\"{reason}\"}}"), 1.0);
    };
    let ask = |path: &str, headers: &[(&str, &[&str])], status: u16| {
        assert_eq!(
            Upgrade::request(server.port, path, headers).unwrap().status,
            status,
            "{path} {headers:?}"
        );
    };
    exchange(server.port, "DELETE", WEBSOCKET, &[], None).unwrap();
    refused("method");
    ask("/socket/websocket?a=%FF", &[], 400);
    refused("query");
    ask("/auth/websocket", &[("Origin", &["http://evil.test"])], 403);
    refused("origin");
    ask("/auth/websocket", &[("Sec-WebSocket-Protocol", &["graphql-ws"])], 403);
    refused("subprotocol");
    ask("/socket/websocket?vsn=9.0.0", &[], 403);
    refused("version");
    ask("/auth/websocket?deny=true", &[], 403);
    refused("application");
    ask("/auth/websocket?deny=crash", &[], 500);
    refused("crash");
    ask(WEBSOCKET, &[("Upgrade", &[])], 400);
    refused("handshake");
    assert_eq!(scrape(server.port)["hinotori_connections_opened_total{transport=\"websocket\"}"], 0.0);
}

#[test]
fn a_long_poll_that_is_refused_is_counted_as_a_websocket_is() {
    let server = Launch::reference().start();
    get(server.port, "/auth/longpoll", &[("Origin", "http://evil.test")]);
    comes_to(&server, "hinotori_connections_refused_total{reason=\"origin\"}", 1.0);
    get(server.port, "/auth/longpoll?deny=true", &[]);
    comes_to(&server, "hinotori_connections_refused_total{reason=\"application\"}", 1.0);
}

#[test]
fn what_is_beyond_a_limit_is_counted_message_by_message_and_client_by_client() {
    let server = Launch::chat()
        .set("MAX_CONNECTIONS", 1)
        .set("MAX_MESSAGE_RATE", 1)
        .set("MAX_MESSAGE_BURST", 100)
        .start();
    let mut client = Client::open(server.port, WEBSOCKET);
    assert_eq!(Upgrade::request(server.port, WEBSOCKET, &[]).unwrap().status, 503);
    comes_to(&server, "hinotori_connections_refused_total{reason=\"full\"}", 1.0);
    let beat = json!([null, "1", "phoenix", "heartbeat", {}]).to_string();
    client.bytes(&masked(true, TEXT, beat.as_bytes()).repeat(400));
    comes_to(&server, "hinotori_connections_closed_total{reason=\"rate\"}", 1.0);
    // a few more than a burst, as time passes
    let refused = scrape(server.port)["hinotori_messages_refused_total"];
    assert!((100.0..150.0).contains(&refused), "{refused}");
}

#[test]
fn the_chat_tells_how_much_its_store_keeps() {
    let server = Launch::chat().set("HISTORY_LIMIT", 2).start();
    let (mut ann, _) = Guest::enter(&server);
    let series = scrape(server.port);
    assert_eq!((series["realtime_chat_messages"], series["realtime_chat_message_bytes"]), (0.0, 0.0));
    ann.posts("one");
    let one = scrape(server.port)["realtime_chat_message_bytes"];
    assert!(one > 50.0, "{one}");
    ann.likes(&json!(1));
    ann.posts("two");
    ann.posts("three");
    comes_to(&server, "realtime_chat_messages", 2.0);
    let two = scrape(server.port)["realtime_chat_message_bytes"];
    assert!(two > 1.5 * one && two < 2.5 * one, "{two} bytes of two messages, {one} of one");
}

#[test]
fn the_process_tells_its_memory_and_its_descriptors() {
    let server = Launch::reference().start();
    let before = scrape(server.port);
    let clients: Vec<Client> = (0..30).map(|_| Client::open(server.port, WEBSOCKET)).collect();
    // that of the first scrape may take a moment to be closed
    comes_to(&server, "process_open_fds", before["process_open_fds"] + clients.len() as f64);
    let after = scrape(server.port);
    assert!(after["process_max_fds"] >= after["process_open_fds"]);
    let (said, seen) = (after["process_resident_memory_bytes"], server.memory("VmRSS") as f64);
    assert!(said > seen / 2.0 && said < seen * 2.0, "{said} of {seen}");
}
