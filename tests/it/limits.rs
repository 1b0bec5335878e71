//! How much one client can make the server hold.

use std::{
    io::{Read, Write},
    time::Duration,
};

use serde_json::json;

use crate::{
    PATIENCE,
    client::{Client, Item, Upgrade},
    frame::{self, CONTINUATION, TEXT, header, masked},
    server::{Launch, Server},
};

const MIB: u64 = 1024 * 1024;

/// What a server may grow by for a client that declares much more.
const GROWTH: u64 = 16 * MIB;

#[test]
fn a_frame_declared_as_one_tebibyte_is_1009_before_any_of_it_has_come() {
    Launch::on_both(|launch| {
        let server = launch.start();
        for first in [0x80 | TEXT, 0x80 | frame::BINARY, TEXT] {
            let mut client = Client::joined(server.port, "ref:room");
            client.bytes(&header(first, 1 << 40));
            client.closes(1009);
        }
        for length in [1 << 63, u64::MAX] {
            // a length with its highest bit set is no length at all, so 1002 would be as good
            let mut client = Client::joined(server.port, "ref:room");
            client.bytes(&header(0x80 | TEXT, length));
            let got = client.next();
            assert!(matches!(got, Item::Close(Some(1002 | 1009))), "{length:#x}: {got:?}");
        }
    });
}

/// Sends until the server has had enough, and reads all that it says.
fn pour(server: &Server, head: &[u8], body: &[u8], times: usize) -> Vec<u8> {
    let mut stream = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(head);
    // an error is the server's answer
    let _ = (0..times).try_for_each(|_| stream.write_all(body));
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

#[test]
fn a_declared_length_of_300_mb_costs_the_server_no_memory_however_much_of_it_is_sent() {
    let server = Launch::reference().start();
    pour(&server, &header(0x80 | TEXT, 300 * MIB), &[0; 1024], 1);
    let before = server.memory("VmRSS");
    for _ in 0..3 {
        pour(&server, &header(0x80 | TEXT, 300 * MIB), &[b'x'; 64 * 1024], 300 * 16);
    }
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} bytes");
}

#[test]
fn fragments_add_up_to_the_limit_of_a_message() {
    let server = Launch::reference().start();
    for (path, size) in [("/socket/websocket?vsn=2.0.0", 16 * 1024), ("/small/websocket?vsn=2.0.0", 900)] {
        let mut client = Client::open(server.port, path);
        client.bytes(&masked(false, TEXT, b"["));
        // 64 MiB of JSON's white space, if the server let it come
        let fragments = masked(false, CONTINUATION, &vec![b' '; size]).repeat(64);
        let rounds = 64 * MIB as usize / (64 * size);
        for _ in 0..rounds {
            client.bytes(&fragments);
        }
        client.closes(1009);
    }
}

#[test]
fn fragments_without_end_cost_the_server_no_more_than_one_message() {
    // the default limit of a message; a growing buffer holds its old half and its new one for a moment
    const MESSAGE: u64 = 8_000_000;
    let server = Launch::reference().start();
    let fragments = masked(false, CONTINUATION, &[b' '; 16 * 1024]).repeat(4);
    Client::joined(server.port, "ref:room").beat();
    let before = server.memory("VmRSS");
    for _ in 0..4 {
        pour(&server, &masked(false, TEXT, b"["), &fragments, 64 * 16);
    }
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < 4 * MESSAGE, "grown by {grown} bytes");
}

#[test]
fn the_limit_of_a_frame_is_the_last_length_that_is_taken() {
    let server = Launch::reference().start();
    let message = |length: usize| {
        let text = json!([null, "1", "phoenix", "heartbeat", {}]).to_string();
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    let mut client = Client::open(server.port, "/small/websocket?vsn=2.0.0");
    client.text(&message(1000));
    client.expect(&json!([null, "1", "phoenix", "phx_reply", {"status": "ok", "response": {}}]));
    client.text(&message(1001));
    client.closes(1009);
}

#[test]
fn a_client_is_not_cut_off_for_the_replies_that_it_asked_for() {
    Launch::on_both(|launch| {
        const ECHOES: u64 = 1_000;
        let server = launch.set("WORKERS", 1).start();
        let mut client = Client::joined(server.port, "ref:room");
        let content = "x".repeat(20 * 1024);
        // 20 MB of them are on their way before the first reply is looked at
        for n in 0..ECHOES {
            client.send(&json!(["1", n, "ref:room", "echo", {"n": n, "x": content}]));
        }
        for n in 0..ECHOES {
            assert_eq!(client.message()[1], n);
        }
    });
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_the_others_hear_everything() {
    Launch::on_both(|launch| {
        let server = launch.set("WORKERS", 1).set("RUST_LOG", "info").start();
        let mut stalled = Upgrade::granted(server.port, "/socket/websocket?vsn=2.0.0").stream;
        let join = json!(["1", "1", "ref:room", "phx_join", {}]).to_string();
        stalled.write_all(&masked(true, TEXT, join.as_bytes())).unwrap();
        stalled.set_read_timeout(Some(PATIENCE)).unwrap();
        stalled.peek(&mut [0]).unwrap();
        let mut speaker = Client::joined(server.port, "ref:room");
        let before = server.memory("VmRSS");
        let content = "x".repeat(32 * 1024);
        for n in 0..1024 {
            speaker.send(&json!(["1", n, "ref:room", "bcast", {"n": n, "x": content}]));
            assert_eq!(speaker.message()[4]["n"], n);
        }
        let grown = server.memory("VmHWM").saturating_sub(before);
        assert!(grown < GROWTH, "grown by {grown} bytes for a client that does not read");
        // its channel has ended and its topic is left, though it still reads nothing and its connection cannot end
        server.log_line(|line| line.contains("event=ended") && line.contains("topic=\"ref:room\""));
        // what the system had buffered comes, then the end
        stalled.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut rest = Vec::new();
        let end = stalled.read_to_end(&mut rest);
        let open = end.as_ref().is_err_and(|e| {
            matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!open, "still connected, {} bytes read", rest.len());
        assert!(rest.len() < 32 * MIB as usize, "all {} bytes were kept for it", rest.len());
    });
}
