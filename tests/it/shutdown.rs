//! The end of a server: everyone is told, nobody holds it up.

use std::{io::Write, net::TcpStream, time::Duration};

use serde_json::json;

use crate::{
    client::{Client, Upgrade},
    guest::Guest,
    server::{Launch, Server},
};

/// A supervisor would lose its patience soon after.
const DEADLINE: Duration = Duration::from_secs(5);

/// Exits with 0 within the deadline, counted from now.
fn exits_clean(mut server: Server) {
    let status = server.wait_exit(DEADLINE);
    assert!(status.success(), "{status}: {}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn every_client_gets_1012_joined_or_not_and_the_process_exits_with_0() {
    for (signal, workers) in [("TERM", 1), ("INT", 1), ("TERM", 3), ("INT", 3)] {
        let server = Launch::chat().set("WORKERS", workers).start();
        let joined: Vec<Guest> = (0..10).map(|_| Guest::enter(&server).0).collect();
        let strangers = (0..10).map(|_| Client::open(server.port, "/socket/websocket?vsn=2.0.0"));
        let old = Client::open(server.port, "/socket/websocket?vsn=1.0.0");
        let strangers: Vec<Client> = strangers.chain([old]).collect();
        server.signal(signal);
        joined.iter().map(|guest| &guest.client).chain(&strangers).for_each(|client| client.closes(1012));
        exits_clean(server);
    }
}

#[test]
fn signals_are_heard_from_the_moment_the_address_is_printed() {
    for _ in 0..10 {
        let server = Launch::chat().set("WORKERS", 1).start();
        assert!(server.hears(15) && server.hears(2), "a signal would end it without a drain");
        server.signal("TERM");
        exits_clean(server);
    }
}

#[test]
fn a_new_connection_after_the_signal_is_refused() {
    let server = Launch::reference().set("DRAIN_DEADLINE", 2_000).start();
    // two that hold the server up: one that never answers, one in the middle of a callback
    let _mute = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0");
    let mut busy = Client::joined(server.port, "ref:slow");
    busy.send(&json!(["1", "2", "ref:slow", "sleep", {"ms": 60_000}]));
    let told = Client::open(server.port, "/socket/websocket?vsn=2.0.0");
    server.signal("TERM");
    told.closes(1012);
    let late = Upgrade::request(server.port, "/socket/websocket?vsn=2.0.0", &[]);
    let status = late.map_or(0, |late| late.status);
    assert_ne!(status, 101);
    exits_clean(server);
}

#[test]
fn clients_that_never_answer_the_close_do_not_hold_it_up() {
    let server = Launch::reference().start();
    let _mute: Vec<Upgrade> =
        (0..5).map(|_| Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0")).collect();
    let half = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0");
    (&half.stream).write_all(&[0x81]).unwrap();
    server.signal("TERM");
    exits_clean(server);
}

#[test]
fn a_busy_channel_and_idle_http_connections_do_not_hold_it_up() {
    let server = Launch::reference().set("DRAIN_DEADLINE", 2_000).start();
    let mut busy = Client::joined(server.port, "ref:slow");
    busy.send(&json!(["1", "2", "ref:slow", "sleep", {"ms": 60_000}]));
    busy.beat();
    let idle = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let half = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    (&half).write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    server.signal("TERM");
    busy.closes(1012);
    exits_clean(server);
    drop(idle);
}
