//! Clients that are killed in the middle of everything: their connections are reset, and nobody else notices.
//!
//! `CHAOS_ROUNDS` says how often; a few by default, `make chaos` for many.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;
use socket2::SockRef;

use crate::{
    PATIENCE,
    chance::amount,
    client::{Client, Upgrade},
    frame::{CLOSE, CONTINUATION, TEXT, masked},
    metrics::comes_to,
    poller::Poller,
    server::{Launch, Server},
    turns::heavy,
};

const WEBSOCKET: &str = "/socket/websocket?vsn=2.0.0";

/// Kills a client: no FIN, and what it has not read is thrown away.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(("127.0.0.1", server.port)).unwrap()
}

fn text(message: &serde_json::Value) -> Vec<u8> {
    masked(true, TEXT, message.to_string().as_bytes())
}

/// A client that has joined the room, all by hand.
fn joined(server: &Server) -> TcpStream {
    let mut stream = Upgrade::granted(server.port, WEBSOCKET).stream;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&text(&json!(["1", "1", "ref:room", "phx_join", {}]))).unwrap();
    assert!(stream.read(&mut [0; 64]).unwrap() > 0);
    stream
}

const UPGRADE: &[u8] =
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Each kills a client of its own, somewhere. What it still writes may fail, as the server is free to be quicker.
fn deaths() -> Vec<fn(&Server)> {
    vec![
        |server| reset(connect(server)),
        |server| {
            let mut stream = connect(server);
            let _ = stream.write_all(&UPGRADE[..70]);
            reset(stream);
        },
        |server| {
            let mut stream = connect(server);
            let _ = stream.write_all(UPGRADE);
            reset(stream);
        },
        |server| reset(Upgrade::granted(server.port, WEBSOCKET).stream),
        |server| reset(joined(server)),
        // half a header, half a frame, half a message
        |server| {
            let mut stream = joined(server);
            let _ = stream.write_all(&[0x81]);
            reset(stream);
        },
        |server| {
            let mut stream = joined(server);
            let frame = text(&json!(["1", "2", "ref:room", "echo", {"x": "y".repeat(500_000)}]));
            let _ = stream.write_all(&frame[..frame.len() / 2]);
            reset(stream);
        },
        |server| {
            let mut stream = joined(server);
            let _ = stream.write_all(&masked(false, TEXT, b"[").repeat(1));
            let _ = stream.write_all(&masked(false, CONTINUATION, &[b' '; 1_000]).repeat(100));
            reset(stream);
        },
        // while broadcasts are written to it, and it reads none
        |server| {
            let stream = joined(server);
            thread::sleep(Duration::from_millis(20));
            reset(stream);
        },
        // with much to answer, in a callback, in a crash, after its goodbye
        |server| {
            let mut stream = joined(server);
            let _ = stream.write_all(
                &text(&json!(["1", "2", "ref:room", "echo", {"x": "y".repeat(2_000)}])).repeat(200),
            );
            reset(stream);
        },
        |server| {
            let mut stream = joined(server);
            let _ = stream.write_all(&text(&json!(["1", "2", "ref:room", "sleep", {"ms": 50}])).repeat(3));
            reset(stream);
        },
        |server| {
            let mut stream = joined(server);
            let _ = stream.write_all(&text(&json!(["1", "2", "ref:room", "crash", {}])));
            reset(stream);
        },
        |server| {
            let mut stream = joined(server);
            let _ = stream.write_all(&masked(true, CLOSE, &1000_u16.to_be_bytes()));
            reset(stream);
        },
        // in a long poll, and in a body
        |server| {
            let poller = Poller::open(server.port, "/idle");
            let mut stream = connect(server);
            let _ = stream.write_all(poller.head(0).replacen("POST", "GET", 1).as_bytes());
            reset(stream);
        },
        |server| {
            let poller = Poller::open(server.port, "/idle");
            poller.posts(&[json!(["1", "1", "ref:room", "phx_join", {}])], 200);
            let mut stream = connect(server);
            let _ = stream.write_all(poller.head(100_000).as_bytes());
            let _ = stream.write_all(&[b' '; 50_000]);
            reset(stream);
        },
    ]
}

#[test]
fn clients_killed_in_the_middle_of_everything_disturb_nobody_and_leave_nothing_behind() {
    let _turn = heavy();
    const LISTENERS: usize = 4;
    let rounds = amount("CHAOS_ROUNDS", 2);
    let server = Launch::reference().set("RUST_LOG", "warn").start();
    // of a first request, for which a worker opens what it keeps
    deaths().iter().for_each(|die| die(&server));
    comes_to(&server, "hinotori_connections{transport=\"longpoll\"}", 0.0);
    comes_to(&server, "hinotori_connections{transport=\"websocket\"}", 0.0);

    let listeners: Vec<Client> = (0..LISTENERS).map(|_| Client::joined(server.port, "ref:room")).collect();
    let mut speaker = Client::joined(server.port, "ref:room");
    let before = server.descriptors();
    let is_over = AtomicBool::new(false);
    let over = &is_over;
    let (said, _stayed) = thread::scope(|scope| {
        let speaking = scope.spawn(move || {
            let content = "x".repeat(2_000);
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                speaker.send(&json!(["1", null, "ref:room", "bcast", {"n": n, "x": content}]));
                assert_eq!(speaker.message()[4]["n"], n);
                // a listener is a client like any other, and has but so much patience
                for listener in &listeners {
                    assert_eq!(listener.message()[4]["n"], n);
                }
                n += 1;
            }
            (n, (speaker, listeners))
        });
        let killers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..rounds).for_each(|_| deaths().iter().for_each(|die| die(&server)))))
            .collect();
        killers.into_iter().for_each(|killer| killer.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        speaking.join().unwrap()
    });
    let killed = 4 * rounds * deaths().len() as u64;
    println!("{killed} clients killed during {said} broadcasts to {LISTENERS} who stayed");
    comes_to(&server, "hinotori_connections{transport=\"longpoll\"}", 0.0);
    comes_to(&server, "hinotori_connections{transport=\"websocket\"}", (LISTENERS + 1) as f64);
    comes_to(&server, "hinotori_channels{topic=\"ref:*\"}", (LISTENERS + 1) as f64);
    server.settles_at(before);
    // Rust says so once for each, and the log once more
    let log = server.log();
    assert_eq!(log.matches("panicked at").count(), log.matches("event=crashed of=channel").count(), "{log}");
}
